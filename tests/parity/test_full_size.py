"""Against transformers at the size of the published base models, on random weights: ViT-B/16 at 384, 12 layers of text,
a vocabulary of 30,524. About a minute and a half and 6 GB for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from random_blip import CLS, DEC, FIRST_WORD, SEP, Kind, random_blip, save

from openblip.checkpoint import Checkpoint, load_checkpoint
from openblip.search import generate
from openblip.types import GenerateOptions
from transformers_models import assert_same_texts, engine_of, generated, pictures

pytestmark = [pytest.mark.slow, pytest.mark.parity]

ENGINES = ("openvino", "torch")
CLOSE = 5e-4
"""Of log-probabilities and logits. Measured against transformers in float64, its float32 is up to 1.2e-4 off here and
both engines are no further: rounding, which random layers amplify."""


def published(kind: Kind, folder: Path) -> tuple[Any, Checkpoint]:
    model = random_blip(kind)
    save(model, folder)
    return model, load_checkpoint(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Emptied afterwards: pytest would keep three runs of a gigabyte each."""
    yield tmp_path / "model"
    for file in (tmp_path / "model").iterdir():
        file.unlink()


def word_rows(lengths: list[int]) -> tuple[Any, Any]:
    """[CLS] words [SEP], padded, and lengths."""
    rows = np.zeros((len(lengths), max(lengths)), np.int64)
    generator = np.random.default_rng(3)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = [CLS, *generator.integers(FIRST_WORD, DEC, length - 2), SEP]
    return rows, np.array(lengths)


def test_captions(folder: Path) -> None:
    model, checkpoint = published("BlipForConditionalGeneration", folder)
    assert sum(tensor.size for tensor in checkpoint.tensors.values()) == pytest.approx(224e6, rel=0.01)
    pixels, start = pictures(3, 384), np.array([[DEC]] * 3)
    greedy = generated(model, SEP, pixel_values=pixels[:1], max_length=20)
    beams = generated(model, SEP, pixel_values=pixels, num_beams=3, max_length=20, min_length=5)
    options = GenerateOptions(num_beams=3, max_length=20, min_length=5)
    for name in ENGINES:
        engine = engine_of(name, checkpoint)
        states = engine.encode_images(pixels.numpy())
        assert_same_texts(generate(engine, states, start, np.ones(3, np.int64), options), beams, CLOSE)
        alone = engine.encode_images(pixels[:1].numpy())
        once = GenerateOptions(num_beams=1, max_length=20, min_length=0)
        assert_same_texts(generate(engine, alone, start[:1], np.ones(1, np.int64), once), greedy, CLOSE)
        del engine, states, alone


def test_answers(folder: Path) -> None:
    model, checkpoint = published("BlipForQuestionAnswering", folder)
    pixels, (tokens, lengths) = pictures(2, 384), word_rows([9, 6, 12])
    picture, answers = np.array([0, 0, 1]), []
    for row, (index, length) in enumerate(zip(picture, lengths, strict=True)):
        answers += generated(
            model, SEP, pixel_values=pixels[index : index + 1], attention_mask=torch.ones(1, length, dtype=torch.long),
            input_ids=torch.from_numpy(tokens[row : row + 1, :length]), num_beams=3, max_length=10, min_length=1,
        )  # fmt: skip
    engine = engine_of("openvino", checkpoint)
    questions = engine.encode_questions(engine.encode_images(pixels.numpy()), picture, tokens, lengths)
    options = GenerateOptions(num_beams=3, max_length=10, min_length=1)
    assert_same_texts(generate(engine, questions, np.full((3, 1), DEC), np.ones(3, np.int64), options), answers, CLOSE)


@torch.no_grad()
def test_match_and_embed(folder: Path) -> None:
    model, checkpoint = published("BlipForImageTextRetrieval", folder)
    pixels, (tokens, lengths) = pictures(3, 384), word_rows([11, 7, 16])
    inputs = {
        "pixel_values": pixels,
        "input_ids": torch.from_numpy(tokens),
        "attention_mask": torch.from_numpy((np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.int64)),
    }
    itm = model(**inputs).itm_score.numpy()
    itc = model(**inputs, use_itm_head=False).itm_score.numpy()
    assert np.ptp(itm) > 0.5
    assert np.ptp(itc) > 0.05
    for name in ENGINES:
        engine = engine_of(name, checkpoint)
        states = engine.encode_images(pixels.numpy())
        assert_allclose(engine.match(states, np.arange(3), tokens, lengths), itm, rtol=0, atol=CLOSE)
        vectors = engine.embed_images(states) @ engine.embed_texts(tokens, lengths).T
        assert_allclose(vectors, itc, rtol=0, atol=1e-4)
        del engine, states
