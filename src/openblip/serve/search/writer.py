"""Additions and deletions one after the other, those that wait together in one transaction. Knows asyncio and a
library; no HTTP, no model."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from openblip.engine import Floats
from openblip.image import ImageLimits
from openblip.library import Library, Record
from openblip.library.facts import read_facts
from openblip.library.scan import place_of
from openblip.serve.search.stored import Stored

LOG = logging.getLogger("openblip.serve")
_MOST = 64  # pictures a transaction, whose bytes are in memory
_TIDY_EVERY = 50  # transactions: each leaves a file that every search opens


@dataclass(frozen=True, slots=True)
class Addition:
    """A picture that was encoded. caption: empty where none is known."""

    data: bytes
    vector: Floats
    caption: str


@dataclass(eq=False)
class _Job:
    work: Addition | str
    future: asyncio.Future[Any]


class Writer:
    """One task that does all writing, in a thread, in the order in which it came. What has begun is finished, even
    where its caller has gone."""

    def __init__(self, library: Library, stored: Stored, limits: ImageLimits, threads: ThreadPoolExecutor) -> None:
        self._library, self._stored, self._limits, self._threads = library, stored, limits, threads
        self._waiting: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transactions = 0

    async def add(self, addition: Addition) -> tuple[Record, bool]:
        """Its record, which searches find from now on, and whether it is new. Raises ImageError or DataError."""
        found: tuple[Record, bool] = await self._do(addition)
        return found

    async def delete(self, identity: str) -> bool:
        """Whether there was such a picture. The file goes too where it came over HTTP. Raises DataError."""
        found: bool = await self._do(identity)
        return found

    async def close(self) -> None:
        """Wait for what was begun."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _do(self, work: Addition | str) -> Any:
        job = _Job(work, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await job.future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            jobs = self._take()
            try:
                results = await loop.run_in_executor(self._threads, self._call([job.work for job in jobs]))
            except Exception as error:  # noqa: BLE001 (it reaches its callers)
                _settle(jobs, [error] * len(jobs))
            else:
                _settle(jobs, results)
            self._transactions += 1
            if self._transactions % _TIDY_EVERY == 0:
                await self._tidy()

    def _take(self) -> list[_Job]:
        """A deletion, or additions as far as they follow one another; none whose caller has gone."""
        jobs: list[_Job] = []
        while self._waiting and len(jobs) < _MOST:
            job = self._waiting[0]
            if jobs and (isinstance(job.work, str) or isinstance(jobs[0].work, str)):
                break
            self._waiting.popleft()
            if not job.future.done():
                jobs.append(job)
        return jobs

    def _call(self, works: Sequence[Addition | str]) -> Callable[[], list[Any]]:
        additions = [work for work in works if isinstance(work, Addition)]
        if additions:
            return partial(self._added, additions)
        return partial(self._deleted, [work for work in works if isinstance(work, str)])

    def _added(self, additions: Sequence[Addition]) -> list[Any]:
        results: list[Any] = []
        records: dict[str, Record] = {}
        for addition in additions:
            try:
                record, created = self._record(addition, records)
            except Exception as error:  # noqa: BLE001 (of this picture alone)
                results.append(error)
                continue
            records[record.id] = record
            results.append((record, created))
        try:
            self._library.put(list(records.values()))
        except Exception:
            for record in (found[0] for found in results if isinstance(found, tuple) and found[1]):
                self._stored.forget(record.place.path)  # nothing would ever name them
            raise
        return results

    def _record(self, addition: Addition, known: dict[str, Record]) -> tuple[Record, bool]:
        place = place_of(self._stored.keep(addition.data))
        old = known.get(place.id) or self._library.get(place.id)
        if old is not None:
            return replace(old, caption=addition.caption or old.caption), False
        facts = read_facts(addition.data, self._limits)
        return Record(place, facts, addition.caption, self._library.model, addition.vector), True

    def _deleted(self, identities: Sequence[str]) -> list[Any]:
        found = []
        for identity in identities:
            record = self._library.get(identity)
            found.append(record is not None)
            if record is not None:
                self._library.delete([identity])
                if not record.place.key:
                    self._stored.forget(record.place.path)
        return found

    async def _tidy(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._library.tidy)
        except Exception:
            LOG.exception("the library was not tidied")


def _settle(jobs: Sequence[_Job], results: Sequence[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.future.done():
            continue
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def stored_beside(database: str, folder: Path | None) -> Stored | None:
    """Where added pictures are kept: in that folder, else beside a library of this machine; None beside one of object
    storage, which takes none then."""
    if folder is None and "://" in database:
        return None
    return Stored(folder or Path(f"{database.rstrip('/')}.added"))
