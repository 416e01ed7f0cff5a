"""Keeps so many tasks as are wanted, as ECS does: starts, checks, registers, drains, stops and replaces them. Knows
processes and the balancer; how many are wanted it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deploy.trial.balancer import SLOTS, Balancer
from deploy.trial.tasks import Recipe, TaskProcess
from openblip.errors import OpenBlipError

State = Literal["starting", "serving", "draining", "stopping", "gone"]
_TURN_S = 0.1


@dataclass(frozen=True)
class Rules:
    """As ECS's service and target group are set. start_s: until a task that is not ready is given up; deregister_s: at
    most, for what a task has in hand when it gets no more; stop_s: from SIGTERM to SIGKILL; unhealthy_s: so long after
    its checks went bad a task that still runs is replaced."""

    start_s: float = 120.0
    deregister_s: float = 30.0
    stop_s: float = 30.0
    unhealthy_s: float = 2.0


@dataclass(eq=False)
class Managed:
    """A task and what is known of it. slot: of the balancer."""

    task: TaskProcess
    slot: int
    generation: int
    state: State = "starting"
    since_s: float = field(default_factory=time.monotonic)
    bad_since_s: float | None = None

    def enter(self, state: State) -> None:
        """From now on."""
        self.state, self.since_s = state, time.monotonic()


@dataclass(frozen=True)
class Event:
    """time_s: Unix time; what happened to which task."""

    time_s: float
    what: str
    task: int


class Controller:
    """A thread that looks at its tasks ten times a second."""

    def __init__(self, balancer: Balancer, recipe: Recipe, rules: Rules, folder: Path) -> None:
        self._balancer, self._recipe, self._rules, self._folder = balancer, recipe, rules, folder
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._generation, self._number, self._desired = 0, 0, 0
        self.tasks: list[Managed] = []
        self.events: list[Event] = []
        self.failure: BaseException | None = None

    def want(self, tasks: int) -> None:
        """So many of the newest generation from now on."""
        with self._lock:
            self._desired = tasks

    def deploy(self) -> None:
        """Replace all: new ones first, old ones go when as many new ones serve (100% at least, 200% at most)."""
        with self._lock:
            self._generation += 1
            self._note("deployment begins", -1)

    def serving(self) -> list[Managed]:
        """Those that get work, the oldest first."""
        with self._lock:
            return [managed for managed in self.tasks if managed.state == "serving"]

    def settled(self) -> bool:
        """Whether there are just as many as wanted, all of the newest generation."""
        with self._lock:
            now = [managed for managed in self.tasks if managed.state != "gone"]
            new = [managed for managed in now if managed.state == "serving" and managed.generation == self._generation]
            return len(new) == len(now) == self._desired

    def wait_settled(self, limit_s: float) -> float:
        """Until it is; returns the seconds. Raises RuntimeError where it takes longer, or a task cannot start."""
        return self.wait(self.settled, limit_s, "the tasks did not settle")

    def wait(self, done: Callable[[], bool], limit_s: float, failed: str) -> float:
        """Until it is true. Raises RuntimeError where that takes longer."""
        began = time.monotonic()
        while not done():
            self.check()
            if time.monotonic() - began > limit_s:
                states = ", ".join(f"{managed.task.number} {managed.state}" for managed in self.tasks)
                raise RuntimeError(f"{failed} within {limit_s:g} s: {states}")
            time.sleep(0.05)
        return time.monotonic() - began

    def check(self) -> None:
        """Raises RuntimeError where it has ended by itself: since then nothing is replaced."""
        if self.failure is not None:
            raise RuntimeError(f"the controller ended: {self.failure}") from self.failure

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Stop the thread and all tasks, without a farewell."""
        self._ended.set()
        self._thread.join()
        for managed in self.tasks:
            managed.task.resume()
            managed.task.kill()

    def _run(self) -> None:
        try:
            while not self._ended.wait(_TURN_S):
                with self._lock:
                    for managed in self.tasks:
                        self._look(managed)
                    self._even_out()
        except (OpenBlipError, OSError, RuntimeError, ValueError) as error:
            self.failure = error

    def _look(self, managed: Managed) -> None:
        if managed.state == "gone":
            return
        code = managed.task.exit_code()
        if code is not None:
            self._gone(managed, f"ended with {code}")
            return
        waited_s = time.monotonic() - managed.since_s
        if managed.state == "starting":
            if managed.task.is_ready():
                self._balancer.give_work(managed.slot, managed.task.port)
                self._enter(managed, "serving")
            elif waited_s > self._rules.start_s:
                tail = managed.task.log.read_text(encoding="utf-8", errors="replace")[-1000:]
                raise RuntimeError(f"task {managed.task.number} was not ready in {self._rules.start_s:g} s:\n{tail}")
        elif managed.state == "serving":
            self._check(managed)
        elif managed.state == "draining":
            if not self._balancer.in_flight(managed.slot) or waited_s > self._rules.deregister_s:
                managed.task.terminate()
                self._enter(managed, "stopping")
        elif waited_s > self._rules.stop_s:
            managed.task.kill()

    def _check(self, managed: Managed) -> None:
        """A task whose checks stay bad is replaced although it runs."""
        if self._balancer.is_up(managed.slot):
            managed.bad_since_s = None
            return
        now = time.monotonic()
        managed.bad_since_s = managed.bad_since_s or now
        if now - managed.bad_since_s > self._rules.unhealthy_s:
            managed.task.kill()
            self._gone(managed, "unhealthy, killed")

    def _even_out(self) -> None:
        """Start what is missing, drain what is too much."""
        new = [each for each in self._in("starting", "serving") if each.generation == self._generation]
        old = [each for each in self._in("starting", "serving") if each.generation < self._generation]
        for _ in range(self._desired - len(new)):
            self._start()
        ready = sum(each.state == "serving" for each in new)
        surplus = old if ready >= self._desired else []
        for managed in [*surplus, *new[self._desired :][::-1]]:
            if managed.state == "serving":
                self._balancer.drain(managed.slot)
                self._enter(managed, "draining")
            else:
                managed.task.terminate()
                self._enter(managed, "stopping")

    def _start(self) -> None:
        taken = {managed.slot for managed in self.tasks if managed.state != "gone"}
        free = [slot for slot in range(1, SLOTS + 1) if slot not in taken]
        if not free:
            return  # ECS waits for room too
        task = TaskProcess(self._recipe, self._number, self._folder / f"task-{self._number}.log")
        self._number += 1
        self.tasks.append(Managed(task, free[0], self._generation))
        self._note("starting", task.number)

    def _gone(self, managed: Managed, why: str) -> None:
        with suppress(OSError):
            self._balancer.forget(managed.slot)
        managed.enter("gone")
        self._note(why, managed.task.number)

    def _enter(self, managed: Managed, state: State) -> None:
        managed.enter(state)
        self._note(state, managed.task.number)

    def _in(self, *states: State) -> list[Managed]:
        return [managed for managed in self.tasks if managed.state in states]

    def _note(self, what: str, task: int) -> None:
        self.events.append(Event(time.time(), what, task))


@contextmanager
def controlling(balancer: Balancer, recipe: Recipe, rules: Rules, folder: Path) -> Iterator[Controller]:
    """A controller that wants no task yet; all of its tasks are gone behind the block."""
    controller = Controller(balancer, recipe, rules, folder)
    controller.begin()
    try:
        yield controller
    finally:
        controller.end()
