"""Encoded pictures in memory: what is kept, what goes, and that joined ones are what was encoded together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip import Blip
from openblip.serve.encodings import Encodings
from tiny import random_pixels
from tiny_blip import WHOLE, tiny_blip


class States:
    """So many bytes."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ab"), st.integers(0, 120)), max_size=60))
def test_the_bound_holds_and_what_was_used_last_stays(kept: list[tuple[int, str, int]]) -> None:
    encodings: Any = Encodings(200)
    for place, (picture, part, size) in enumerate(kept):
        encodings.keep(str(picture), part, States(size))
        assert encodings.nbytes <= 200
        assert part in encodings.find(str(picture), [part])
        if place:
            encodings.find(str(kept[place - 1][0]), ["a", "b"])
    found = {(str(picture), part) for picture, part, _ in kept for part in encodings.find(str(picture), [part])}
    assert encodings.nbytes == sum(encodings.find(picture, [part])[part].nbytes for picture, part in found)


def test_one_that_is_too_large_alone_is_not_kept() -> None:
    encodings: Any = Encodings(100)
    encodings.keep("dog", "a", States(80))
    encodings.keep("cat", "a", States(101))
    assert encodings.find("cat", ["a"]) == {}
    assert set(encodings.find("dog", ["a"])) == {"a"}


@pytest.fixture(scope="module", params=["openvino", "torch"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    folder: Path = tmp_path_factory.mktemp(request.param)
    return tiny_blip(request.param, folder)


def test_joined_states_answer_as_those_encoded_together(blip: Blip) -> None:
    pixels = random_pixels(WHOLE, 3, seed=1)
    together = blip.engine.encode_images(pixels)
    alone = [blip.engine.encode_images(pixels[[row]]) for row in range(3)]
    joined = alone[0].join(alone[1:])
    assert len(joined) == 3
    assert joined.nbytes == together.nbytes == sum(each.nbytes for each in alone)
    np.testing.assert_allclose(blip.engine.embed_images(joined), blip.engine.embed_images(together), atol=1e-5)
    tokens = np.array([[5, 7, 8], [5, 9, 10], [5, 11, 12]])
    lengths, rows = np.array([3, 3, 3]), np.array([2, 0, 1])
    found, expected = (blip.engine.match(states, rows, tokens, lengths) for states in (joined, together))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    swapped = together.take(np.array([1])).join([together.take(np.array([0])), together.take(np.array([2]))])
    [first, second, _] = blip.engine.embed_images(swapped)
    np.testing.assert_array_equal([second, first], blip.engine.embed_images(together)[:2])
