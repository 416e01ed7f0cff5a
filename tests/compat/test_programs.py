"""The same programs with transformers and with openblip.compat, on the same folders: the same ids, texts and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import transformers

from openblip import compat
from transformers_models import DEC, SEP

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # transformers warns of its own defaults
]

QUESTIONS = ["is the dog young?", "red hat", "what does the man play with on the grass", "two", "a dog's ball, a cat"]


def both(program: Any, *arguments: Any, **named: Any) -> tuple[Any, Any]:
    return program(transformers, *arguments, **named), program(compat, *arguments, **named)


def test_captions(captioner: Path, photos: list[Path]) -> None:
    seen = set()
    for photo in photos:
        theirs, ours = both(programs.caption, captioner, photo)
        assert ours == theirs
        seen.update(ours)
    assert len(seen) > len(photos)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"max_length": 12, "min_length": 5},
        {"num_beams": 3},
        {"num_beams": 5, "num_return_sequences": 4, "max_new_tokens": 9, "min_new_tokens": 2},
        {"num_beams": 4, "length_penalty": 2.0, "max_length": 15},
        {"num_beams": 3, "length_penalty": -1.0, "repetition_penalty": 1.5, "min_length": 6, "use_cache": True},
        {"num_beams": 4, "early_stopping": True, "length_penalty": 0.5, "repetition_penalty": 1.2},
        {"num_beams": 3, "early_stopping": True, "num_return_sequences": 3, "length_penalty": 2.0},
        {"repetition_penalty": 2.5, "do_sample": False},
        {"max_length": 30, "num_beams": 1, "early_stopping": False, "top_k": None},
    ],
    ids=str,
)
def test_batches_and_beams(captioner: Path, photos: list[Path], arguments: dict[str, Any]) -> None:
    (ids, texts), (our_ids, our_texts) = both(programs.caption_with_beams, captioner, photos, **arguments)
    assert our_ids == ids
    assert our_texts == texts
    assert len(set(texts)) > 2


@pytest.mark.parametrize("prompt", ["a dog", "", "The man's hat, red; it?"])
def test_prompts(captioner: Path, photos: list[Path], prompt: str) -> None:
    theirs, ours = both(programs.caption_a_batch_with_a_prompt, captioner, photos, prompt)
    assert ours == theirs


def test_samples(captioner: Path, photos: list[Path]) -> None:
    theirs, ours = both(programs.sample, captioner, photos[0])
    assert (ours.dtype, ours.shape[0]) == (theirs.dtype, theirs.shape[0])
    rows = ours.tolist()
    assert len({tuple(row) for row in rows}) > 2
    for row in rows:
        assert row[0] == DEC
        assert SEP not in row[:8]
        assert len(row) <= 16
    assert programs.sample(compat, captioner, photos[0]).tolist() == rows, "torch.manual_seed decides"


def test_answers(answerer: Path, photos: list[Path]) -> None:
    seen = set()
    for photo in photos[:3]:
        theirs, ours = both(programs.answer, answerer, photo, QUESTIONS)
        assert ours == theirs
        seen.update(text for _, text in ours)
    assert len(seen) > 3


def test_scores(matcher: Path, photos: list[Path]) -> None:
    for photo, question in zip(photos, QUESTIONS, strict=True):
        theirs, ours = both(programs.match, matcher, photo, question)
        for one, other in zip(theirs, ours, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(other.numpy(), one.numpy(), atol=1e-4)


@pytest.mark.parametrize(("pictures", "texts"), [(5, 5), (1, 5), (4, 1)])
def test_scores_of_a_padded_batch(matcher: Path, photos: list[Path], pictures: int, texts: int) -> None:
    theirs, ours = both(programs.rank_texts, matcher, photos[:pictures], QUESTIONS[:texts])
    for one, other in zip(theirs, ours, strict=True):
        assert one.shape == other.shape
        assert np.ptp(one.numpy()) > 0.05
        np.testing.assert_allclose(other.numpy(), one.numpy(), atol=1e-4)
