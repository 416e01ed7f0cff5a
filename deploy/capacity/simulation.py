"""A load, tasks and a policy, played through: what became of every request, how many tasks there were, what they cost.
Knows no prices and no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import simpy

from deploy.capacity.arrivals import Pattern, Pictures
from deploy.capacity.cluster import Care, Cluster, Happening
from deploy.capacity.curves import Curves
from deploy.capacity.results import Results
from deploy.capacity.scaling import IN_FLIGHT, REQUESTS, Policy
from deploy.capacity.task import Task, TaskSize

_SAMPLE_S = 5.0


@dataclass(frozen=True)
class Scenario:
    """tasks: at the begin; policy: None keeps that number. one_machine: client, balancer and Redis run on
    the tasks' cores too. events: what happens when, beside the load. round_trip_s: of
    the network between client and task. begins_s: the time of the day at which it begins, for scheduled minimums."""

    pattern: Pattern
    curves: Curves
    size: TaskSize = field(default_factory=TaskSize)
    pictures: Pictures = field(default_factory=Pictures)
    care: Care = field(default_factory=Care)
    tasks: int = 2
    policy: Callable[[], Policy] | None = None
    one_machine: bool = False
    round_trip_s: float = 0.0
    begins_s: float = 0.0
    events: Sequence[tuple[float, Callable[[Cluster], object]]] = ()
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One moment. in_flight: of each healthy task on average."""

    time_s: float
    desired: int
    healthy: int
    starting: int
    in_flight: float


@dataclass
class Outcome:
    """began_s, seconds, status: of every request that was answered; asked: of all that came. paid_s: of tasks."""

    title: str
    seconds_in_all: float
    began_s: np.ndarray
    seconds: np.ndarray
    status: np.ndarray
    asked: int
    samples: list[Sample]
    paid_s: float
    used_core_s: float
    pictures_a_batch: float
    cached: float
    in_hand_at_end: int

    def rate(self, begin_s: float = 0.0, end_s: float | None = None) -> float:
        """Answers with a result a second, of those that ended in the window."""
        end_s = self.seconds_in_all if end_s is None else end_s
        ended = self.began_s + self.seconds
        return float(np.sum((self.status == 200) & (ended >= begin_s) & (ended < end_s))) / (end_s - begin_s)

    def percentile_s(self, percent: float, begin_s: float = 0.0, end_s: float = float("inf")) -> float:
        """Of the answers with a result that began in the window; nan where there was none."""
        times = self.seconds[(self.status == 200) & (self.began_s >= begin_s) & (self.began_s < end_s)]
        return float(np.percentile(times, percent, method="inverted_cdf")) if len(times) else float("nan")

    def share(self, *statuses: int, begin_s: float = 0.0, end_s: float = float("inf")) -> float:
        """Of all requests that began in the window and were answered, those with one of these."""
        inside = (self.began_s >= begin_s) & (self.began_s < end_s)
        return float(np.isin(self.status[inside], statuses).mean()) if inside.any() else 0.0

    def answered(self) -> int:
        """With a result."""
        return int((self.status == 200).sum())

    def most_tasks(self) -> int:
        """Healthy at the same time."""
        return max((sample.healthy for sample in self.samples), default=0)


@dataclass
class _Run:
    scenario: Scenario
    env: simpy.Environment = field(default_factory=simpy.Environment)
    found: list[tuple[float, float, int]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self.results = Results()
        self.tasks: list[Task] = []
        self.cluster = Cluster(self.env, self.make, self.scenario.curves.start_s, self.scenario.care)

    def make(self) -> Task:
        scenario = self.scenario
        task = Task(
            self.env, scenario.curves, scenario.size, self.results,
            outside=scenario.one_machine, random=Random(f"{scenario.seed} {len(self.tasks)}"),
        )  # fmt: skip
        self.tasks.append(task)
        return task

    def arrivals(self, times: Iterable[float], picture: Callable[[float], int]) -> Happening:
        for time_s in times:
            if time_s > self.env.now:
                yield self.env.timeout(time_s - self.env.now)
            self.send(time_s, picture(time_s))

    def send(self, time_s: float, picture: int) -> None:
        self.asked += 1
        answer = self.cluster.ask(picture)

        callbacks: list[Callable[[simpy.Event], None]] | None = answer.callbacks

        def came(event: simpy.Event) -> None:
            status: Any = event.value
            self.found.append((time_s, self.env.now - time_s + self.scenario.round_trip_s, status))

        if callbacks is None:
            came(answer)
        else:
            callbacks.append(came)

    def watch(self, policy: Policy | None) -> Happening:
        """Samples, and what the policy makes of their means."""
        period_s = policy.period_s if policy else 60.0
        every_s = min(_SAMPLE_S, period_s)
        flights: list[float] = []
        since_s, asked_before = 0.0, 0
        while True:
            yield self.env.timeout(every_s)
            healthy = self.cluster.of("healthy")
            in_flight = sum(len(member.task.in_hand) for member in healthy) / max(1, len(healthy))
            flights.append(in_flight)
            starting = len(self.cluster.of("starting"))
            self.samples.append(Sample(self.env.now, self.cluster.desired, len(healthy), starting, in_flight))
            if policy is not None and self.env.now - since_s >= period_s - 1e-6:
                minute = (self.asked - asked_before) * 60 / (self.env.now - since_s) / max(1, len(healthy))
                metrics = {IN_FLIGHT: sum(flights) / len(flights), REQUESTS: minute}
                wanted = policy.wanted(self.scenario.begins_s + self.env.now, self.cluster.desired, metrics)
                if wanted != self.cluster.desired:
                    self.cluster.want(wanted)
                flights, since_s, asked_before = [], self.env.now, self.asked

    def event(self, at_s: float, action: Callable[[Cluster], object]) -> Happening:
        yield self.env.timeout(at_s)
        action(self.cluster)


def run(scenario: Scenario, times: Iterable[float] | None = None) -> Outcome:
    """times: of the requests, where they were measured rather than drawn from the pattern. Then it goes on until all
    are answered, as the run did that they are from."""
    running, random = _Run(scenario), Random(scenario.seed)
    running.cluster.start(scenario.tasks)
    drawn = scenario.pattern.times(random) if times is None else times
    running.env.process(running.arrivals(drawn, scenario.pictures.draw(Random(scenario.seed + 1))))
    running.env.process(running.watch(scenario.policy() if scenario.policy else None))
    for at_s, action in scenario.events:
        running.env.process(running.event(at_s, action))
    running.env.run(until=scenario.pattern.seconds + (0.0 if times is None else scenario.size.timeout_s))
    return _outcome(running)


def _outcome(running: _Run) -> Outcome:
    began, seconds, status = (np.array(column) for column in zip(*running.found, strict=True)) if running.found else (
        np.empty(0), np.empty(0), np.empty(0, int)
    )  # fmt: skip
    batches = [size for task in running.tasks for size in task.batches]
    looked = running.results.found + running.results.joined + running.results.missed
    return Outcome(
        title=running.scenario.pattern.title,
        seconds_in_all=running.scenario.pattern.seconds,
        began_s=began,
        seconds=seconds,
        status=status,
        asked=running.asked,
        samples=running.samples,
        paid_s=running.cluster.paid_s(),
        used_core_s=sum(task.processor.used_s for task in running.tasks),
        pictures_a_batch=float(np.mean(batches)) if batches else 0.0,
        cached=(running.results.found + running.results.joined) / max(1, looked),
        in_hand_at_end=sum(len(task.in_hand) + len(task.turned_away) for task in running.tasks),
    )
