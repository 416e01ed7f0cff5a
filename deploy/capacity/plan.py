"""The questions that the capacity plan answers, each as scenarios: how one task behaves, which policy, what a day
costs, what a crowd does, what saturates first. Knows the settings of the stacks; draws and writes nothing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from deploy.capacity.arrivals import Pattern, Pictures, diurnal, flash, steady
from deploy.capacity.cluster import Care
from deploy.capacity.curves import Curves
from deploy.capacity.scaling import Policy
from deploy.capacity.simulation import Outcome, Scenario, run
from deploy.capacity.task import TaskSize
from deploy.settings import Settings

SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2)
TARGETS = (2.0, 4.0, 8.0)
MINIMUMS = (2, 4)
GUARDS = (0.5, 0.7, None)
"""Requests of a task that the guard allows, as a share of the uncached ones that it can do; None: it never acts."""
HIT_RATES = (0.0, 0.3, 0.6, 0.9)
SCALES = (10, 100, 1_000, 10_000, 100_000)
P99_BOUND_S = 10.0
REDIS_S = 0.03 / 491.2
"""A core's seconds of Redis for a request from the cache, as docs/load.md has it."""


@dataclass(frozen=True)
class Basis:
    """What all scenarios share. hit: share of requests about pictures that are known; quick: shorter, for a try."""

    curves: Curves
    settings: Settings
    size: TaskSize
    new: float = 0.7
    quick: bool = False

    def scenario(self, pattern: Pattern, **changes: Any) -> Scenario:
        """With the policy of the settings; the network between client and task is taken to need 20 ms."""
        care = Care(drain_s=float(self.settings.drain.longest_s))
        scaling = self.settings.scaling
        fields: dict[str, Any] = {
            "size": self.size, "care": care, "tasks": scaling.minimum, "policy": partial(Policy.of, scaling),
            "pictures": Pictures(new=self.new), "round_trip_s": 0.02,
        }  # fmt: skip
        return Scenario(pattern, self.curves, **{**fields, **changes})

    def with_scaling(self, **changes: Any) -> Basis:
        """Another policy. A schedule would hide what a minimum does, and is left out."""
        scaling = replace(self.settings.scaling, scheduled=(), **changes)
        return replace(self, settings=replace(self.settings, scaling=scaling))

    def task_rate(self) -> float:
        """Uncached captions a second that a task can do."""
        return self.curves.rate(self.size.cores, min(self.size.max_batch, self.size.max_queue))


def entry(basis: Basis, outcome: Outcome, **more: Any) -> dict[str, Any]:
    """What a scenario came to, for JSON."""
    hours = outcome.paid_s / 3600
    spent = hours * basis.settings.prices.task_hour(basis.settings.task, basis.settings.scaling.spot_share)
    answered = outcome.answered()
    return {
        **more, "title": outcome.title, "asked": outcome.asked, "answered": answered,
        "rate": outcome.rate(), "p50_s": outcome.percentile_s(50), "p99_s": outcome.percentile_s(99),
        "refused": outcome.share(429, 503), "failed": outcome.share(502, 504), "cached": outcome.cached,
        "pictures_a_batch": outcome.pictures_a_batch, "most_tasks": outcome.most_tasks(), "task_hours": hours,
        "dollars": spent, "dollars_per_1000": spent / answered * 1000 if answered else None,
    }  # fmt: skip


