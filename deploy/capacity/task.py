"""One service task: its event loop, readers, queue and batches, as `openblip serve` has them. Knows the curves and a
processor; does not know who sends and how many tasks there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

import simpy

from deploy.capacity.curves import Curves
from deploy.capacity.processor import Processor
from deploy.capacity.results import Results

_READER_WEIGHT = 335 / 1024  # of a thread with nice 5, beside 1 (sched_prio_to_weight of Linux)


@dataclass(frozen=True)
class TaskSize:
    """cores: of the task; readers: its threads that decode. The others are settings of the service by these names."""

    cores: float = 1.0
    readers: int = 2
    max_batch: int = 32
    max_queue: int = 64
    max_requests: int = 512
    timeout_s: float = 30.0


@dataclass(eq=False, slots=True)
class Asked:
    """One request in a task. picture: what it asks about; answer: comes with its status; front_s: what it takes
    beside reading and computing, once it is not found."""

    picture: int
    began_s: float
    answer: simpy.Event
    front_s: float = 0.0
    waits_since_s: float = field(default=0.0)

    def reply(self, status: int) -> None:
        """The first one counts."""
        if not self.answer.triggered:
            self.answer.succeed(status)


class Task:
    """outside: whether the work of client, balancer and Redis is done on this task's cores too (all on one machine).
    random: draws how long each batch takes."""

    def __init__(
        self,
        env: simpy.Environment,
        curves: Curves,
        size: TaskSize,
        results: Results,
        *,
        outside: bool = False,
        random: Random | None = None,
    ) -> None:
        self.env, self.curves, self.size, self._results = env, curves, size, results
        self.processor = Processor(env, size.cores)
        self._outside = outside
        self._random = random or Random(0)
        # In the order of their coming, so that the same load has the same outcome: a dictionary, not a set.
        self.in_hand, self.turned_away = dict[Asked, None](), dict[Asked, None]()
        self.taking, self.dead = True, False
        self.slow = 1.0
        self.batches: list[int] = []
        self._loop: deque[tuple[float, Callable[[], None]]] = deque()
        self._loop_busy, self._computing = False, False
        self._to_read: deque[Asked] = deque()
        self._reading = 0
        self._waiting: deque[Asked] = deque()

    @property
    def waiting(self) -> int:
        """Pictures that wait for the engine."""
        return len(self._waiting)

    def ask(self, picture: int) -> simpy.Event:
        """The event comes with the status: 200, 429, 503, 504, or 502 where the task died meanwhile."""
        asked = Asked(picture, self.env.now, self.env.event())
        if self.dead or not self.taking:
            asked.reply(502 if self.dead else 503)
            return asked.answer
        if len(self.in_hand) >= self.size.max_requests:
            self._hold(self.turned_away, asked)
            self._in_loop(self.curves.refused_s, lambda: asked.reply(429))
            return asked.answer
        self._hold(self.in_hand, asked)
        if self._outside:
            self._when(self._run(self.curves.outside_s / 2), lambda: self._arrived(asked))
        else:
            self._arrived(asked)
        return asked.answer

    def kill(self) -> None:
        """What it has in hand is answered by the balancer, which sees the connection break."""
        self.dead = True
        self.processor.stop()
        for asked in [*self.in_hand, *self.turned_away]:
            self._results.fail(asked.picture)  # its lock ends: who waits for it computes
            asked.reply(502)

    def _hold(self, among: dict[Asked, None], asked: Asked) -> None:
        """Until it is answered."""
        among[asked] = None
        self._when(asked.answer, lambda: among.pop(asked, None))

    def _arrived(self, asked: Asked) -> None:
        alone_s = self.curves.alone_s if len(self.in_hand) == 1 else 0.0
        asked.front_s = max(0.0, (alone_s or self.curves.front_s) - self.curves.cached_s)
        self._in_loop(self.curves.cached_s, lambda: self._looked_up(asked))

    def _looked_up(self, asked: Asked) -> None:
        found = self._results.find(asked.picture)
        if found is True:
            self._finish(asked, 0.0)
        elif found is False:
            self._results.begin(asked.picture, self.env.event())
            self._to_be_read(asked)
        else:  # another request computes it
            self._when(found, lambda: self._finish(asked, 0.0) if self._results.find(asked.picture) is True
                       else self._looked_up(asked))  # fmt: skip

    def _to_be_read(self, asked: Asked) -> None:
        if len(self._to_read) + self._reading + len(self._waiting) >= self.size.max_queue:
            self._refuse(asked)
            return
        self._to_read.append(asked)
        self._read()

    def _read(self) -> None:
        while self._to_read and self._reading < self.size.readers:
            self._reading += 1
            asked = self._to_read.popleft()
            read = self._run(self.curves.read_s, _READER_WEIGHT)
            self._when(read, partial(self._in_loop, 0.0, partial(self._has_read, asked)))

    def _has_read(self, asked: Asked) -> None:
        self._reading -= 1
        self._read()
        if len(self._waiting) >= self.size.max_queue:
            self._refuse(asked)
            return
        asked.waits_since_s = self.env.now
        self._waiting.append(asked)
        self._compute()

    def _refuse(self, asked: Asked) -> None:
        self._results.fail(asked.picture)
        asked.reply(429)

    def _compute(self) -> None:
        """The next batch, if none is computed: all that waits, as far as it goes."""
        if self._computing:
            return
        batch: list[Asked] = []
        while self._waiting and len(batch) < self.size.max_batch:
            asked = self._waiting.popleft()
            if self.env.now - asked.began_s > self.size.timeout_s:
                self._results.fail(asked.picture)
                asked.reply(504)
            else:
                batch.append(asked)
        if batch:
            self._computing = True
            self.batches.append(len(batch))
            threads = self.curves.threads
            work_s = self.curves.drawn_work(len(batch), self._random)
            computed = self._run(work_s, threads, threads)
            self._when(computed, partial(self._in_loop, 0.0, partial(self._computed, batch)))

    def _computed(self, batch: list[Asked]) -> None:
        self._computing = False
        self._compute()
        for asked in batch:
            self._results.store(asked.picture)
            self._finish(asked, asked.front_s)

    def _finish(self, asked: Asked, seconds: float) -> None:
        self._in_loop(seconds, lambda: self._send(asked))

    def _send(self, asked: Asked) -> None:
        late = self.env.now - asked.began_s > self.size.timeout_s
        if self._outside:
            self._when(self._run(self.curves.outside_s / 2), lambda: asked.reply(504 if late else 200))
        else:
            asked.reply(504 if late else 200)

    def _in_loop(self, seconds: float, then: Callable[[], None]) -> None:
        """The event loop does one thing at a time."""
        self._loop.append((seconds, then))
        if not self._loop_busy:
            self._turn()

    def _turn(self) -> None:
        self._loop_busy = bool(self._loop)
        if self._loop_busy:
            seconds, then = self._loop.popleft()
            self._when(self._run(seconds), lambda: self._turned(then))

    def _turned(self, then: Callable[[], None]) -> None:
        then()
        self._turn()

    def _run(self, seconds: float, weight: float = 1.0, width: float = 1.0) -> simpy.Event:
        return self.processor.run(seconds * self.slow, weight, width)

    @staticmethod
    def _when(event: simpy.Event, then: Callable[[], None]) -> None:
        assert event.callbacks is not None
        event.callbacks.append(lambda _: then())
