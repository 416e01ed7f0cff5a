"""Waiting work -> batches -> results, each to its own caller. Knows asyncio; does not know pictures, models or HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
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
    """Groups what waits: as soon as nothing is computed, the oldest work is taken and, in their order, all that has the
    same key, as far as `max_batch` and `max_rows` go. That never waits for more to come. Where `lanes` is above 1, as
    many batches may be computed at the same time; those beside the first begin when `max_batch` pieces wait, as small
    ones side by side take longer than the same in a larger one.

    compute: a batch to its results, called in `threads`, which other batchers may share. Where it raises, every piece
    is computed alone, so that one that cannot be done harms only itself. seen: told the size of each batch and its
    seconds.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Work]], Sequence[Result]],
        *,
        threads: ThreadPoolExecutor,
        max_queue: int,
        max_batch: int,
        max_rows: int = 128,
        lanes: int = 1,
        seen: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._compute, self._seen = compute, seen
        self._max_queue, self.max_batch, self._max_rows = max_queue, max_batch, max_rows
        self._threads = threads
        self._waiting: deque[_Job[Work, Result]] = deque()
        self.lanes, self._at_work = lanes, set[asyncio.Task[None]]()
        self._seconds_each, self._closed, self._in_hand, self._held = 0.0, False, 0, 0

    @property
    def waiting(self) -> int:
        """Pieces of work that nobody has taken up yet, those with a held place included."""
        return len(self._waiting) + self._held

    @property
    def in_hand(self) -> int:
        """Pieces of work that are being computed."""
        return self._in_hand

    async def submit(self, work: Work, key: Hashable, rows: int = 1) -> Done[Result]:
        """Have it computed with others of its key. rows: what it takes of a decode.

        A caller that is cancelled frees its place. Raises Refused where too much waits, places that are held for others
        aside, Closed after `close`, and whatever computing this piece raised.
        """
        self._admit(len(self._waiting))
        job = _Job[Work, Result](work, key, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if len(self._at_work) < self.lanes and self._enough(len(self._at_work)):
            self._at_work.add(asyncio.create_task(self._work()))
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
        self._admit(self.waiting)

    def _admit(self, waiting: int) -> None:
        if self._closed:
            raise Closed
        if waiting >= self._max_queue:
            raise Refused(self.retry_after_s())

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place for work that is made ready, so that none is made ready in vain. Raises as `admit`."""
        self.admit()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def retry_after_s(self) -> int:
        """How long what waits and what is in hand will take, by what the last batches took; at least a second."""
        return max(1, ceil((self.waiting + self._in_hand) * self._seconds_each))

    async def run(self, call: Callable[[], Other]) -> Other:
        """Something else in a thread that computes, beside or between batches. Raises Closed, and what it raises."""
        if self._closed:
            raise Closed
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def later(self, call: Callable[[], None]) -> None:
        """Have something done in a thread that computes, without waiting for it."""
        with suppress(RuntimeError):  # the thread has ended with all that it held
            self._threads.submit(call)

    async def close(self, within_s: float) -> bool:
        """Take no more work and finish what there is. Returns whether all of it was finished in time; what was not ends
        with Closed."""
        self._closed = True
        if self._at_work:
            await asyncio.wait(list(self._at_work), timeout=within_s)
        finished = not self._at_work
        for job in self._waiting:
            if not job.future.done():
                job.future.set_exception(Closed())
        self._waiting.clear()
        return finished

    async def _work(self) -> None:
        """Batch after batch while there is work."""
        try:
            while self._enough(len(self._at_work) - 1):
                if jobs := self._take():
                    await self._do(jobs)
        finally:  # not in a callback, which runs later: work that comes before it would find no lane
            self._at_work.discard(asyncio.current_task())

    def _enough(self, others: int) -> bool:
        """Whether a batch should begin now, beside so many others."""
        return len(self._waiting) >= (self.max_batch if others else 1)

    async def _do(self, jobs: list[_Job[Work, Result]]) -> None:
        started = time.monotonic()
        self._in_hand += len(jobs)
        try:
            outcomes = partial(self._outcomes, [job.work for job in jobs])
            results = await asyncio.get_running_loop().run_in_executor(self._threads, outcomes)
        finally:
            self._in_hand -= len(jobs)
        self._note(len(jobs), time.monotonic() - started)
        for job, result in zip(jobs, results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, BaseException):
                job.future.set_exception(result)
            else:
                job.future.set_result((result, started))

    def _note(self, size: int, seconds: float) -> None:
        """Remember what a piece takes, as long as so many batches are computed side by side."""
        each = seconds / size / max(1, len(self._at_work))
        self._seconds_each = each if not self._seconds_each else 0.8 * self._seconds_each + 0.2 * each
        self._seen(size, seconds)

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
