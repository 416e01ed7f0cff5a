"""What is asked of every picture of a run: captions, answers, matches, tags, embeddings. A job turns items into
records, and records into lines, rows of a table and texts for a caption file.

Knows `Blip` and what its results hold. Knows no files. A record is plain values, ready for JSON: {"source": ..., what
was found} or {"source": ..., "error": why}. A further task is a class here, and a command.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import tee
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from openblip.bulk.items import Item, Stored
from openblip.config import Task
from openblip.errors import OptionError, TextError
from openblip.types import GenerateOptions, TagOptions

if TYPE_CHECKING:
    from openblip.image import ImageSource
    from openblip.pipeline import Blip, Outcome

Record = dict[str, Any]
Kind = Literal["text", "number", "vector"]
"""Of a column's cells."""


class Job:
    """What is asked of every picture. Frozen and plain, so that it travels to other machines.

    name: of the command; tasks: whose checkpoints any such job needs; key: under which a record holds what was
    found, a list. columns: of a table, beside the source, with the entry's field and the kind; shown: how an entry is
    printed. keywords: whether its texts are keywords, divided by commas, and no sentences.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]]
    key: ClassVar[str]
    columns: ClassVar[dict[str, tuple[str, Kind]]]
    shown: ClassVar[str]
    keywords: ClassVar[bool] = False

    def settings(self) -> dict[str, Any]:
        """All that the results follow from but the model, ready for JSON."""
        return {"command": self.name, **json.loads(json.dumps(asdict(self)))}  # type: ignore[call-overload]

    def needed(self) -> tuple[Task, ...]:
        """The tasks whose checkpoints this one needs."""
        return self.tasks

    def rows_a_picture(self) -> int:
        """Rows that one picture takes in an engine call."""
        return 1

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """One an item, in order."""
        raise NotImplementedError

    def found(self, outcome: Outcome) -> Record:
        """What a record holds beside its source."""
        results: Sequence[Any] = getattr(outcome, self.key)
        return {self.key: [each.to_dict() for each in results]}

    def closes(self) -> bool:
        """Whether records follow those of the pictures."""
        return False

    def closing(self, blip: Blip) -> Iterator[Record]:
        """Records that follow those of the pictures."""
        return iter(())

    def entries(self, record: Record) -> list[Record]:
        """What was found, one by one."""
        return list(record[self.key])

    def lines(self, record: Record) -> Iterator[str]:
        """How it is printed, without its source."""
        return (self.shown.format_map(entry) for entry in self.entries(record))

    def rows(self, record: Record) -> Iterator[Record]:
        """Those of a table, by column."""
        for entry in self.entries(record):
            cells = {column: entry.get(name) for column, (name, _) in self.columns.items()}
            yield {"source": record.get("source"), **cells}

    def texts(self, record: Record) -> list[str]:
        """What a caption file holds."""
        return [entry["text"] for entry in self.entries(record)]


@dataclass(frozen=True, slots=True)
class CaptionJob(Job):
    """Captions. prompt: what they start with; own_prompts: pictures have their own instead."""

    prompt: str = ""
    options: GenerateOptions = field(default_factory=GenerateOptions)
    own_prompts: bool = False
    name: ClassVar[str] = "caption"
    tasks: ClassVar[tuple[Task, ...]] = ("caption",)
    key: ClassVar[str] = "captions"
    columns: ClassVar[dict[str, tuple[str, Kind]]] = {
        "caption": ("text", "text"), "probability": ("probability", "number"),
        "log_probability": ("log_probability", "number"), "model": ("model", "text"),
    }  # fmt: skip
    shown: ClassVar[str] = "{text}"

    def rows_a_picture(self) -> int:
        """Those of the search."""
        return self.options.rows

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """By `Blip.caption_each`."""
        if not self.own_prompts:
            return blip.caption_each(pictures_of(items), self.prompt, self.options)
        first, second = tee(items)  # which keeps no more than what is read ahead
        own = (item.own[0] if item.own else self.prompt for item in second)
        return blip.caption_each(pictures_of(first), own, self.options)

    def found(self, outcome: Outcome) -> Record:
        """With the prompt, where pictures have their own."""
        captions = Job.found(self, outcome)
        return {"prompt": outcome.prompt, **captions} if self.own_prompts else captions


@dataclass(frozen=True, slots=True)
class AskJob(Job):
    """Answers. questions: asked of every picture, before its own. answers: the only ones allowed."""

    questions: tuple[str, ...] = ()
    options: GenerateOptions = field(default_factory=GenerateOptions.for_answers)
    answers: tuple[str, ...] | None = None
    name: ClassVar[str] = "ask"
    tasks: ClassVar[tuple[Task, ...]] = ("answer",)
    key: ClassVar[str] = "answers"
    columns: ClassVar[dict[str, tuple[str, Kind]]] = {
        "question": ("question", "text"), "answer": ("text", "text"), "probability": ("probability", "number"),
        "log_probability": ("log_probability", "number"), "model": ("model", "text"),
    }  # fmt: skip
    shown: ClassVar[str] = "{probability:.4f} {question} {text}"

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """By `Blip.answer_each`."""
        first, second = tee(items)
        asked = ((*self.questions, *item.own) for item in second)
        return blip.answer_each(pictures_of(first), asked, self.options, self.answers)


@dataclass(frozen=True, slots=True)
class MatchJob(Job):
    """Matches. given: texts that are held against every picture, before its own."""

    given: tuple[str, ...] = ()
    name: ClassVar[str] = "match"
    tasks: ClassVar[tuple[Task, ...]] = ("match", "embed")
    key: ClassVar[str] = "matches"
    columns: ClassVar[dict[str, tuple[str, Kind]]] = {
        "text": ("text", "text"), "probability": ("probability", "number"), "similarity": ("similarity", "number"),
        "model": ("model", "text"),
    }  # fmt: skip
    shown: ClassVar[str] = "{probability:.4f} {similarity:+.4f} {text}"

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """By `Blip.match_each`."""
        first, second = tee(items)
        return blip.match_each(pictures_of(first), ((*self.given, *item.own) for item in second))


@dataclass(frozen=True, slots=True)
class TagJob(Job):
    """Tags. labels: to choose from; None: the built-in ones."""

    labels: tuple[str, ...] | None = None
    options: TagOptions = field(default_factory=TagOptions)
    name: ClassVar[str] = "tag"
    tasks: ClassVar[tuple[Task, ...]] = ("match", "embed")
    key: ClassVar[str] = "tags"
    keywords: ClassVar[bool] = True
    columns: ClassVar[dict[str, tuple[str, Kind]]] = {
        "label": ("label", "text"), "probability": ("probability", "number"), "similarity": ("similarity", "number"),
        "model": ("model", "text"),
    }  # fmt: skip

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """By `Blip.tag_each`."""
        return blip.tag_each(pictures_of(items), self.labels, self.options)

    def lines(self, record: Record) -> Iterator[str]:
        """All in one."""
        yield from self.texts(record)

    def texts(self, record: Record) -> list[str]:
        """All in one line, as image trainers read tags."""
        return [", ".join(entry["label"] for entry in self.entries(record))]


@dataclass(frozen=True, slots=True)
class EmbedJob(Job):
    """Embeddings of the pictures, then of the given texts."""

    given: tuple[str, ...] = ()
    name: ClassVar[str] = "embed"
    tasks: ClassVar[tuple[Task, ...]] = ("embed",)
    key: ClassVar[str] = "embedding"
    columns: ClassVar[dict[str, tuple[str, Kind]]] = {
        "text": ("text", "text"), "vector": ("vector", "vector"), "model": ("model", "text")
    }  # fmt: skip

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """By `Blip.embed_each`."""
        return blip.embed_each(pictures_of(items))

    def found(self, outcome: Outcome) -> Record:
        """The vector and the model."""
        return {} if outcome.embedding is None else outcome.embedding.to_dict()

    def closes(self) -> bool:
        """Those of the texts follow."""
        return bool(self.given)

    def closing(self, blip: Blip) -> Iterator[Record]:
        """Those of the texts."""
        name = blip.part("embed").name
        for text, vector in zip(self.given, blip.embed_texts(list(self.given)), strict=True):
            yield {"text": text, "vector": vector.tolist(), "model": name}

    def entries(self, record: Record) -> list[Record]:
        """The record itself is the one."""
        return [record]


def records(job: Job, blip: Blip, items: Iterable[Item]) -> Iterator[Record]:
    """One an item, in order: what was found, or why nothing was."""
    first, second = tee(items)
    for item, outcome in zip(second, job.outcomes(blip, first), strict=False):
        if outcome.error is not None:
            yield {"source": item.source, "error": _shown_error(item, outcome)}
        else:
            yield {"source": item.source, **job.found(outcome)}


def pictures_a_call(job: Job, blip: Blip) -> int:
    """How many pictures share an engine call."""
    return min(blip.part(task).pictures_a_call(job.rows_a_picture()) for task in job.needed())


def pictures_of(items: Iterable[Item]) -> Iterator[ImageSource]:
    """Of items that can be worked on and, where they lie in shards, were read."""
    for item in items:
        assert item.picture is not None
        assert not isinstance(item.picture, Stored), "read it first"
        yield item.picture


def _shown_error(item: Item, outcome: Outcome) -> str:
    """What went wrong, and with which picture: errors about bytes, and those about texts, do not say."""
    from openblip.image import shown_name

    named = isinstance(item.picture, bytes) or isinstance(outcome.error, (OptionError, TextError))
    return f"{shown_name(item.source)}: {outcome.error}" if named else str(outcome.error)


def check_texts(texts: Sequence[str], what: str, flag: str, column: str) -> None:
    """Raise OptionError where nothing is asked."""
    if not texts and not column:
        raise OptionError(f"there is no {what}: give {flag}, or {flag}-column for those of a table")
