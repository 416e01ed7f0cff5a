"""Words of a policy in texts: whole, and whatever their case, width, Unicode form or hidden characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.moderation.words import WordList, normalised


def found(words: str, text: str) -> list[str]:
    return [text[each.start : each.end] for each in WordList([words]).find(text)]


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ("gun", "A gun, two guns, GUN; begun", ["gun", "GUN"]),
        ("for sale", "not For \n\t SALE!", ["For \n\t SALE"]),
        ("gun", "g\u200bu\u00adn", ["g\u200bu\u00adn"]),
        ("gun", "ＧＵＮ", ["ＧＵＮ"]),
        ("straße", "STRASSE und strasse", ["STRASSE", "strasse"]),
        ("café", "cafe\u0301 CAFÉ cafe", ["cafe\u0301", "CAFÉ"]),
        ("cafe", "café", []),
        ("c++", "c++ and C++11, c+", ["c++", "C++"]),
        ("枪", "买枪吗", ["枪"]),
        ("gun.", "gun. gunx", ["gun."]),
        ("a.c", "abc a.c", ["a.c"]),
        ("ﬁre", "FIRE", ["FIRE"]),
        ("gun", "", []),
        ("\u200b", "anything \u200b", []),
    ],
)
def test_words_are_found_whole(words: str, text: str, expected: list[str]) -> None:
    assert found(words, text) == expected


def test_every_word_is_looked_for() -> None:
    places = [(each.words, each.start, each.end) for each in WordList(["gun", "big gun"]).find("a big gun")]
    assert places == [("gun", 6, 9), ("big gun", 2, 9)]


@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_places_are_within_the_text_and_its_form_does_not_count(before: str, after: str, form: str) -> None:
    text = unicodedata.normalize(form, f"{before} größe {after}")  # type: ignore[arg-type]
    places = list(WordList(["GRÖSSE"]).find(text))
    assert places
    for each in places:
        assert 0 <= each.start < each.end <= len(text)
        assert normalised(text[each.start : each.end]) == "grösse"


@given(st.text(max_size=20))
def test_normalising_is_done_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
