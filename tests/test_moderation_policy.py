"""Policies: what is read from TOML, and what is refused, each by its name, value and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openblip.errors import OptionError
from openblip.moderation import LabelRule, Policy, TextRule, read_policy
from openblip.moderation.policy import VERDICTS, parse_policy, strictest
from required import module

WHOLE = """
templates = ["{}", "a photo of {}"]

[labels.weapon]
phrases = ["a man with a gun", "a knife"]
screen = 0.2
review = 0.4
block = 0.9
questions = ["what is he holding?"]
words = ["for sale"]
on_words = "block"

[labels.spam]
words = ["free money"]

[text]
match = 0.05
on_mismatch = "allow"
"""


def test_a_whole_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(WHOLE, encoding="utf-8-sig")
    weapon = LabelRule(
        "weapon",
        ("a man with a gun", "a knife"),
        0.2,
        0.4,
        0.9,
        ("what is he holding?",),
        ("for sale",),
        "block",
    )
    spam = LabelRule("spam", words=("free money",))
    expected = Policy((weapon, spam), TextRule(0.05, "allow"), ("{}", "a photo of {}"))
    assert read_policy(tmp_path / "policy.toml") == expected
    assert expected.names == ("weapon", "spam")
    assert spam.on_words == "review"
    assert expected.unscreened().labels[0] == LabelRule("weapon", weapon.phrases, words=weapon.words, on_words="block")


@pytest.mark.parametrize(
    ("probability", "review", "block", "expected"),
    [
        (None, 0.0, 0.0, "allow"),
        (0.5, None, None, "allow"),
        (0.5, 0.5, None, "review"),
        (0.49, 0.5, 0.9, "allow"),
        (0.9, 0.5, 0.9, "block"),
        (0.9, None, 0.9, "block"),
        (0.89, None, 0.9, "allow"),
    ],
)
def test_thresholds_hold_from_their_value_on(
    probability: float | None, review: float | None, block: float | None, expected: str
) -> None:
    assert LabelRule("a", ("b",), review=review, block=block).verdict(probability) == expected


def test_the_strictest_wins() -> None:
    assert strictest(["allow", "block", "review"]) == "block"
    assert strictest([]) == "allow"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the policy looks for nothing: give it a table [labels.NAME]"),
        ("[labels", "is no TOML"),
        ("[label.a]\nphrases=['b']", "the policy has an unknown 'label': give labels, text, templates, regions"),
        ("labels = 3", "labels=3 is no table: write [labels]"),
        ("labels.a = 3", "labels.a=3 is no table: write [labels.a]"),
        ("[labels.a]", "labels.a looks for nothing: give it phrases of pictures, words of texts"),
        ("labels.a.phrases = 'gun'", "labels.a.phrases='gun' is no list of texts"),
        ("labels.a.phrases = ['gun', ' ']", "labels.a.phrases: ' ' is no text"),
        ("labels.a.words = [3]", "labels.a.words: 3 is no text"),
        ("labels.a = {phrases = ['b'], treshold = 1}", "labels.a has an unknown 'treshold': give phrases, screen,"),
        ("labels.a = {phrases = ['b'], review = 1.5}", "labels.a.review=1.5 is out of range: give 0 to 1"),
        ("labels.a = {phrases = ['b'], block = true}", "labels.a.block=True is not a number: give 0 to 1"),
        ("labels.a = {phrases = ['b'], block = nan}", "labels.a.block=nan is out of range"),
        ("labels.a = {phrases = ['b'], screen = -2}", "labels.a.screen=-2 is out of range: give -1 to 1"),
        ("labels.a = {phrases = ['b'], review = 0.9, block = 0.5}", "labels.a.review=0.9 is above block=0.5"),
        ("labels.a = {words = ['b'], on_words = 'ban'}", "labels.a.on_words='ban' is unknown: give one of allow,"),
        ("text = {match = 'high'}", "text.match='high' is not a number"),
        ("text = {match = 0.1, on_mismatch = 3}", "text.on_mismatch=3 is unknown"),
        ("regions = 'yes'\nlabels.a.phrases = ['b']", "regions='yes' is neither true nor false"),
        ("text = {min = 0.1}", "text has an unknown 'min': give match, on_mismatch"),
        ("templates = ['a photo']\nlabels.a.phrases = ['b']", "templates: 'a photo' has no place for the phrase"),
        ("templates = []\nlabels.a.phrases = ['b']", "templates: '' has no place for the phrase"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(OptionError) as caught:
        read_policy(tmp_path / "mine.toml")
    assert says in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name, says in [("none.toml", "No such file"), ("bytes.toml", "it is no UTF-8")]:
        with pytest.raises(OptionError, match=f"{name} cannot be read: {says}"):
            read_policy(tmp_path / name)


NUMBERS = st.one_of(st.floats(-2, 2), st.integers(-3, 3), st.booleans(), st.text(max_size=3), st.none())


@settings(max_examples=60)
@given(number=NUMBERS, key=st.sampled_from(["screen", "review", "block"]))
def test_a_number_is_taken_or_named(number: Any, key: str) -> None:
    low = -1 if key == "screen" else 0
    good = isinstance(number, (int, float)) and not isinstance(number, bool) and low <= number <= 1
    if number is None:
        return
    if good:
        assert getattr(LabelRule("a", ("b",), **{key: number}), key) == number
        return
    with pytest.raises(OptionError) as caught:
        LabelRule("a", ("b",), **{key: number})
    assert f"labels.a.{key}={number!r}" in str(caught.value)
    assert f"give {low} to 1" in str(caught.value)


JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["phrases", "words", "review", "block", "on_words", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["labels", "text", "templates", "more"]), JSON, max_size=3))
def test_any_toml_is_a_policy_or_one_error_in_one_line(values: dict[str, Any]) -> None:
    tomlkit = module("tomlkit", "moderation")
    text = tomlkit.dumps(values)
    found = policy_or_error(text)
    if isinstance(found, OptionError):
        assert str(found).startswith("the policy: ")
        assert "\n" not in str(found)
    else:
        assert found.labels or found.text.match is not None
        assert all(rule.on_words in VERDICTS for rule in found.labels)


def policy_or_error(text: str) -> Policy | OptionError:
    try:
        return parse_policy(text)
    except OptionError as error:
        return error
