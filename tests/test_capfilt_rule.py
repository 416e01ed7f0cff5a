"""Which texts are kept: thresholds, both of them, a fraction, duplicates and empty texts, on scores made by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.bulk.capfilt.records import ScoredPicture, ScoredText
from openblip.bulk.capfilt.rule import Rule, fraction_rule, judge_all, known_rule
from openblip.bulk.capfilt.settings import Decision, Scoring, nucleus
from openblip.errors import OptionError


def text(words: str, itm: float | None = 0.9, itc: float | None = 0.3, web: bool = True) -> ScoredText:
    return ScoredText(words, "web" if web else "synthetic", itm, itc)


def test_a_text_must_reach_every_threshold_that_there_is() -> None:
    texts = [text("a", 0.5, 0.2), text("b", 0.49, 0.9), text("c", 0.9, 0.19), text("d", 0.1, 0.1, web=False)]
    assert judge_all(texts, Rule(itm=0.5)) == ["kept", "itm", "kept", "itm"]
    assert judge_all(texts, Rule(itc=0.2)) == ["kept", "kept", "itc", "itc"]
    assert judge_all(texts, Rule(itm=0.5, itc=0.2)) == ["kept", "itm", "itc", "itm"]
    assert judge_all(texts, Rule()) == ["kept"] * 4


def test_the_default_is_the_papers() -> None:
    assert known_rule(Decision()) == Rule(itm=0.5)
    assert known_rule(Decision(itc=0.2)) == Rule(itc=0.2)
    assert (nucleus().sample, nucleus().top_p) == (True, 0.9)


def test_of_equal_texts_the_first_is_kept() -> None:
    texts = [text("A dog."), text("a  dog"), text("a cat"), text("a dog!", web=False)]
    assert judge_all(texts, Rule(itm=0.5)) == ["kept", "duplicate", "kept", "duplicate"]
    low = [text("A dog.", itm=0.1), text("a dog", itm=0.1)]
    assert judge_all(low, Rule(itm=0.5)) == ["itm", "itm"]


def test_a_text_of_which_nothing_is_left_is_empty_whatever_the_rule() -> None:
    texts = [text("...", None, None), text("", None, None), text("a", None, None)]
    assert judge_all(texts, Rule()) == ["empty", "empty", "kept"]
    assert judge_all(texts, Rule(itm=0.5)) == ["empty", "empty", "itm"]


def pictures(scores: list[list[float]]) -> list[ScoredPicture]:
    return [
        ScoredPicture(str(place), tuple(text(f"{place} {number}", itm=value) for number, value in enumerate(row)))
        for place, row in enumerate(scores)
    ]


def test_a_fraction_is_of_all_texts_of_all_pictures() -> None:
    shards = pictures([[0.9, 0.8], [0.7, 0.2], [0.1], []])
    assert fraction_rule(shards, 0.4, "itm") == Rule(itm=0.8)
    assert fraction_rule(shards, 1.0, "itm") == Rule(itm=0.1)
    assert fraction_rule(shards, 0.01, "itm") == Rule(itm=0.9)  # at least one
    assert fraction_rule(shards, 0.5, "itc") == Rule(itc=0.3)
    assert fraction_rule([], 0.5, "itm") == Rule()


def test_what_is_empty_or_there_twice_does_not_count() -> None:
    picture = ScoredPicture("1", (text("a", 0.9), text("A.", 0.9), text("...", None, None), text("b", 0.4)))
    assert fraction_rule([picture, ScoredPicture("2", error="broken")], 0.5, "itm") == Rule(itm=0.9)


@given(
    st.lists(st.lists(st.floats(0, 1), max_size=4), min_size=1, max_size=30),
    st.floats(0.01, 1),
    st.randoms(use_true_random=False),
)
def test_the_kept_share_is_the_asked_one_up_to_ties_in_any_order(rows, fraction, random) -> None:  # type: ignore[no-untyped-def]
    shards = pictures(rows)
    rule = fraction_rule(shards, fraction, "itm")
    scores = sorted((value for row in rows for value in row), reverse=True)
    kept = [verdict for picture in shards for verdict in judge_all(picture.texts, rule)].count("kept")
    wanted = min(len(scores), max(1, round(fraction * len(scores)))) if scores else 0
    assert kept >= wanted
    assert kept == wanted or scores[kept - 1] == scores[wanted - 1]  # only a tie keeps more
    random.shuffle(shards)
    assert fraction_rule(shards, fraction, "itm") == rule


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"itm": 1.1}, "itm=1.1 is out of range"),
        ({"itm": math.nan}, "itm=nan is out of range"),
        ({"itc": -1.5}, "itc=-1.5 is out of range"),
        ({"keep_fraction": 0.0}, "keeps no text"),
        ({"keep_fraction": 2.0}, "keep_fraction=2.0 is out of range"),
        ({"keep_fraction": 0.5, "itm": 0.5}, "leave out itm and itc"),
        ({"by": "clip"}, "by='clip' is no score"),
    ],
)
def test_a_decision_that_cannot_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Decision(**values)  # type: ignore[arg-type]


def test_neither_captioner_nor_filter() -> None:
    with pytest.raises(OptionError, match="name at least one"):
        Scoring(None, None)
