"""A run over any number of pictures: items to records, and records to an output and to files beside the photos.

It can be killed at any moment: what is in the journal is not done again, and the output is that of a run that was not
killed, since chunks are formed by the items alone. One bad picture ends nothing. Knows no option of a command line and
prints nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from glob import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openblip.bulk.formats import errors_path, write_errors, write_records
from openblip.bulk.items import Item
from openblip.bulk.jobs import Job, Record, records
from openblip.bulk.journal import Journal
from openblip.bulk.manifest import short_hash
from openblip.bulk.sidecars import Beside
from openblip.errors import InputError, OpenBlipError
from openblip.image import shown_name

if TYPE_CHECKING:
    from openblip.pipeline import Blip

Compute = Callable[[Iterator["Chunk"]], Iterator[tuple["Chunk", Sequence[Record]]]]
"""Chunks to the records of what is to be done in each, a record an item; each chunk comes out once."""
_MOST_ITEMS = 50  # of a chunk, for each that is to be done: where nearly all is settled, chunks would never be full


@dataclass(slots=True)
class Chunk:
    """Some items in a row. place: of the first among all; records: one an item, None where it is still to be done."""

    place: int
    items: list[Item] = field(default_factory=list)
    records: list[Record | None] = field(default_factory=list)

    @property
    def todo(self) -> list[Item]:
        """What is to be worked on."""
        return [item for item, record in zip(self.items, self.records, strict=True) if record is None]

    def filled(self, found: Sequence[Record]) -> list[Record]:
        """All records, with those of what was to be done."""
        come = iter(found)
        return [next(come) if record is None else record for record in self.records]


@dataclass(slots=True)
class Counts:
    """What became of the pictures. again: how many of them an earlier run had done already."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    again: int = 0
    seconds: float = 0.0

    @property
    def all(self) -> int:
        """How many there were."""
        return self.done + self.failed + self.skipped

    def summary(self) -> str:
        """In a line."""
        worked = self.done + self.failed - self.again
        rate = f" ({worked / self.seconds:.1f} pictures a second)" if self.seconds > 0 and worked else ""
        before = f", {self.again} of them before" if self.again else ""
        skipped = f"{self.skipped} skipped"
        if self.skipped:
            skipped += " (they have their file: --existing replace writes it anew)"
        return f"{self.done} done, {self.failed} failed, {skipped}{before}; {self.seconds:.1f} s{rate}"


@dataclass(frozen=True, slots=True)
class Told:
    """Whom a run tells: of each record with something found; of each error; of how many are done, so many times."""

    found: Callable[[Record], None] = lambda record: None
    error: Callable[[OpenBlipError | str], None] = lambda error: None
    progress: Callable[[int], None] = lambda done: None


@dataclass(frozen=True, slots=True)
class BulkRun:
    """What is to be done. settings: what binds the journal beside the job; chunk: pictures that are done together;
    output: one file for all, or None; as_json: of an output of lines; beside: files beside the photos; ordered: whether
    the output has the order of the items; restart: an unfinished output is begun anew."""

    items: Iterable[Item]
    job: Job
    compute: Compute
    chunk: int
    output: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    as_json: bool = False
    beside: Sequence[Beside] = ()
    ordered: bool = True
    restart: bool = False

    def run(self, told: Told, closing: Callable[[], Iterator[Record]] = lambda: iter(())) -> Counts:
        """Do it. closing: asked in the end for records that follow. Raises InputError where the output cannot be
        written or belongs to another run."""
        start, counts = time.perf_counter(), Counts()
        with ExitStack() as files:
            journal = None
            if self.output is not None:
                beside = {each.noun: each.settings() for each in self.beside}
                settings = {**self.job.settings(), **self.settings, "ordered": self.ordered, "beside": beside}
                journal = files.enter_context(Journal(self.output, settings, restart=self.restart))
                counts.again = journal.items
            self._work(journal, counts, told)
            if journal is not None:
                self._finish(journal, closing)
            else:
                for record in closing():
                    told.found(record)
        counts.seconds = time.perf_counter() - start
        return counts

    def _work(self, journal: Journal | None, counts: Counts, told: Told) -> None:
        earlier = set(journal.places) if journal is not None else set()

        def to_do() -> Iterator[Chunk]:
            for chunk in chunks(self.items, self.chunk, journal, self.beside, self.job.keywords):
                if journal is not None and chunk.place in earlier:
                    earlier.remove(chunk.place)
                    self._settle_earlier(chunk, journal, counts, told)
                else:
                    yield chunk

        for chunk, found in self.compute(to_do()):
            finished = [_located(*pair) for pair in zip(chunk.items, chunk.filled(found), strict=True)]
            if journal is not None:
                journal.append(chunk.place, finished, [_own(item) for item in chunk.items])
            self._settle(chunk, finished, range(len(finished)), journal, counts, told)
        if journal is not None and earlier:
            raise _of_others(journal, f"{shown_name(journal.records(min(earlier))[0]['source'])} is not among these")

    def _settle_earlier(self, chunk: Chunk, journal: Journal, counts: Counts, told: Told) -> None:
        finished, owns = journal.records(chunk.place), journal.own(chunk.place)
        for item, record, own in zip(chunk.items, finished, owns, strict=False):
            before, now = shown_name(record["source"]), shown_name(item.source)
            if item.source != record["source"]:
                raise _of_others(journal, f"{before} stood where {now} is")
            if own != _own(item):
                raise _of_others(journal, f"what is asked of {now} alone was another")
        if len(chunk.items) < len(finished):
            missing = shown_name(finished[len(chunk.items)]["source"])
            raise _of_others(journal, f"{missing} is not among these")
        again = range(len(finished)) if chunk.place == journal.last else journal.unwritten.get(chunk.place, ())
        self._settle(chunk, finished, again, journal, counts, told)

    def _settle(
        self,
        chunk: Chunk,
        finished: Sequence[Record],
        write: Container[int],
        journal: Journal | None,
        counts: Counts,
        told: Told,
    ) -> None:
        """Tell of what is done, and write the files beside. write: whose may still be missing."""
        unwritten: dict[int, Record] = {}
        for which, (item, record) in enumerate(zip(chunk.items, finished, strict=True)):
            error = record.get("error")
            if error is None and not record.get("skipped") and which in write:
                error = self._write_beside(item, record)
                if error is not None:
                    unwritten[which] = _located(item, {"source": item.source, "error": str(error)})
            if error is not None:
                counts.failed += 1
                told.error(error)
            elif record.get("skipped"):
                counts.skipped += 1
            else:
                counts.done += 1
                told.found(record)
        if journal is not None:
            journal.note_unwritten(chunk.place, unwritten)
        told.progress(counts.all)

    def _write_beside(self, item: Item, record: Record) -> InputError | None:
        if not isinstance(item.picture, Path):
            return None
        try:
            for beside in self.beside:
                beside.write(item.picture, self.job.texts(record), self.job.keywords)
        except InputError as error:
            return error
        return None

    def _finish(self, journal: Journal, closing: Callable[[], Iterator[Record]]) -> None:
        assert self.output is not None

        def found() -> Iterator[Record]:
            for record, _ in journal.all_records(ordered=self.ordered):
                if "error" not in record and not record.get("skipped"):
                    yield record
            yield from closing()

        def failures() -> Iterator[Record]:
            for record, unwritten in journal.all_records(ordered=self.ordered):
                if unwritten or "error" in record:
                    yield unwritten or record

        write_errors(errors_path(self.output), failures())
        for left in self.output.parent.glob(f".{escape(self.output.name)}.*.part"):
            left.unlink(missing_ok=True)  # of a run that was killed while it wrote the output
        write_records(self.output, self.job, found(), self.as_json)
        journal.remove()


