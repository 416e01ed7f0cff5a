"""What becomes of each of many pictures: answers and matches, with one lane and with two."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openblip import Blip, parts
from openblip.engines import load_engine
from openblip.errors import ImageError, InputError, TextError
from openblip.outcomes import Outcome, in_lanes
from openblip.text import Tokenizer
from openblip.types import GenerateOptions
from tiny import random_tensors, write_vocabulary
from tiny_blip import WHOLE, picture

SHORT = GenerateOptions(num_beams=2, max_length=6, min_length=1)
PICTURES = [picture(seed) for seed in range(7)]
SOURCES: list[Any] = [PICTURES[0], "missing.jpg", *PICTURES[1:4], "no.jpg", *PICTURES[4:]]


@pytest.fixture(scope="module", params=[1, 2], ids=["one lane", "two lanes"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    tokenizer = Tokenizer.from_vocabulary(write_vocabulary(tmp_path_factory.mktemp("outcomes")))
    tensors = random_tensors(WHOLE)
    engine = load_engine("openvino", WHOLE, tensors, precision="f32", threads=2, lanes=request.param)
    assert engine.lanes == request.param
    return Blip(engine, tokenizer, "tiny")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_PICTURES", 2)


def good(outcomes: list[Outcome]) -> list[Outcome]:
    """Those of pictures, after a look at the others."""
    assert [outcome.source is source for outcome, source in zip(outcomes, SOURCES, strict=True)] == [True] * len(
        SOURCES
    )
    assert [isinstance(outcome.error, ImageError) for outcome in outcomes] == [
        isinstance(source, str) for source in SOURCES
    ]
    return [outcome for outcome in outcomes if outcome.error is None]


def test_captions_come_in_order(blip: Blip) -> None:
    found = good(list(blip.caption_each(iter(SOURCES), options=SHORT)))
    expected = blip.caption(PICTURES, options=SHORT)
    assert len({caption.text for caption in expected}) > 1
    assert [outcome.captions[0].text for outcome in found] == [caption.text for caption in expected]
    assert blip.timing.search_s > 0


def test_answers_to_the_same_questions(blip: Blip) -> None:
    questions = ["is the dog young", "two birds"]
    found = good(list(blip.answer_each(iter(SOURCES), questions)))
    for one, outcome in zip(PICTURES, found, strict=True):
        expected = blip.answer([one], questions)
        assert [(each.question, each.text) for each in outcome.answers] == [(e.question, e.text) for e in expected]
        assert [e.probability for e in outcome.answers] == pytest.approx([e.probability for e in expected], rel=1e-3)
    alone = good(list(blip.answer_each(SOURCES, "two birds", answers=["red", "a blue car"])))
    assert {each.text for outcome in alone for each in outcome.answers} <= {"red", "a blue car"}


def test_each_picture_is_asked_its_own_questions(blip: Blip) -> None:
    own = [("a dog",), ("a",), (), ("a cat", "two", "the man"), ("a bus", " "), ("b",), ("sky",), ("a", "b"), ("on",)]
    outcomes = list(blip.answer_each(SOURCES, iter(own)))
    assert [len(outcome.answers) for outcome in outcomes] == [1, 0, 0, 3, 0, 0, 1, 2, 1]
    kinds = [type(outcome.error) for outcome in outcomes if outcome.error]
    assert kinds == [ImageError, TextError, TextError, ImageError]
    [first, second, third] = blip.answer([PICTURES[2]], list(own[3]))
    assert [each.text for each in outcomes[3].answers] == [first.text, second.text, third.text]
    with pytest.raises(InputError, match="the questions ended before the pictures"):
        list(blip.answer_each(SOURCES, iter(own[:3])))


def test_matches(blip: Blip) -> None:
    texts = ["a dog runs", "the red hat"]
    of_all = good(list(blip.match_each(iter(SOURCES), texts)))
    own = [
        outcome.matches for outcome in good(list(blip.match_each(SOURCES, ((texts[place % 2],) for place in range(9)))))
    ]
    for place, (one, outcome) in enumerate(zip(PICTURES, of_all, strict=True)):
        expected = blip.match([one], texts)
        assert [each.text for each in outcome.matches] == texts
        assert [each.probability for each in outcome.matches] == pytest.approx(
            [e.probability for e in expected], rel=1e-3
        )
        [mine] = own[place]
        same = next(each for each in outcome.matches if each.text == mine.text)
        assert (mine.probability, mine.similarity) == pytest.approx((same.probability, same.similarity), rel=1e-3)


@pytest.mark.parametrize("ask", [lambda blip: blip.match_each, lambda blip: blip.answer_each], ids=["match", "answer"])
def test_an_empty_text_for_all_is_an_error_at_once(ask: Callable[[Blip], Any], blip: Blip) -> None:
    with pytest.raises(TextError, match="2 of 2 is empty"):
        ask(blip)(SOURCES, ["a dog", ""])


def test_calls_overlap_and_come_in_order() -> None:
    at_work, most, lock = 0, 0, threading.Lock()

    def call(place: int) -> int:
        nonlocal at_work, most
        with lock:
            at_work, most = at_work + 1, max(most, at_work + 1)
        time.sleep(0.02 if place % 2 else 0.001)
        with lock:
            at_work -= 1
        return place

    taken = []

    def calls() -> Iterator[Callable[[], int]]:
        for place in range(12):
            taken.append(place)
            yield lambda place=place: call(place)  # type: ignore[misc]

    results = in_lanes(calls(), 3)
    assert next(results) == 0
    assert len(taken) <= 4, "no more is taken than there is room for"
    assert list(results) == list(range(1, 12))
    assert 1 < most <= 3


def test_what_a_call_raises_is_raised_and_the_rest_is_given_up() -> None:
    def fail() -> int:
        raise InputError("it went wrong")

    done: list[int] = []
    results = in_lanes([lambda: 1, fail, *[lambda: done.append(1) or 2] * 20], 2)
    assert next(results) == 1
    with pytest.raises(InputError, match="it went wrong"):
        list(results)
    assert len(done) <= 3


def test_a_folder_of_the_library_is_what_the_lanes_read(blip: Blip, tmp_path: Path) -> None:
    """Files, as people hand them in."""
    from PIL import Image

    paths = [tmp_path / f"{place}.png" for place in range(3)]
    for path, one in zip(paths, PICTURES, strict=False):
        Image.fromarray(one).save(path)
    assert [outcome.source for outcome in blip.embed_each(paths)] == paths
