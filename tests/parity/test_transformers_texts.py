"""Matching, embedding and answering against transformers itself: both engines give its scores and its answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from openblip.checkpoint import Checkpoint, load_checkpoint
from openblip.ranking import Ranked, rank
from openblip.search import generate
from openblip.types import GenerateOptions
from transformers_models import (
    CLS,
    DEC,
    SEP,
    assert_same_texts,
    engine_of,
    generated,
    pictures,
    save_tiny,
    tiny_model,
)

pytestmark = pytest.mark.parity

CLOSE = {"rtol": 0.0, "atol": 1e-4}
"""Logits have a spread of 1 to 3."""


def published(kind: str, factory: pytest.TempPathFactory, image_size: int = 32) -> tuple[Any, Checkpoint]:
    model = tiny_model(kind, image_size=image_size)
    return model, load_checkpoint(save_tiny(model, factory.mktemp("model")))


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    return published("BlipForImageTextRetrieval", tmp_path_factory)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    return published("BlipForQuestionAnswering", tmp_path_factory)


@pytest.fixture(params=["openvino", "torch"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def word_rows(count: int, longest: int = 9) -> tuple[Any, Any]:
    """[CLS] words [SEP], padded, and lengths."""
    generator = np.random.default_rng(2)
    lengths = generator.integers(3, longest + 1, count)
    rows = np.zeros((count, int(lengths.max())), np.int64)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = [CLS, *generator.integers(SEP + 1, DEC, length - 2), SEP]
    return rows, lengths


def inputs_of(pixels: torch.Tensor, tokens: Any, lengths: Any) -> dict[str, torch.Tensor]:
    mask = (np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.int64)
    return {"pixel_values": pixels, "input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(mask)}


@pytest.mark.parametrize("batch", [1, 3, 8])
@torch.no_grad()
def test_match_and_embed(matcher: tuple[Any, Checkpoint], name: str, batch: int) -> None:
    model, checkpoint = matcher
    engine, pixels, (tokens, lengths) = engine_of(name, checkpoint), pictures(batch, 32), word_rows(batch)
    states, inputs = engine.encode_images(pixels.numpy()), inputs_of(pixels, tokens, lengths)
    itm, itc = (model(**inputs, use_itm_head=head).itm_score.numpy() for head in (True, False))
    assert np.ptp(itm) > 0.5
    assert batch == 1 or np.ptp(itc) > 0.05
    assert_allclose(engine.match(states, np.arange(batch), tokens, lengths), itm, **CLOSE)
    assert_allclose(engine.embed_images(states) @ engine.embed_texts(tokens, lengths).T, itc, **CLOSE)


@torch.no_grad()
def test_every_pair(matcher: tuple[Any, Checkpoint], name: str) -> None:
    """All texts with all pictures, as a re-ranking asks for them."""
    model, checkpoint = matcher
    engine, pixels, (tokens, lengths) = engine_of(name, checkpoint), pictures(4, 32), word_rows(7)
    picture, text = np.repeat(np.arange(4), 7), np.tile(np.arange(7), 4)
    expected = model(**inputs_of(pixels[picture], tokens[text], lengths[text])).itm_score.numpy()
    states = engine.encode_images(pixels.numpy())
    assert_allclose(engine.match(states, picture, tokens[text], lengths[text]), expected, **CLOSE)


@torch.no_grad()
def test_states_of_another_picture_size(matcher: tuple[Any, Checkpoint]) -> None:
    model, checkpoint = matcher
    for size in (16, 48, 80):
        pixels = pictures(2, size)
        expected = model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state.numpy()
        engine: Any = engine_of("torch", load_checkpoint(checkpoint.weights.parent, image_size=size))
        assert_allclose(engine.encode_images(pixels.numpy()).states.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("beams", [1, 3])
def test_answers(answerer: tuple[Any, Checkpoint], name: str, beams: int) -> None:
    """transformers lets the decoder look at a question's padding, so it is asked one question at a time."""
    model, checkpoint = answerer
    engine, pixels, (tokens, lengths) = engine_of(name, checkpoint), pictures(8, 32), word_rows(16)
    picture, expected = np.repeat(np.arange(8), 2), []
    for row, (index, length) in enumerate(zip(picture, lengths, strict=True)):
        one = inputs_of(pixels[index : index + 1], tokens[row : row + 1, :length], lengths[row : row + 1])
        expected += generated(model, **one, num_beams=beams, max_length=10, min_length=0)
    questions = engine.encode_questions(engine.encode_images(pixels.numpy()), picture, tokens, lengths)
    options = GenerateOptions(num_beams=beams, max_length=10, min_length=0)
    found = generate(engine, questions, np.full((16, 1), DEC), np.ones(16, np.int64), options)
    assert_same_texts(found, expected)


def test_answers_about_larger_pictures(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Questions were asked at 480 pixels in training: 30 x 30 patches of 16, here as many of 8."""
    model, checkpoint = published("BlipForQuestionAnswering", tmp_path_factory, image_size=240)
    engine, pixels, (tokens, lengths) = engine_of(name, checkpoint), pictures(3, 240), word_rows(3)
    expected = [
        text
        for row in range(3)
        for text in generated(
            model,
            **inputs_of(pixels[row : row + 1], tokens[row : row + 1, : lengths[row]], lengths[row : row + 1]),
            num_beams=3, max_length=10, min_length=0,
        )
    ]  # fmt: skip
    questions = engine.encode_questions(engine.encode_images(pixels.numpy()), np.arange(3), tokens, lengths)
    options = GenerateOptions(num_beams=3, max_length=10, min_length=0)
    assert_same_texts(generate(engine, questions, np.full((3, 1), DEC), np.ones(3, np.int64), options), expected)


@torch.no_grad()
def test_ranked_answers(answerer: tuple[Any, Checkpoint], name: str) -> None:
    model, checkpoint = answerer
    engine, pixels = engine_of(name, checkpoint), pictures(1, 32)
    question = np.array([[CLS, 7, 9, SEP]])
    states = engine.encode_questions(engine.encode_images(pixels.numpy()), np.array([0]), question, np.array([4]))
    candidates = [[10, SEP], [11, 12, 13, SEP], [14, 15, SEP], [10, 20, SEP], [33, SEP]]
    seen = model.vision_model(pixels).last_hidden_state
    read = model.text_encoder(
        torch.from_numpy(question), encoder_hidden_states=seen, attention_mask=torch.ones(1, 4, dtype=torch.long)
    ).last_hidden_state
    expected = []
    for candidate in candidates:
        fed = torch.tensor([[DEC, *candidate[:-1]]])
        logits = model.text_decoder(input_ids=fed, encoder_hidden_states=read).logits.log_softmax(dim=-1)
        expected.append(logits[0, torch.arange(len(candidate)), torch.tensor(candidate)].sum().item())
    [ranked] = rank(engine, states, candidates, keep=5)
    assert [each.index for each in ranked] == sorted(range(5), key=lambda index: -expected[index])
    assert_allclose([each.log_probability for each in ranked], sorted(expected, reverse=True), **CLOSE)
    [few] = rank(engine, states, candidates, keep=2)
    likeliest = sorted(range(5), key=lambda index: -ranked_first(ranked, index))[:2]
    assert {each.index for each in few} == set(likeliest)


def ranked_first(ranked: list[Ranked], index: int) -> float:
    """The log-probability of a candidate's first token."""
    return next(each.log_probabilities[0] for each in ranked if each.index == index)
