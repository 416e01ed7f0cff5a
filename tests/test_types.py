"""Options say what is wrong with them before anything is computed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from openblip.errors import OptionError
from openblip.types import GenerateOptions


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_beams": 0}, "num_beams=0 is out of range: give 1 to 64"),
        ({"max_length": 1}, "max_length=1 is out of range"),
        ({"min_length": 21}, "min_length=21 is out of range: give 0 to 20"),
        ({"length_penalty": float("nan")}, "length_penalty=nan is out of range"),
        ({"repetition_penalty": 0}, "repetition_penalty=0 is out of range"),
        ({"top_p": 1.5}, "top_p=1.5 is out of range"),
        ({"temperature": float("inf")}, "temperature=inf is out of range"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"num_beams": 2.5}, "num_beams=2.5 is not a whole number: give 1 to 64"),
        ({"num_beams": "3"}, "num_beams='3' is not a whole number"),
        ({"top_p": "most"}, "top_p='most' is not a number"),
        ({"seed": None}, "seed=None is not a whole number"),
        ({"num_beams": 2, "num_return": 3}, "num_return=3 needs as many num_beams"),
        ({"sample": True}, "sample=True excludes num_beams=3: set num_beams=1"),
    ],
    ids=str,
)
def test_a_bad_option_is_named_with_its_range(values: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError) as caught:
        GenerateOptions(**values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bounds_belong_to_the_range_and_numpy_numbers_count() -> None:
    GenerateOptions(num_beams=64, max_length=512, min_length=512, top_p=1, num_return=64)
    GenerateOptions(num_beams=np.int64(2), top_p=np.float32(0.5))  # type: ignore[arg-type]


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        GenerateOptions().num_beams = 1  # type: ignore[misc]
