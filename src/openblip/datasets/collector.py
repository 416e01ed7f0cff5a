"""Entries of any source -> one record a picture, texts of the same picture together. Knows what a caption, a question
and an answer must be; does not know where entries come from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from openblip.datasets.columns import Columns
from openblip.datasets.examples import Picture, Question
from openblip.text import clean_caption

Wanted = Literal["captions", "questions"]


@dataclass
class _Entry:
    """One picture as it is gathered."""

    file: Path
    offset: int
    size: int
    where: str
    captions: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


class Collector:
    """Gathers what is said about each picture, in the order of first mention. faults: what cannot be used, and why."""

    def __init__(self, wanted: Wanted, images: Path | None, columns: Columns) -> None:
        self.wanted, self.columns, self.images = wanted, columns, images
        self.faults: list[str] = []
        self._entries: dict[tuple[str, int], _Entry] = {}

    def pictures(self) -> list[Picture]:
        """Those that something is said about."""
        return [
            Picture(each.file, each.offset, each.size, tuple(each.captions), tuple(each.questions), each.where)
            for each in self._entries.values()
            if each.captions or each.questions
        ]

    def add_file(self, name: str, folder: Path, where: str, texts: Mapping[str, Any] | Sequence[str]) -> None:
        """What is said of a picture file, its path as it was written. folder: where it starts, unless `images` says.
        texts: as in `add`."""
        file = Path(self.images or folder, name)
        key = (os.path.normcase(os.path.abspath(file)), 0)  # noqa: PTH100 (resolving would follow links)
        if key not in self._entries:
            try:
                size = file.stat().st_size if file.is_file() else None
            except (OSError, ValueError):  # ValueError: a null byte
                size = None
            if size is None:
                self.faults.append(f"{where}: there is no picture {file}")
                return
            self._entries[key] = _Entry(file, 0, size, f"{file} ({where})")
        self._add(self._entries[key], where, texts)

    def add(self, file: Path, offset: int, size: int, where: str, texts: Mapping[str, Any] | Sequence[str]) -> None:
        """What is said of a picture within a file. texts: captions, or a record whose columns hold captions, a question
        with its answers, or a list of those as "qa"."""
        self._add(self._entries.setdefault((str(file), offset), _Entry(file, offset, size, where)), where, texts)

    def _add(self, entry: _Entry, where: str, texts: Mapping[str, Any] | Sequence[str]) -> None:
        try:
            if self.wanted == "captions":
                entry.captions += self._captions(texts, where)
            else:
                entry.questions += self._questions(texts, where)
        except _Unusable as error:
            self.faults.append(f"{where}: {error}")

    def _captions(self, texts: Mapping[str, Any] | Sequence[str], where: str) -> list[str]:
        if isinstance(texts, Mapping):
            value = texts[self.columns.find(list(texts), "caption", where)]
            texts = value if isinstance(value, list) else [value]
        found = []
        for text in texts:
            if not isinstance(text, str):
                raise _Unusable(f"the caption {text!r} is no text")
            if not (caption := clean_caption(text)):
                raise _Unusable("the caption is empty")
            found.append(caption)
        if not found:
            raise _Unusable("there are no captions")
        return found

    def _questions(self, texts: Mapping[str, Any] | Sequence[str], where: str) -> list[Question]:
        if not isinstance(texts, Mapping):  # a line of a sidecar: the question, then its answers
            return [question_of(texts[0], list(texts[1:]))]
        if "qa" in texts and not self.columns.question:
            rows = texts["qa"]
            if not isinstance(rows, list) or not rows:
                raise _Unusable('"qa" must be a list of questions with answers')
            return [question_of(*_pair(row)) for row in rows]
        question = texts[self.columns.find(list(texts), "question", where)]
        return [question_of(question, texts[self.columns.find(list(texts), "answer", where)])]


def question_of(question: Any, answers: Any) -> Question:
    """A question with its answers and their shares.

    answers: one, a list with one of each person who was asked (texts, or {"answer": text} as in VQA v2), or {answer:
    weight}; in a text that starts with [ or { such a thing as JSON. Raises what a Collector notes as a fault.
    """
    if not isinstance(question, str) or not (text := clean_caption(question)):
        raise _Unusable(f"{question!r} is no question")
    if isinstance(answers, str) and answers.lstrip()[:1] in ("[", "{"):
        try:
            answers = json.loads(answers)
        except ValueError as error:
            raise _Unusable(f"the answers {answers[:40]!r} are no JSON ({error})") from error
    if isinstance(answers, Mapping):
        return Question(text, _shares(answers))
    people = [_answer(each) for each in (answers if isinstance(answers, list) else [answers])]
    if not people:
        raise _Unusable(f"the question {text!r} has no answers")
    return Question(text, _shares({answer: people.count(answer) for answer in people}), len(people))


def _answer(value: Any) -> str:
    value = value.get("answer") if isinstance(value, Mapping) else value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise _Unusable(f"{value!r} is no answer")
    return " ".join(value.lower().split())


def _shares(weights: Mapping[Any, Any]) -> tuple[tuple[str, float], ...]:
    if not all(type(weight) in (int, float) and isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise _Unusable(f"the answers {dict(weights)} must have weights from 0 up")
    whole = sum(weights.values())
    if not whole:
        raise _Unusable("there are no answers with a weight above 0")
    return tuple((_answer(answer), weight / whole) for answer, weight in weights.items() if weight)


def _pair(row: Any) -> tuple[Any, Any]:
    if isinstance(row, list) and len(row) == 2:
        return row[0], row[1]
    if not isinstance(row, Mapping) or "question" not in row:
        raise _Unusable(f'{str(row)[:60]} is no question: write {{"question": "...", "answer": "..."}}')
    return row["question"], row.get("answers", row.get("answer"))


class _Unusable(Exception):
    """Why a single entry is not used."""
