"""What a picture, a question or a text gives does not depend on its company: not on how many share the batch, not on
what they are padded with, not on their order. In float32, in both engines.

Everything is drawn from small pools, whose single results are computed once; the pools' results must differ from one
another, so that a mixed-up row shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openblip import Answer, Blip, Caption, GenerateOptions, Match
from openblip.engine import Floats
from tiny_blip import picture, tiny_blip

PICTURES = [picture(seed) for seed in range(6)]
PROMPTS = ["", "a", "a picture of", "two children on the street", "red", "the dog"]
TEXTS = ["a dog", "the man plays with a ball on the grass", "red", "two birds in a tree", "snow", "a child eats"]
GIVEN = ["dog", "a red hat", "the sky", "two", "white snow on the street"]
SEARCHES = {
    "greedy": GenerateOptions(num_beams=1, max_length=12, min_length=0),
    "beams": GenerateOptions(num_beams=3, num_return=2, max_length=12),
    "groups": GenerateOptions(num_beams=4, num_beam_groups=2, num_return=4, max_length=12, repetition_penalty=1.3),
    "drawn": GenerateOptions(num_beams=1, sample=True, num_return=2, max_length=12, min_length=0, seed=5),
}
PLACES = st.integers(0, 5)
LISTS = st.lists(PLACES, min_size=1, max_size=6)
PAIRS = st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=6)
SHUFFLED = st.permutations(range(6))
FEW = settings(max_examples=12, deadline=None, derandomize=True)

T = TypeVar("T")


@pytest.fixture(scope="module", params=["openvino", "torch"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip(request.param, tmp_path_factory.mktemp("vocabulary"))


class Alone:
    """The result of each member of the pools by itself."""

    def __init__(self, blip: Blip) -> None:
        self.captions = cache(
            lambda image, prompt, search: blip.captions(PICTURES[image], PROMPTS[prompt], SEARCHES[search])[0]
        )
        self.answer = cache(lambda image, text: blip.answer(PICTURES[image], TEXTS[text])[0])
        self.choice = cache(lambda image, text: blip.answer(PICTURES[image], TEXTS[text], answers=GIVEN)[0])
        self.match = cache(lambda image, text: blip.match(PICTURES[image], TEXTS[text])[0])
        self.image_vector = cache(lambda image: blip.embed_images(PICTURES[image])[0])
        self.text_vector = cache(lambda text: blip.embed_texts(TEXTS[text])[0])


@pytest.fixture(scope="module")
def alone(blip: Blip) -> Alone:
    return Alone(blip)


def same_captions(found: Sequence[Caption], expected: Sequence[Caption]) -> None:
    assert [caption.tokens for caption in found] == [caption.tokens for caption in expected]
    assert [caption.text for caption in found] == [caption.text for caption in expected]
    for one, other in zip(found, expected, strict=True):  # float32 sums of another batch size
        np.testing.assert_allclose(one.token_probabilities, other.token_probabilities, rtol=2e-3, atol=1e-5)


def same_answer(found: Answer, expected: Answer) -> None:
    assert (found.question, found.text) == (expected.question, expected.text)
    assert [text for text, _ in found.others] == [text for text, _ in expected.others]
    likely = [value for _, value in found.others], [value for _, value in expected.others]
    np.testing.assert_allclose([found.probability, *likely[0]], [expected.probability, *likely[1]], rtol=2e-3)


def same_match(found: Match, expected: Match) -> None:
    assert found.text == expected.text
    assert found.probability == pytest.approx(expected.probability, abs=1e-4)
    assert found.similarity == pytest.approx(expected.similarity, abs=1e-5)


def same_vector(found: Floats, expected: Floats) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def all_same(found: Sequence[T], expected: Sequence[T], same: Callable[[T, T], None]) -> None:
    for one, other in zip(found, expected, strict=True):
        same(one, other)


def of(pool: Sequence[T], places: Sequence[int]) -> list[T]:
    return [pool[place] for place in places]


# ---------------------------------------------------------------------------------------------------- the pools are fit


def test_the_pools_tell_their_members_apart(alone: Alone) -> None:
    everyone = range(6)
    for search in SEARCHES:
        assert len({alone.captions(image, 0, search)[0].text for image in everyone}) > 2
    assert len({alone.answer(0, text).text for text in everyone}) > 2
    assert len({alone.answer(image, 0).text for image in everyone}) > 2
    assert len({alone.choice(image, text).text for image in everyone for text in everyone}) > 1
    for margin, values in (  # more than twice what two equal results may differ by
        (5e-4, [alone.match(image, 0).probability for image in everyone]),
        (5e-4, [alone.match(0, text).probability for text in everyone]),
        (5e-5, [alone.match(0, text).similarity for text in everyone]),
        (5e-3, [alone.choice(image, 0).log_probability for image in everyone]),
    ):
        assert np.diff(sorted(values)).min() > margin
    for vector in (alone.image_vector, alone.text_vector):
        vectors = np.stack([vector(place) for place in everyone])
        assert np.abs(vectors[:, None] - vectors)[~np.eye(6, dtype=bool)].max(axis=1).min() > 1e-3


# ------------------------------------------------------------------------------------------- a batch equals its singles


@pytest.mark.parametrize("search", SEARCHES)
@given(pairs=PAIRS)
@FEW
def test_captions_in_a_batch(blip: Blip, alone: Alone, search: str, pairs: list[tuple[int, int]]) -> None:
    images, prompts = zip(*pairs, strict=True)
    found = blip.captions(of(PICTURES, images), of(PROMPTS, prompts), SEARCHES[search])
    all_same(found, [alone.captions(image, prompt, search) for image, prompt in pairs], same_captions)


@given(pairs=PAIRS)
@FEW
def test_answers_in_a_batch(blip: Blip, alone: Alone, pairs: list[tuple[int, int]]) -> None:
    images, texts = zip(*pairs, strict=True)
    found = blip.answer(of(PICTURES, images), of(TEXTS, texts))
    all_same(found, [alone.answer(*pair) for pair in pairs], same_answer)
    chosen = blip.answer(of(PICTURES, images), of(TEXTS, texts), answers=GIVEN)
    all_same(chosen, [alone.choice(*pair) for pair in pairs], same_answer)


@given(pairs=PAIRS)
@FEW
def test_matches_in_a_batch(blip: Blip, alone: Alone, pairs: list[tuple[int, int]]) -> None:
    images, texts = zip(*pairs, strict=True)
    found = blip.match(of(PICTURES, images), of(TEXTS, texts))
    all_same(found, [alone.match(*pair) for pair in pairs], same_match)


@given(places=LISTS)
@FEW
def test_embeddings_in_a_batch(blip: Blip, alone: Alone, places: list[int]) -> None:
    all_same(blip.embed_images(of(PICTURES, places)), [alone.image_vector(place) for place in places], same_vector)
    all_same(blip.embed_texts(of(TEXTS, places)), [alone.text_vector(place) for place in places], same_vector)


# ----------------------------------------------------------------------- what is padded equals what is not, one picture


@pytest.mark.parametrize("search", ["greedy", "beams"])
@given(image=PLACES, prompts=LISTS)
@FEW
def test_prompts_of_unequal_length(blip: Blip, alone: Alone, search: str, image: int, prompts: list[int]) -> None:
    found = blip.captions([PICTURES[image]] * len(prompts), of(PROMPTS, prompts), SEARCHES[search])
    all_same(found, [alone.captions(image, prompt, search) for prompt in prompts], same_captions)


@given(image=PLACES, texts=LISTS)
@FEW
def test_questions_and_texts_of_unequal_length(blip: Blip, alone: Alone, image: int, texts: list[int]) -> None:
    found = blip.answer(PICTURES[image], of(TEXTS, texts))
    all_same(found, [alone.answer(image, text) for text in texts], same_answer)
    matches = blip.match(PICTURES[image], of(TEXTS, texts))
    all_same(matches, [alone.match(image, text) for text in texts], same_match)


@given(places=st.permutations(range(5)), image=PLACES)
@FEW
def test_given_answers_of_unequal_length(blip: Blip, places: list[int], image: int) -> None:
    [among] = blip.answer(PICTURES[image], TEXTS[0], answers=of(GIVEN, places))
    likely = dict([(among.text, among.probability), *among.others])
    assert len(likely) == len(GIVEN)
    for text, probability in likely.items():
        [only] = blip.answer(PICTURES[image], TEXTS[0], answers=[text])
        assert only.probability == pytest.approx(probability, rel=2e-3)


# ----------------------------------------------------------------------------------- shuffled in, shuffled out, all six


@pytest.mark.parametrize("search", SEARCHES)
@given(order=SHUFFLED)
@FEW
def test_captions_follow_their_pictures(blip: Blip, search: str, order: list[int]) -> None:
    straight = blip.captions(PICTURES, PROMPTS, SEARCHES[search])
    shuffled = blip.captions(of(PICTURES, order), of(PROMPTS, order), SEARCHES[search])
    all_same(shuffled, of(straight, order), same_captions)


@given(order=SHUFFLED)
@FEW
def test_everything_else_follows_its_inputs(blip: Blip, order: list[int]) -> None:
    images, texts = of(PICTURES, order), of(TEXTS, order)
    all_same(blip.answer(images, texts), of(blip.answer(PICTURES, TEXTS), order), same_answer)
    all_same(blip.match(images, texts), of(blip.match(PICTURES, TEXTS), order), same_match)
    all_same(blip.embed_images(images), blip.embed_images(PICTURES)[order], same_vector)
    all_same(blip.embed_texts(texts), blip.embed_texts(TEXTS)[order], same_vector)
