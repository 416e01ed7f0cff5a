"""A policy: what is looked for in pictures and their texts, from which score on, and what is done then. Read from TOML
and validated once. Knows no model."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from openblip.errors import OptionError
from openblip.image import shown_name

Verdict = Literal["allow", "review", "block"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""From the mildest to the strictest."""
_NOTHING: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class LabelRule:
    """One thing that is looked for.

    phrases: captions of pictures that show it; the likeliest counts. screen: a phrase is read with the picture (ITM) if
    their similarity (ITC) reaches this. review, block: what is done from which probability (ITM) on; None: never.
    questions: asked about a picture that is not allowed, to explain. words: looked for in the text that comes with the
    picture; on_words: what is done where one is found.

    Raises OptionError on a value outside its range.
    """

    name: str
    phrases: tuple[str, ...] = ()
    screen: float = -1.0
    review: float | None = None
    block: float | None = None
    questions: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    on_words: Verdict = "review"

    def __post_init__(self) -> None:
        at = f"labels.{self.name}"
        for name in ("phrases", "questions", "words"):
            _check_texts(f"{at}.{name}", getattr(self, name))
        if not self.phrases and not self.words:
            raise OptionError(f"{at} looks for nothing: give it phrases of pictures, words of texts, or both")
        _check_number(f"{at}.screen", self.screen, -1, 1)
        for name in ("review", "block"):
            if getattr(self, name) is not None:
                _check_number(f"{at}.{name}", getattr(self, name), 0, 1)
        if self.review is not None and self.block is not None and self.review > self.block:
            raise OptionError(f"{at}.review={self.review} is above block={self.block}: give the smaller one to review")
        _check_verdict(f"{at}.on_words", self.on_words)

    def verdict(self, probability: float | None) -> Verdict:
        """What is done at a probability; None: the screening held the label back."""
        if probability is None:
            return "allow"
        if self.block is not None and probability >= self.block:
            return "block"
        return "review" if self.review is not None and probability >= self.review else "allow"


@dataclass(frozen=True, slots=True)
class TextRule:
    """What is done where a picture does not match the text that comes with it.

    match: the probability (ITM) below which it does not; None: nobody asks.
    """

    match: float | None = None
    on_mismatch: Verdict = "review"

    def __post_init__(self) -> None:
        if self.match is not None:
            _check_number("text.match", self.match, 0, 1)
        _check_verdict("text.on_mismatch", self.on_mismatch)


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules by label, in the order of the file. templates: texts that every phrase is put into, in the place of "{}".
    regions: whether to say where in a picture that is not allowed the phrases that count are.

    Raises OptionError on a policy that looks for nothing, and on what does not go together.
    """

    labels: tuple[LabelRule, ...]
    text: TextRule = field(default_factory=TextRule)
    templates: tuple[str, ...] = ("{}",)
    regions: bool = True

    def __post_init__(self) -> None:
        if not self.labels and self.text.match is None:
            raise OptionError("the policy looks for nothing: give it a table [labels.NAME], or [text] with match")
        names = [rule.name for rule in self.labels]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise OptionError(f"labels {', '.join(sorted(doubled))} are there twice: give each another name")
        if self.regions not in (True, False):
            raise OptionError(f"regions={self.regions!r} is neither true nor false: give one of them")
        _check_texts("templates", self.templates)
        for template in self.templates or ("",):
            if "{}" not in template:
                raise OptionError(f'templates: {template!r} has no place for the phrase: write "a photo of {{}}"')

    @property
    def names(self) -> tuple[str, ...]:
        """Of the labels."""
        return tuple(rule.name for rule in self.labels)

    def unscreened(self) -> Policy:
        """The same, with every phrase read with every picture, nothing asked and nothing done."""
        rules = (replace(rule, screen=-1.0, review=None, block=None, questions=()) for rule in self.labels)
        return replace(self, labels=tuple(rules))


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy of a TOML file. Raises OptionError, which names the file and the value, on one that cannot be used."""
    return parse_policy(read_text(path), shown_name(Path(path)))


def read_text(path: str | os.PathLike[str]) -> str:
    """What the file says. Raises OptionError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8"
        raise OptionError(f"{shown_name(Path(path))} cannot be read: {reason}; name a TOML file in UTF-8") from error


def parse_policy(text: str, name: str = "the policy") -> Policy:
    """The policy that a TOML text is. name: of the file, for errors. Raises OptionError."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OptionError(f"{name} is no TOML: {' '.join(str(error).split())}; correct it there") from error
    try:
        return _policy(values)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from error


def strictest(verdicts: Iterable[Verdict]) -> Verdict:
    """Of all; "allow" where there is none."""
    return max(verdicts, key=VERDICTS.index, default="allow")


def _policy(values: Mapping[str, Any]) -> Policy:
    _check_keys("the policy", values, ("labels", "text", "templates", "regions"))
    labels, text = _table("labels", values.get("labels", _NOTHING)), _table("text", values.get("text", _NOTHING))
    templates = _texts("templates", values.get("templates", ["{}"]))
    _check_keys("text", text, [each.name for each in fields(TextRule)])
    return Policy(
        tuple(_label(name, table) for name, table in labels.items()),
        TextRule(**text),
        templates,
        values.get("regions", True),
    )


def _label(name: str, values: Any) -> LabelRule:
    at = f"labels.{name}"
    table = _table(at, values)
    _check_keys(at, table, [each.name for each in fields(LabelRule)][1:])
    texts: dict[str, Any] = {
        key: _texts(f"{at}.{key}", table[key]) for key in ("phrases", "questions", "words") if key in table
    }
    return LabelRule(name, **{**table, **texts})


def _table(at: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{at}={value!r} is no table: write [{at}] and its values below")
    return value


def _texts(at: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise OptionError(f'{at}={value!r} is no list of texts: write ["a knife", "a man with a gun"]')
    return tuple(value)


def _check_keys(at: str, values: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in values:
        if key not in (known := list(known)):
            raise OptionError(f"{at} has an unknown {key!r}: give {', '.join(known)}")


def _check_texts(at: str, texts: Iterable[Any]) -> None:
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise OptionError(f"{at}: {text!r} is no text: give it words, or leave it out")


def _check_number(at: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(f"{at}={value!r} is not a number: give {low} to {high}")
    if not low <= value <= high:  # also refuses NaN
        raise OptionError(f"{at}={value!r} is out of range: give {low} to {high}")


def _check_verdict(at: str, value: Any) -> None:
    if value not in VERDICTS:
        raise OptionError(f"{at}={value!r} is unknown: give one of {', '.join(VERDICTS)}")
