"""Questions about pictures with their right answers: read from shards, from a file beside them, or from data of
another form.

Knows files and their faults. Does not know models, nor how an answer is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from openblip.bulk.rows import read_rows
from openblip.bulk.shards import Sample
from openblip.datasets.columns import Columns
from openblip.errors import DataError
from openblip.evaluate.samples import are_shards, shard_samples, usable_pictures
from openblip.metrics.answers import Answers


@dataclass(frozen=True, slots=True)
class Question:
    """One question and what is right. answers: one a person who was asked, or with weights; kind: "" where it has
    none."""

    text: str
    answers: Answers
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture and the questions about it, at least one."""

    key: str
    image_bytes: bytes = field(repr=False)
    questions: tuple[Question, ...]


def read_asked(
    sources: Sequence[str | Path],
    questions: Path | None = None,
    limit: int | None = None,
    images: str = "",
    columns: Columns = Columns(),  # noqa: B008 (it is frozen)
) -> Iterator[Asked]:
    """The pictures of a data set that are asked about, in their order; of those that are not, none.

    sources, images, columns: as in `read_pictures`. questions: for shards, a file with the questions, as in
    `read_questions`; else the json of each picture has them as "qa". limit: only the first so many pictures.

    Raises DataError on what cannot be read, a picture without questions in its shard, or questions about a picture that
    is not in the shards.
    """
    names = [str(source) for source in sources]
    if are_shards(names):
        samples = shard_samples(names, captioned=False)
        yield from islice(_asked(samples) if questions is None else _joined(samples, questions, limit), limit)
        return
    if questions is not None:
        raise DataError(f"{questions} goes with shards: {names[0]} must hold its questions itself")
    for picture in usable_pictures(names, "questions", images, columns)[:limit]:
        asked = tuple(Question(each.text, each.given) for each in picture.questions)
        yield Asked(picture.key, picture.content(), asked)


def _asked(samples: Iterable[Sample]) -> Iterator[Asked]:
    """Those with the questions of their own json."""
    for sample in samples:
        questions = parse_questions(sample.metadata.get("qa"), f"{sample.shard}: {sample.key}.json")
        if questions:
            yield Asked(sample.key, sample.image_bytes, questions)


def _joined(samples: Iterable[Sample], file: Path, limit: int | None) -> Iterator[Asked]:
    """Those that the file asks about. Where all are wanted, none of the file's may be missing."""
    left = read_questions(file)
    for sample in samples:
        if sample.key in left:
            yield Asked(sample.key, sample.image_bytes, left.pop(sample.key))
    if left and limit is None:
        raise DataError(
            f"{len(left)} pictures of {file} are not in the shards (the first is {next(iter(left))!r}): "
            "name the shards that hold them"
        )


def read_questions(path: Path) -> dict[str, tuple[Question, ...]]:
    """Of each picture that is asked about, by its key. path: JSON lines {"key": ..., "qa": [...]}, the list as in
    `parse_questions`.

    Raises DataError that names the line.
    """
    found: dict[str, tuple[Question, ...]] = {}
    for where, row in read_rows(path, '{"key": "dog", "qa": [{"question": "...", "answer": "..."}]}'):
        key = row.get("key")
        if not isinstance(key, str) or key in found:
            raise DataError(f'{where} must have a "key" of its own, the name of a picture in the shards, not {key!r}')
        found[key] = parse_questions(row.get("qa"), where)
    asked = {key: questions for key, questions in found.items() if questions}
    if not asked:
        raise DataError(f"{path} holds no questions: write one picture a line")
    return asked


def parse_questions(rows: Any, where: str) -> tuple[Question, ...]:
    """A list "qa" as questions, none where it is empty.

    Each entry is {"question": ..., "answer": ...}, or with "answers" as a list or as {answer: weight}, perhaps with a
    "kind"; or a pair [question, answer]. where: named in the DataError.
    """
    if not isinstance(rows, list):
        raise DataError(f'{where} has no questions: give {{"qa": [{{"question": "...", "answer": "..."}}]}}')
    return tuple(_question(row, where) for row in rows)


def examples(sources: Iterable[str | Path]) -> Iterator[tuple[str, str, Answers]]:
    """Question, kind and answers of training data, for the prior: shards with "qa", or files of questions."""
    for source in sources:
        path = Path(source)
        if path.suffix in (".jsonl", ".json"):
            groups: Iterable[tuple[Question, ...]] = read_questions(path).values()
        else:
            groups = (asked.questions for asked in read_asked([source]))
        for questions in groups:
            for question in questions:
                yield question.text, question.kind, question.answers


def _question(row: Any, where: str) -> Question:
    if isinstance(row, list) and len(row) == 2:
        row = {"question": row[0], "answer": row[1]}
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not row["question"].strip():
        raise DataError(f'{where}: {str(row)[:60]} is no question: give {{"question": "...", "answer": "..."}}')
    kind: Any = row.get("kind") or ""
    answers: Any = row.get("answers", row.get("answer"))
    if isinstance(answers, str):
        answers = [answers]
    if not isinstance(kind, str) or not _are_answers(answers):
        raise DataError(
            f"{where}: the question {row['question'][:60]!r} has no usable answers: give an answer, a list of them or "
            "{answer: weight} with weights from 0 up"
        )
    return Question(row["question"], answers, kind)


def _are_answers(answers: Any) -> bool:
    if isinstance(answers, list):
        return bool(answers) and all(isinstance(answer, str) for answer in answers)
    if not isinstance(answers, dict):
        return False
    weights = list(answers.values())
    numbers = all(type(weight) in (int, float) and isfinite(weight) and weight >= 0 for weight in weights)
    return numbers and any(weight > 0 for weight in weights)
