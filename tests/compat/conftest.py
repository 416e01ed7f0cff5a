"""Tiny random models as transformers saves them, and photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transformers_models import save_tiny, tiny_model


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of several sizes and modes."""
    folder = tmp_path_factory.mktemp("photos")
    files = []
    for number, (mode, width, height) in enumerate(
        [("RGB", 50, 40), ("L", 33, 61), ("RGBA", 64, 32), ("P", 20, 20), ("RGB", 32, 32)]
    ):
        colours = np.random.default_rng(number).integers(0, 256, (5, 4, 4), dtype=np.uint8)
        image = Image.fromarray(colours, "RGBA").resize((width, height), Image.Resampling.NEAREST)
        files.append(folder / f"{number}.png")
        (image if mode == "RGBA" else image.convert("RGB").convert(mode)).save(files[-1])
    return files


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("models")
    names = ("BlipForConditionalGeneration", "BlipForQuestionAnswering", "BlipForImageTextRetrieval")
    return {name: save_tiny(tiny_model(name), home / name) for name in names}


@pytest.fixture
def captioner(folders: dict[str, Path]) -> Path:
    return folders["BlipForConditionalGeneration"]


@pytest.fixture
def answerer(folders: dict[str, Path]) -> Path:
    return folders["BlipForQuestionAnswering"]


@pytest.fixture
def matcher(folders: dict[str, Path]) -> Path:
    return folders["BlipForImageTextRetrieval"]
