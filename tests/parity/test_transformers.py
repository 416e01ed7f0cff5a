"""Against transformers itself, on random weights whose scale makes every output vary: published folders load, and both
engines give what `transformers` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose

from openblip.checkpoint import Checkpoint, load_checkpoint
from openblip.engine import Engine
from openblip.engines import load_engine
from openblip.ranking import Ranked, rank
from openblip.search import generate
from openblip.types import GenerateOptions
from tiny import TINY_VOCABULARY

pytestmark = pytest.mark.parity

SIZE = 32
TEXT = len(TINY_VOCABULARY)
DEC, ENC, CLS, SEP = TEXT, TEXT + 1, 2, 3
CLOSE = {"rtol": 0.0, "atol": 1e-4}
"""Logits have a spread of 1 to 3."""


def published(name: str, folder: Path) -> tuple[Any, Checkpoint]:
    """A random model of transformers, saved by it, and the folder as we load it."""
    # transformers builds the answer decoder for states as wide as the picture's: it runs only where the widths agree.
    width = 48 if name == "BlipForQuestionAnswering" else 64
    config = transformers.BlipConfig(
        vision_config={
            "hidden_size": width, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": SIZE, "patch_size": 8,
        },
        text_config={
            "vocab_size": TEXT + 2, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 40, "bos_token_id": DEC, "sep_token_id": SEP,
            "pad_token_id": 0, "eos_token_id": SEP,
        },
        image_text_hidden_size=24,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name.lower() and parameter_name.endswith("weight"):
                parameter.normal_(1, 0.1)
            elif parameter.ndim < 2:
                parameter.normal_(0, 0.1)
            elif "embedding" in parameter_name:
                parameter.normal_(0, 0.5)
            else:
                parameter.normal_(0, 1.5 / parameter[0].numel() ** 0.5)
    model.save_pretrained(folder)
    words = [f"word{index}" if token in ("[DEC]", "[ENC]") else token for index, token in enumerate(TINY_VOCABULARY)]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return model, load_checkpoint(folder)


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    return published("BlipForConditionalGeneration", tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    return published("BlipForImageTextRetrieval", tmp_path_factory.mktemp("matcher"))


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    return published("BlipForQuestionAnswering", tmp_path_factory.mktemp("answerer"))


@pytest.fixture(params=["openvino", "torch"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def engine_of(name: str, checkpoint: Checkpoint) -> Engine:
    return load_engine(name, checkpoint.config, checkpoint.tensors, precision="f32", device="cpu")


def pictures(count: int, size: int = SIZE) -> torch.Tensor:
    coarse = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest")


def cut(tokens: list[int]) -> list[int]:
    """Without the padding behind [SEP]."""
    return tokens[: tokens.index(SEP) + 1] if SEP in tokens else tokens


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompt", [[], [7, 9, 11]])
@torch.no_grad()
def test_captions(captioner: tuple[Any, Checkpoint], name: str, beams: int, prompt: list[int]) -> None:
    model, checkpoint = captioner
    engine, pixels, count = engine_of(name, checkpoint), pictures(8), 8
    start = np.array([[DEC, *prompt]] * count)
    options = GenerateOptions(num_beams=beams, max_length=16, min_length=0)
    found = generate(engine, engine.encode_images(pixels.numpy()), start, np.full(count, start.shape[1]), options)
    # transformers' `generate` of BLIP drops the last token of its input, as its processor closes a prompt with [SEP].
    closed = torch.cat([torch.from_numpy(start), torch.full((count, 1), SEP)], dim=1)
    expected = model.generate(
        pixel_values=pixels, input_ids=closed, num_beams=beams, do_sample=False, max_length=16, min_length=0
    )
    texts = []
    for row, hypotheses in zip(expected.tolist(), found, strict=True):
        tokens = row[start.shape[1] :]
        ended = cut(tokens)
        assert list(hypotheses[0].tokens) == ended
        texts.append(tuple(ended))
    assert len(set(texts)) > 1


@torch.no_grad()
def test_match_and_embed(matcher: tuple[Any, Checkpoint], name: str) -> None:
    model, checkpoint = matcher
    engine, pixels = engine_of(name, checkpoint), pictures(3)
    states = engine.encode_images(pixels.numpy())
    tokens, lengths = np.array([[CLS, 7, 9, SEP, 0], [CLS, 12, 8, 6, SEP], [CLS, 20, SEP, 0, 0]]), np.array([4, 5, 3])
    inputs = {
        "input_ids": torch.from_numpy(tokens),
        "attention_mask": torch.from_numpy((np.arange(5) < lengths[:, None]).astype(np.int64)),
        "pixel_values": pixels,
    }
    itm = model(**inputs, use_itm_head=True).itm_score.numpy()
    itc = model(**inputs, use_itm_head=False).itm_score.numpy()
    assert np.ptp(itm) > 0.5
    assert np.ptp(itc) > 0.05
    assert_allclose(engine.match(states, np.arange(3), tokens, lengths), itm, **CLOSE)
    assert_allclose(engine.embed_images(states) @ engine.embed_texts(tokens, lengths).T, itc, **CLOSE)


@torch.no_grad()
def test_other_image_sizes(captioner: tuple[Any, Checkpoint]) -> None:
    model, checkpoint = captioner
    pixels = pictures(2, 48)
    expected = model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state.numpy()
    engine: Any = engine_of("torch", load_checkpoint(checkpoint.weights.parent, image_size=48))
    assert_allclose(engine.encode_images(pixels.numpy()).states.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("beams", [1, 3])
@torch.no_grad()
def test_answers(answerer: tuple[Any, Checkpoint], name: str, beams: int) -> None:
    """transformers lets the decoder look at a question's padding, so it is asked one question at a time."""
    model, checkpoint = answerer
    engine, pixels = engine_of(name, checkpoint), pictures(3)
    tokens = np.array(
        [[CLS, 7, 9, SEP, 0, 0], [CLS, 12, 8, 6, 30, SEP], [CLS, 20, SEP, 0, 0, 0], [CLS, 15, 40, 9, SEP, 0]]
    )
    lengths, picture = np.array([4, 6, 3, 5]), np.array([0, 0, 1, 2])
    questions = engine.encode_questions(engine.encode_images(pixels.numpy()), picture, tokens, lengths)
    options = GenerateOptions(num_beams=beams, max_length=10, min_length=0)
    found = generate(engine, questions, np.full((4, 1), DEC), np.ones(4, np.int64), options)
    texts = []
    for row, (index, length) in enumerate(zip(picture, lengths, strict=True)):
        expected = model.generate(
            input_ids=torch.from_numpy(tokens[row : row + 1, :length]), pixel_values=pixels[index : index + 1],
            attention_mask=torch.ones(1, length, dtype=torch.long),
            num_beams=beams, do_sample=False, max_length=10, min_length=0,
        )[0, 1:].tolist()  # fmt: skip
        ended = cut(expected)
        assert list(found[row][0].tokens) == ended
        texts.append(tuple(ended))
    assert len(set(texts)) > 1


@torch.no_grad()
def test_ranked_answers(answerer: tuple[Any, Checkpoint], name: str) -> None:
    model, checkpoint = answerer
    engine, pixels = engine_of(name, checkpoint), pictures(1)
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
