"""docs/fine-tuning.md: its recipe for a domain runs as it stands, on a small stand-in set, and its options exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from openblip.cli.finetuning import caption, retrieval, vqa
from openblip.train.finetune_config import FinetuneConfig
from openblip.train.settings import build

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
RECIPE = PAGE[PAGE.index("## A specialised domain") :].split("\n## ", 2)[0]
COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "yellow": (230, 210, 40)}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def write_products(folder: Path, table: str, count: int, seed: int) -> None:
    """Coloured mugs and plates on a table."""
    random, rows = np.random.default_rng(seed), ["file_name,caption"]
    for index in range(count):
        colour, shape = list(COLOURS)[index % 4], ("mug", "plate")[index // 4 % 2]
        image = Image.new("RGB", (160, 120), (225, 220, 210))
        draw, left, top = ImageDraw.Draw(image), int(random.integers(20, 60)), int(random.integers(15, 40))
        if shape == "plate":
            draw.ellipse((left, top, left + 80, top + 60), fill=COLOURS[colour])
        else:
            draw.rectangle((left, top, left + 40, top + 50), fill=COLOURS[colour])
            draw.ellipse((left + 30, top + 10, left + 60, top + 40), outline=COLOURS[colour], width=6)
        name = f"{table}_{index:03d}.png"
        image.save(folder / name)
        rows.append(f'{name},"a {colour} {shape} on a table, seen from the {("side", "front")[index % 2]}"')
    (folder / f"{table}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def run(command: list[str], folder: Path) -> str:
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout + answer.stderr


@pytest.mark.usefixtures("mini")
def test_the_recipe_runs_and_the_model_gets_better(tmp_path: Path) -> None:
    for table, count, seed in (("train", 48, 0), ("dev", 16, 1), ("test", 16, 2)):
        write_products(tmp_path, table, count, seed)
    told = []
    for block in blocks(RECIPE, "sh"):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "openblip"
            told.append(run([sys.executable, "-m", "openblip", *arguments], tmp_path))
    dry, training, *measured = told
    assert "data: 48 pictures, 48 captions" in dry
    assert "dev: 16 pictures" in dry
    assert "best: CIDEr" in training
    before, after = (
        float(re.findall(r"^\| CIDEr-D .*\n.*\n\| (\d+\.\d+) ", table, re.MULTILINE)[0]) for table in measured
    )
    assert after > before + 0.5
    assert (tmp_path / "worst.html").read_text(encoding="utf-8").count("<article>") == 16


def test_the_options_on_the_page_exist() -> None:
    known = {flag for command in (caption, vqa, retrieval) for option in command.params for flag in option.opts}
    known |= {
        flag for command in (caption, vqa, retrieval) for option in command.params for flag in option.secondary_opts
    }
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", PAGE))
    elsewhere = {"--gallery", "--logdir", "--no-reference", "--nproc-per-node", "--precision", "--sidecar"}
    assert named - known == elsewhere
    assert "--dry-run" in named


def test_the_settings_on_the_page_are_settings() -> None:
    import tomllib

    [settings] = blocks(PAGE, "toml")
    assert build(FinetuneConfig, tomllib.loads(settings), "the page").frozen == ("vision",)


def test_every_setting_has_an_option() -> None:
    from dataclasses import fields

    for command in (caption, vqa, retrieval):
        options = {option.name for option in command.params}
        missing = {entry.name for entry in fields(FinetuneConfig)} - options - {"task"}
        others = {option.name for other in (caption, vqa, retrieval) for option in other.params}
        assert missing <= others, "a setting that no command offers"