def chunks(
    items: Iterable[Item],
    size: int,
    journal: Journal | None = None,
    beside: Sequence[Beside] = (),
    keywords: bool = False,
) -> Iterator[Chunk]:
    """Items in chunks with `size` to be done in each, and others up to a bound. Those that a journal has come out with
    the bounds that they have there, and with nothing to be done. What is not to be done comes without its bytes."""
    chunk, known, todo = Chunk(0), 0, 0
    for place, item in enumerate(items):
        if not known and journal is not None and place in journal.places:
            if chunk.items:
                yield chunk
            chunk, known, todo = Chunk(place), journal.places[place], 0
        record = _settled(item, beside, keywords)  # also of a known one: files beside note which photos they belong to
        settled = (known or record is not None) and isinstance(item.picture, bytes)
        chunk.items.append(replace(item, picture=None) if settled else item)
        chunk.records.append({} if known else record)
        todo += record is None and not known
        if known == 1 or (not known and (todo == size or len(chunk.items) == _MOST_ITEMS * size)):
            yield chunk
            chunk, todo = Chunk(place + 1), 0
        known = max(0, known - 1)
    if chunk.items:
        yield chunk


def _located(item: Item, record: Record) -> Record:
    """With where a picture that failed is found again, from any folder; nothing where it is a part of a file."""
    if "error" not in record or not isinstance(item.picture, Path | str):
        return record
    return {**record, "image": str(item.picture.absolute() if isinstance(item.picture, Path) else item.picture)}


def _own(item: Item) -> str:
    """A short name for what is asked of it alone."""
    return short_hash(item.own) if item.own else ""


def _of_others(journal: Journal, reason: str) -> InputError:
    return InputError(
        f"{shown_name(journal.path)} holds a run over other pictures: {reason}: give --restart to do all of it anew, "
        "or another --output"
    )


def _settled(item: Item, beside: Sequence[Beside], keywords: bool) -> Record | None:
    """The record of an item that nothing is to be done for."""
    if item.error is not None:
        return {"source": item.source, "error": str(item.error)}
    try:
        if not beside or any([each.wanted(item.picture, keywords) for each in beside]):  # noqa: C419 (each notes the photo)
            return None
    except InputError as error:
        return {"source": item.source, "error": str(error)}
    return {"source": item.source, "skipped": True}


def compute_here(job: Job, blip: Blip, size: int) -> Compute:
    """Chunks done by this process, read ahead and in lanes as `Blip.caption_each` does it; in order. size: of those
    that are full. After another a batch begins anew, as it does in a run that goes on from there."""

    def compute(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Record]]]:
        for chunk in chunks:
            if chunk.todo:
                yield from in_a_row(chain([chunk], chunks))
            else:
                yield chunk, []

    def in_a_row(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Record]]]:
        """Up to the first that is not full."""
        waiting: deque[Chunk] = deque()

        def todo() -> Iterator[Item]:
            for chunk in chunks:
                waiting.append(chunk)
                yield from chunk.todo
                if len(chunk.todo) != size:
                    return

        found: list[Record] = []
        for record in records(job, blip, todo()):
            while not waiting[0].todo:
                yield waiting.popleft(), []
            found.append(record)
            if len(found) == len(waiting[0].todo):
                yield waiting.popleft(), found
                found = []
        while waiting:
            yield waiting.popleft(), []

    return compute
