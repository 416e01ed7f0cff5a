"""Captions against transformers itself, on random weights whose scale makes every output vary: both engines write what
`transformers` writes, whatever the prompt, the batch and the size of the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openblip.checkpoint import Checkpoint, load_checkpoint
from openblip.engine import Engine
from openblip.search import generate
from openblip.types import GenerateOptions
from transformers_models import (
    DEC,
    SEP,
    Text,
    assert_same_texts,
    engine_of,
    generated,
    pictures,
    save_tiny,
    tiny_model,
)

pytestmark = pytest.mark.parity

PICTURES = 24


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    model = tiny_model("BlipForConditionalGeneration")
    return model, load_checkpoint(save_tiny(model, tmp_path_factory.mktemp("captioner")))


@pytest.fixture(params=["openvino", "torch"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def theirs(model: Any, pixels: torch.Tensor, prompt: list[int], **arguments: Any) -> list[Text]:
    # `generate` of BLIP drops the last token of its input, as its processor closes a prompt with [SEP].
    closed = torch.tensor([[DEC, *prompt, SEP]] * len(pixels))
    return generated(model, pixel_values=pixels, input_ids=closed, **arguments)


def ours(engine: Engine, pixels: torch.Tensor, prompt: list[int], options: GenerateOptions) -> list[Any]:
    start = np.array([[DEC, *prompt]] * len(pixels))
    lengths = np.full(len(pixels), start.shape[1])
    return generate(engine, engine.encode_images(pixels.numpy()), start, lengths, options)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_beams": 1},
        {"num_beams": 3},
        {"num_beams": 3, "min_length": 7, "length_penalty": 2.0},
        {"num_beams": 5, "repetition_penalty": 1.4, "length_penalty": 0.5, "min_length": 9},
        {"num_beams": 4, "early_stopping": True},
        {"num_beams": 1, "repetition_penalty": 1.8, "min_length": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("prompt", [[], [7, 9, 11]], ids=["plain", "prompt"])
def test_captions(captioner: tuple[Any, Checkpoint], name: str, arguments: dict[str, Any], prompt: list[int]) -> None:
    model, checkpoint = captioner
    pixels = pictures(PICTURES, 32)
    expected = theirs(model, pixels, prompt, max_length=16, **arguments)
    options = GenerateOptions(**{"max_length": 16, "min_length": 0} | arguments)
    assert_same_texts(ours(engine_of(name, checkpoint), pixels, prompt, options), expected)


@pytest.mark.parametrize("beams", [1, 3])
def test_batches(captioner: tuple[Any, Checkpoint], name: str, beams: int) -> None:
    model, checkpoint = captioner
    pixels, engine = pictures(PICTURES, 32), engine_of(name, checkpoint)
    expected = theirs(model, pixels, [8, 20], max_length=20, num_beams=beams)
    options = GenerateOptions(max_length=20, min_length=0, num_beams=beams)
    for batch in range(1, 9):
        starts = range(0, PICTURES, batch)
        found = [text for start in starts for text in ours(engine, pixels[start : start + batch], [8, 20], options)]
        assert_same_texts(found, expected)


def test_prompts_of_unequal_length(captioner: tuple[Any, Checkpoint], name: str) -> None:
    """transformers is asked for one picture at a time: it continues the shorter prompts of a batch behind padding."""
    model, checkpoint = captioner
    pixels, engine = pictures(6, 32), engine_of(name, checkpoint)
    prompts = [[], [7, 9, 11], [12], [20, 21, 22, 23, 24, 25], [7], [30, 8]]
    expected = [
        text
        for row, prompt in enumerate(prompts)
        for text in theirs(model, pixels[row : row + 1], prompt, max_length=18)
    ]
    lengths = np.array([1 + len(prompt) for prompt in prompts])
    start = np.zeros((6, 7), np.int64)
    for row, prompt in zip(start, prompts, strict=True):
        row[: 1 + len(prompt)] = [DEC, *prompt]
    states = engine.encode_images(pixels.numpy())
    options = GenerateOptions(num_beams=1, max_length=18, min_length=0)
    assert_same_texts(generate(engine, states, start, lengths, options), expected)


@pytest.mark.parametrize("kept", [224, 384])
def test_picture_sizes(tmp_path: Path, name: str, kept: int) -> None:
    """Patches of 16 as published; a checkpoint for `kept` pixels, its positions interpolated for the others."""
    model = tiny_model("BlipForConditionalGeneration", image_size=kept, patch_size=16)
    folder = save_tiny(model, tmp_path / "model")
    for size in (224, 320, 384, 480):
        checkpoint = load_checkpoint(folder, image_size=size)
        pixels, options = pictures(4, size), GenerateOptions(num_beams=3, max_length=12, min_length=0)
        expected = theirs(model, pixels, [7], num_beams=3, max_length=12, interpolate_pos_encoding=True)
        assert_same_texts(ours(engine_of(name, checkpoint), pixels, [7], options), expected)
