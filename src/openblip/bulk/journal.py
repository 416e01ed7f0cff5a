"""What a run has done so far, in a file beside its output: bound to the run's settings, safe against being killed.

captions.jsonl.part    the first line: the settings; every further line: a chunk, {"place": of its first item,
                       "records": [...], "own": [a short name a record for what was asked of it alone]}, appended when
                       all of it is done; or what of a chunk above has no file beside it: {"place": ..., "unwritten":
                       [[which, why], ...]}, of which the last counts. A line that was cut short does not count.

Knows chunks and records. Does not know what is in a record, nor how an output is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from openblip.bulk.durable import cannot_write
from openblip.bulk.manifest import differences
from openblip.errors import InputError
from openblip.image import shown_name

FORMAT = 1
_SYNC_S = 1.0
_HEAD = b'{"format": '


def journal_path(output: Path) -> Path:
    """Where the journal of an output lies."""
    return output.with_name(f"{output.name}.part")


class Journal:
    """Open it in a `with` block: it is locked until the block ends. `places`: of the chunks that are done, how many
    items each has; `last`: the place of the one that was written last; `unwritten`: of chunks, which of their items
    have no file beside them, and why."""

    def __init__(self, output: Path, settings: dict[str, Any], *, restart: bool = False) -> None:
        self.path = journal_path(output)
        self.places: dict[int, int] = {}
        self.last: int | None = None
        self.unwritten: dict[int, dict[int, dict[str, Any]]] = {}
        self._output, self._settings, self._restart = output, settings, restart
        self._offsets: dict[int, int] = {}
        self._file: IO[bytes]
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        """Raises InputError where it cannot be written, another run holds it, or it belongs to other settings."""
        try:
            self._file = self.path.open("a+b")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                name = shown_name(self._output)
                raise InputError(f"another run writes {name}: wait for it, or give another --output") from error
            self._resume()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def items(self) -> int:
        """How many are done."""
        return sum(self.places.values())

    def append(self, place: int, records: Sequence[dict[str, Any]], own: Sequence[str] = ()) -> None:
        """A chunk is done. own: short names for what was asked of each alone. Raises InputError."""
        values = {"place": place, "records": records, **({"own": own} if any(own) else {})}
        self._note(place, len(records), self._append(values))

    def note_unwritten(self, place: int, unwritten: dict[int, dict[str, Any]]) -> None:
        """Of a chunk that is done, what of it has no file beside it; in the place of what was noted before. Raises
        InputError."""
        if unwritten != self.unwritten.get(place, {}):
            self._append({"place": place, "unwritten": list(unwritten.items())})
            self.unwritten[place] = unwritten

    def _append(self, values: dict[str, Any]) -> int:
        """Where the line starts."""
        line = json.dumps(values, separators=(",", ":")).encode() + b"\n"
        try:
            self._file.seek(0, os.SEEK_END)
            start = self._file.tell()
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return start

    def records(self, place: int) -> list[dict[str, Any]]:
        """Those of one chunk."""
        records: list[dict[str, Any]] = self._line(place)["records"]
        return records

    def own(self, place: int) -> list[str]:
        """The short names for what was asked of each item of a chunk alone."""
        own: list[str] = self._line(place).get("own") or [""] * self.places[place]
        return own

    def all_records(self, *, ordered: bool) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Of all chunks, in the order of the items or as they were done, each with why it has no file beside it."""
        for place in sorted(self.places) if ordered else list(self.places):
            unwritten = self.unwritten.get(place, {})
            for which, record in enumerate(self.records(place)):
                yield record, unwritten.get(which)

    def remove(self) -> None:
        """The output is there whole: the journal is no longer needed."""
        self.path.unlink(missing_ok=True)

    def _line(self, place: int) -> dict[str, Any]:
        self._file.seek(self._offsets[place])
        values: dict[str, Any] = json.loads(self._file.readline())
        return values

    def _note(self, place: int, items: int, offset: int) -> None:
        self.places[place], self._offsets[place], self.last = items, offset, place

    def _resume(self) -> None:
        self._file.seek(0)
        head = self._file.readline()
        begun = _HEAD.startswith(head[: len(_HEAD)])  # an empty file too, and one that was cut in its first line
        if (self._restart or not head.endswith(b"\n")) and begun:
            self._begin()
            return
        self._check(head)
        end = self._file.tell()
        while line := self._file.readline():
            try:
                self._take(json.loads(line) if line.endswith(b"\n") else None, end)
            except (ValueError, TypeError, KeyError):
                break  # of a run that was killed, or a machine that lost its power
            end = self._file.tell()
        self._file.truncate(end)

    def _take(self, values: Any, offset: int) -> None:
        if "unwritten" in values:
            self.unwritten[values["place"]] = dict(values["unwritten"])
        else:
            self._note(values["place"], len(values["records"]), offset)

    def _begin(self) -> None:
        self._file.truncate(0)
        head = {"format": FORMAT, "settings": self._settings}
        self._file.write(json.dumps(head).encode() + b"\n")
        self._file.flush()

    def _check(self, head: bytes) -> None:
        name, remedy = shown_name(self.path), "give --restart to do all of it anew, or another --output"
        try:
            values = json.loads(head)
            form, before = values["format"], values["settings"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{name} is no journal of openblip: remove it, or give another --output") from error
        if form != FORMAT:
            raise InputError(f"{name} was written by another version: {remedy}")
        if changed := differences(before, json.loads(json.dumps(self._settings))):
            raise InputError(
                f"{name} holds a run that was not finished and was asked otherwise ({'; '.join(changed)}): give the "
                f"same again to go on with it; else {remedy}"
            )
