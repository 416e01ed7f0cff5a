"""A tiny random model, an album, and the command in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_line import with_model
from openblip import cli
from openblip.checkpoint import save_checkpoint
from openblip.config import TASKS
from openblip.pipeline import Blip
from tiny import random_tensors, tiny_config, write_vocabulary


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random checkpoint."""
    folder = tmp_path_factory.mktemp("model")
    config = replace(tiny_config("vit"), tasks=TASKS)
    save_checkpoint(folder / "tiny", config, random_tensors(config), write_vocabulary(folder))
    return str(folder / "tiny")


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: six photos that differ."""
    monkeypatch.chdir(tmp_path)
    for index in range(6):
        coarse = np.random.default_rng(index).integers(0, 256, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((60, 40), Image.Resampling.NEAREST).save(tmp_path / f"photo{index}.jpg")
    return tmp_path


@pytest.fixture(scope="module")
def blip(model: str) -> Blip:
    """That model, loaded once."""
    return Blip.load(model, precision="f32", threads=1)


@pytest.fixture
def openblip(model: str, blip: Blip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process: (exit code, lines of stdout, lines of stderr)."""

    def load(name: str, *, engine: str, precision: str, threads: int, lanes: int = 1) -> Blip:
        assert (name, engine, precision, threads) == (model, "openvino", "f32", 1)
        return blip

    def call(command: str, *arguments: str) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(Blip, "load", load)
        code = cli.run([*command.split(), *arguments, *with_model(model)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return call
