"""Waiting work -> batches -> results, each to its own caller. Knows asyncio; does not know pictures, models or HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Generic, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")
Other = TypeVar("Other")


class Refused(Exception):
    """Work that is not taken. retry_after_s: when to come back."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too much work is waiting")
        self.retry_after_s = retry_after_s


class Closed(Exception):
    """The batcher takes no work any more."""


@dataclass(eq=False)
class _Job(Generic[Work, Result]):
    work: Work
    key: Hashable
    rows: int
    future: asyncio.Future[tuple[Result, float]]
    added: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """What became of a piece of work. queue_s: how long it waited; batch: with how many it was done."""

    result: Result
    queue_s: float


class Batcher(Generic[Work, Result]):
    """Groups what waits: as soon as the one thread that computes is free, it takes the oldest work and, in their order,
    all that has the same key, as far as `max_batch` and `max_rows` go. It never waits for more to come.

    compute: a batch to its results, called in `thread`, which other batchers may share. Where it raises, every piece is
    computed alone, so that one that cannot be done harms only itself. seen: told the size of each batch and its
    seconds.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Work]], Sequence[Result]],
        *,
        thread: ThreadPoolExecutor,
        max_queue: int,
        max_batch: int,
        max_rows: int = 128,
        seen: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._compute, self._seen = compute, seen
        self._max_queue, self.max_batch, self._max_rows = max_queue, max_batch, max_rows
        self._thread = thread
        self._waiting: deque[_Job[Work, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._seconds_each, self._closed, self._in_hand = 0.0, False, 0

    @property
    def waiting(self) -> int:
        """Pieces of work that nobody has taken up yet."""
        return len(self._waiting)

    @property
    def in_hand(self) -> int:
        """Pieces of work that are being computed."""
        return self._in_hand

    async def submit(self, work: Work, key: Hashable, rows: int = 1) -> Done[Result]:
        """Have it computed with others of its key. rows: what it takes of a decode.

        A caller that is cancelled frees its place. Raises Refused where too much waits, Closed after `close`, and
        whatever computing this piece raised.
        """
        self.admit()
        job = _Job[Work, Result](work, key, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            result, started = await job.future
        except asyncio.CancelledError:
            job.future.cancel()
            if job in self._waiting:
                self._waiting.remove(job)
            raise
        return Done(result, started - job.added)

    def admit(self) -> None:
        """Raise Refused where too much waits, Closed after `close`."""
        if self._closed:
            raise Closed
        if len(self._waiting) >= self._max_queue:
            raise Refused(self.retry_after_s())

    def retry_after_s(self) -> int:
        """How long what waits and what is in hand will take, by what the last batches took; at least a second."""
        return max(1, ceil((len(self._waiting) + self._in_hand) * self._seconds_each))

    async def run(self, call: Callable[[], Other]) -> Other:
        """Something else in the thread that computes, between two batches. Raises Closed, and what the call raises."""
        if self._closed:
            raise Closed
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def later(self, call: Callable[[], None]) -> None:
        """Have something done in the thread that computes, without waiting for it."""
        with suppress(RuntimeError):  # the thread has ended with all that it held
            self._thread.submit(call)

    async def close(self, within_s: float) -> bool:
        """Take no more work and finish what there is. Returns whether all of it was finished in time; what was not ends
        with Closed."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            await asyncio.wait([worker], timeout=within_s)
        finished = worker is None or worker.done()
        for job in self._waiting:
            if not job.future.done():
                job.future.set_exception(Closed())
        self._waiting.clear()
        return finished

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                jobs = self._take()
                if not jobs:
                    continue
                self._in_hand, started = len(jobs), time.monotonic()
                results = await loop.run_in_executor(self._thread, self._outcomes, [job.work for job in jobs])
                seconds = time.monotonic() - started
                each = seconds / len(jobs)
                self._seconds_each = each if not self._seconds_each else 0.8 * self._seconds_each + 0.2 * each
                self._in_hand = 0
                self._seen(len(jobs), seconds)
                for job, result in zip(jobs, results, strict=True):
                    if job.future.done():
                        continue
                    if isinstance(result, BaseException):
                        job.future.set_exception(result)
                    else:
                        job.future.set_result((result, started))
        finally:
            self._worker, self._in_hand = None, 0

    def _take(self) -> list[_Job[Work, Result]]:
        """The oldest, and what goes with it; the others keep their order."""
        jobs: list[_Job[Work, Result]] = []
        left: deque[_Job[Work, Result]] = deque()
        rows = 0
        for job in self._waiting:
            if job.future.done():  # its caller has gone
                continue
            rows_with = max(rows, job.rows)
            fits = len(jobs) < self.max_batch and rows_with * (len(jobs) + 1) <= self._max_rows
            if not jobs or (job.key == jobs[0].key and fits):
                jobs.append(job)
                rows = rows_with
            else:
                left.append(job)
        self._waiting = left
        return jobs

    def _outcomes(self, batch: list[Work]) -> Sequence[Result | BaseException]:
        try:
            return list(self._compute(batch))
        except Exception as error:  # noqa: BLE001 (it reaches its caller)
            if len(batch) == 1:
                return [error]
            return [outcome for work in batch for outcome in self._outcomes([work])]