def timeline(outcome: Outcome, step_s: float) -> list[dict[str, float]]:
    """For a plot: means of each step."""
    rows = []
    for begin_s in (number * step_s for number in range(int(outcome.seconds_in_all // step_s))):
        end_s = begin_s + step_s
        samples = [sample for sample in outcome.samples if begin_s <= sample.time_s < end_s]
        inside = (outcome.began_s >= begin_s) & (outcome.began_s < end_s)
        rows.append({
            "time_s": begin_s, "asked": float(inside.sum()) / step_s,
            "refused": outcome.share(429, 503, 504, begin_s=begin_s, end_s=end_s),
            "p99_s": outcome.percentile_s(99, begin_s, end_s),
            "healthy": sum(each.healthy for each in samples) / max(1, len(samples)),
            "desired": sum(each.desired for each in samples) / max(1, len(samples)),
        })  # fmt: skip
    return rows


def one_task(basis: Basis) -> list[dict[str, Any]]:
    """A single task at shares of what it can do, every picture new: batches grow with the load."""
    seconds = 300.0 if basis.quick else 1800.0
    return each(partial(_steady, basis, seconds=seconds), [(share,) for share in SHARES])


def _steady(basis: Basis, share: float, seconds: float) -> dict[str, Any]:
    pattern = steady(share * basis.task_rate(), seconds)
    scenario = basis.scenario(pattern, tasks=1, policy=None, pictures=Pictures(new=1.0))
    return entry(basis, run(scenario), share=share)


def bounds(basis: Basis) -> list[dict[str, Any]]:
    """A task that is asked for half as much again as it can do: what a longer queue and larger batches give."""
    pairs = [(batch, queue) for batch in (4, 8, 16, 32) for queue in (8, 16, 32, 64)]
    return each(partial(_bounded, basis), pairs)


def _bounded(basis: Basis, max_batch: int, max_queue: int) -> dict[str, Any]:
    size = replace(basis.size, max_batch=max_batch, max_queue=max_queue)
    pattern = steady(1.5 * basis.task_rate(), 200.0 if basis.quick else 900.0)
    scenario = basis.scenario(pattern, tasks=1, policy=None, pictures=Pictures(new=1.0), size=size)
    return entry(basis, run(scenario), max_batch=max_batch, max_queue=max_queue)


def policies(basis: Basis) -> list[dict[str, Any]]:
    """A crowd of ten times within a minute, under policies."""
    guards, targets, minimums = (GUARDS[:2], TARGETS[:1], MINIMUMS[:1]) if basis.quick else (GUARDS, TARGETS, MINIMUMS)
    most = basis.settings.scaling.maximum
    possible = [minimum for minimum in minimums if minimum <= most] or [most]
    every = [(guard, target, minimum) for guard in guards for target in targets for minimum in possible]
    return each(partial(_policy, basis), every)


def crowd(basis: Basis) -> Pattern:
    """Ten times what a task does at ease, within a minute: from 0.6 of a task to six of them."""
    base = 0.6 * basis.task_rate()
    if basis.quick:
        return flash(base, at_s=120, hold_s=240, seconds=600)
    return flash(base, at_s=900, hold_s=1500, seconds=4800)


def _policy(basis: Basis, guard: float | None, target: float, minimum: int) -> dict[str, Any]:
    requests = 10**6 if guard is None else max(1, round(60 * guard * basis.task_rate()))
    changed = basis.with_scaling(target_in_flight=target, target_requests_per_minute=requests, minimum=minimum)
    found = entry(
        changed, run(changed.scenario(crowd(basis))), target=target, minimum=minimum, guard=guard, requests=requests
    )
    day = diurnal(0.2 * basis.task_rate(), 4 * basis.task_rate(), 1200.0 if basis.quick else 10_800.0)
    usual = entry(changed, run(changed.scenario(day)))
    return {**found, "usual_p99_s": usual["p99_s"], "usual_dollars_per_1000": usual["dollars_per_1000"],
            "usual_refused": usual["refused"]}  # fmt: skip


def days(basis: Basis) -> list[dict[str, Any]]:
    """The policy of the settings under three loads, with timelines."""
    return each(partial(_day, basis), [(number,) for number in range(3)])


def _day(basis: Basis, number: int) -> dict[str, Any]:
    rate, seconds = basis.task_rate(), 1200.0 if basis.quick else 86_400.0
    hot = Pictures(new=basis.new, hot=0.9, hot_from_s=120.0 if basis.quick else 900.0)
    pattern, pictures, step_s = [
        (diurnal(0.2 * rate, 4 * rate, seconds), Pictures(new=basis.new), 300.0),
        (crowd(basis), Pictures(new=basis.new), 60.0),
        (replace(crowd(basis), title="the same crowd, 9 in 10 about one picture"), hot, 60.0),
    ][number]
    outcome = run(basis.scenario(pattern, pictures=pictures))
    return {**entry(basis, outcome), "timeline": timeline(outcome, step_s)}


def internet(basis: Basis) -> list[dict[str, Any]]:
    """How much of everything so many requests a second need, by the measured curves: no simulation, arithmetic. A task
    is planned at 70% of what it can do."""
    curves, hour = basis.curves, basis.settings.prices.task_hour(basis.settings.task)
    rows = []
    for rate in SCALES:
        for hit in HIT_RATES:
            computed_s = basis.size.cores / basis.task_rate()
            cores = rate * ((1 - hit) * computed_s + hit * curves.cached_s) / 0.7
            tasks = -(-cores // basis.size.cores)
            rows.append({
                "rate": rate, "hit": hit, "tasks": int(tasks), "redis_cores": rate * REDIS_S,
                "dollars_hour": tasks * hour, "dollars_per_1000": tasks * hour / (rate * 3.6),
            })  # fmt: skip
    return rows


def choose(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The cheapest on a usual day of those that keep the usual p99 below the bound and refuse nothing then; among
    those within 2% of that price the one that refuses least of the crowd, and then the cheapest for it."""
    fit = [each for each in found if each["usual_p99_s"] <= P99_BOUND_S and each["usual_refused"] < 0.001]
    if not fit:
        raise ValueError(f"no policy keeps the usual p99 below {P99_BOUND_S:g} s: take larger tasks")
    cheapest = min(each["usual_dollars_per_1000"] for each in fit)
    near = [each for each in fit if each["usual_dollars_per_1000"] <= 1.02 * cheapest]
    return min(near, key=lambda each: (round(each["refused"], 3), each["dollars_per_1000"]))


def each(call: Callable[..., dict[str, Any]], arguments: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """A call with each of these, in as many processes as there are cores. They are not forked from this one, which
    may have threads that hold a lock at that moment."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("forkserver")) as pool:
        return list(pool.map(partial(_called, call), arguments))


def _called(call: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    return call(*arguments)
