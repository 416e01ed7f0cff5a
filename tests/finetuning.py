"""Small fine-tuning runs for tests: pictures that can be told apart, data, a tiny checkpoint. Knows no test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openblip.checkpoint import save_checkpoint
from openblip.config import ModelConfig, Task
from openblip.train.finetune import Finetuner, open_finetune
from openblip.train.finetune_config import FinetuneConfig
from openblip.train.finetune_data import read_sets
from tiny import random_tensors, tiny_config, write_vocabulary

COLOURS = {
    "red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "yellow": (220, 220, 30),
    "white": (250, 250, 250), "black": (5, 5, 5),
}  # fmt: skip


def write_pictures(folder: Path, count: int = 12, seed: int = 0) -> list[tuple[Path, str]]:
    """Pictures of one colour with some noise, and the name of the colour."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        name = list(COLOURS)[index % len(COLOURS)]
        pixels = np.array(COLOURS[name]) + random.integers(-20, 20, (30, 40, 3))
        path = folder / f"photo_{index:03d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        found.append((path, name))
    return found


def captions_of(colour: str, index: int) -> list[str]:
    shape = "cat" if index % 2 else "dog"
    return [f"a {colour} {shape} sits on the grass", f"the {shape} is {colour} and young"]


def captioned_folder(folder: Path, count: int = 12, seed: int = 0) -> Path:
    """Pictures with a .txt beside each."""
    for index, (path, colour) in enumerate(write_pictures(folder, count, seed)):
        path.with_suffix(".txt").write_text("\n".join(captions_of(colour, index)) + "\n", encoding="utf-8")
    return folder


def asked_folder(folder: Path, count: int = 12, seed: int = 0) -> Path:
    """Pictures with two questions each, as metadata.jsonl."""
    lines = []
    for path, colour in write_pictures(folder, count, seed):
        qa = [
            {"question": "is the picture red?", "answer": "red" if colour == "red" else "a sky"},
            {"question": "a picture of", "answers": [colour, colour, "young"]},
        ]
        lines.append(json.dumps({"file_name": path.name, "qa": qa}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def tiny_checkpoint(
    folder: Path,
    tasks: tuple[Task, ...] = ("caption", "match", "embed"),
    kind: Any = "vit",
    *,
    equal_widths: bool = False,
) -> Path:
    """A folder with a tiny random model."""
    config: ModelConfig = replace(tiny_config(kind), tasks=tasks)
    if equal_widths:  # transformers builds the answer decoder for states as wide as the picture's
        config = replace(config, vision=replace(config.vision, width=config.text.width))
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_tensors(config)
    save_checkpoint(folder / "start", config, tensors, write_vocabulary(folder))
    return folder / "start"


def settings(task: str, data: Path, start: Path, output: Path, **changes: Any) -> FinetuneConfig:
    config = FinetuneConfig(
        task=task, data=(str(data),), model=str(start), output=str(output), device="cpu", bfloat16=False, threads=1,
        epochs=2, batch=4, learning_rate=1e-3, log_steps=1, save_minutes=1e9, tensorboard=False, samples=0,
        max_text_tokens=16,
    )  # fmt: skip
    return replace(config, **changes)


def finetuner(config: FinetuneConfig) -> Finetuner:
    start = open_finetune(config)
    sets = read_sets(config, start.model.config.vision.image_size)
    sets.check(skip_broken=config.skip_broken)
    return Finetuner(config, start, sets)
