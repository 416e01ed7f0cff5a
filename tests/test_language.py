"""The English of captions: forms of words, and noun phrases with their places."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.language.forms import ing, plural, singular
from openblip.language.phrases import noun_phrases
from openblip.language.tagging import located, tokenise


@pytest.mark.parametrize(
    ("one", "many"),
    [("dog", "dogs"), ("puppy", "puppies"), ("child", "children"), ("man", "men"), ("bus", "buses"), ("sheep", "sheep"),
     ("tennis racket", "tennis rackets"),
     ("person", "people"), ("beach", "beaches"), ("leaf", "leaves")],
)  # fmt: skip
def test_number_of_nouns(one: str, many: str) -> None:
    assert plural(one) == many
    assert one == "person" or singular(many) == one


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        ("run", "running"),
        ("ride", "riding"),
        ("lie", "lying"),
        ("ski", "skiing"),
        ("play", "playing"),
        ("row", "rowing"),
    ],
)
def test_ing(verb: str, form: str) -> None:
    assert ing(verb) == form
    assert ing(form) == form


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("a brown dog in the snow", ["a brown dog", "the snow"]),
        ("A man in a black hat is sitting next to a woman .", ["A man", "a black hat", "a woman"]),
        ("two   people's dog runs in front of a house", ["two   people", "dog", "a house"]),
        ("a group of people at a table", ["a group of people", "a table"]),
        ("a man in red shorts", ["a man", "red shorts"]),
        ("a man in red", ["a man"]),
        ("A t - shirt and a red-and-white ball", ["A t - shirt", "a red-and-white ball"]),
        ("an old , wooden house and a dirt bike", ["an old , wooden house", "a dirt bike"]),
        ("it is there", []),
        ("", []),
    ],
)
def test_noun_phrases_are_what_a_caption_mentions(caption: str, phrases: list[str]) -> None:
    found = noun_phrases(caption)
    assert [phrase.text for phrase in found] == phrases
    assert [caption[phrase.start : phrase.end] for phrase in found] == phrases


def test_a_phrase_knows_its_noun() -> None:
    assert [phrase.head for phrase in noun_phrases("two brown dogs on a dirt bike")] == ["dog", "dirt bike"]


@given(
    st.lists(st.sampled_from(["a", "dog", "'s", "t - shirt", "İ", " - ", "of", "group", "red", "ß", "`s", ",", "Σ"]))
)
def test_places_are_right_whatever_is_written(parts: list[str]) -> None:
    caption = " ".join(parts)
    tokens = located(caption)
    assert [token.text for token in tokens] == tokenise(caption)
    assert all(0 <= token.start < token.end <= len(caption) for token in tokens)
    phrases = noun_phrases(caption)
    assert all(phrase.text == caption[phrase.start : phrase.end] != "" for phrase in phrases)
    assert all(left.end <= right.start for left, right in pairwise(phrases))


def test_it_needs_neither_torch_nor_arrays() -> None:
    code = "import sys, openblip.language.phrases; print({'torch', 'openvino', 'numpy'} & sys.modules.keys())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
