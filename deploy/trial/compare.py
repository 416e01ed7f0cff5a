"""The simulation beside a real run: the same tasks, the same moments at which requests came. Knows both; what the
table looks like is `report`.

All of a run shares one machine, client, balancer and Redis included. The tasks are pinned to a core each; the others
are not, and what they use of the cores is measured (`Curves.outside_s`) and simulated as work on the tasks' cores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from benchmarks.load.records import percentiles_ms
from deploy.capacity.arrivals import steady
from deploy.capacity.cluster import Care
from deploy.capacity.curves import Curves
from deploy.capacity.engine import Engine
from deploy.capacity.measure import pace
from deploy.capacity.simulation import Outcome, Scenario, run
from deploy.capacity.task import TaskSize
from deploy.trial.client import Sent
from deploy.trial.stand import Seen, Setup, Stand, standing

SHARES = (0.3, 0.5, 0.7)
OVERLOAD = 1.5
AGREES = 0.3
_LEAD_S = 5.0


def compare(setup: Setup, curves: Curves, size: TaskSize, seconds: float) -> dict[str, Any]:
    """At saturation first, whose measured rate is what the shares are of. size: of the tasks, with their settings."""
    recipe = replace(setup.recipe, settings={**setup.recipe.settings, **settings(size)})
    bounded = replace(setup, folder=Path(mkdtemp(dir=setup.folder)), recipe=recipe)
    engine = Engine(recipe.model, recipe.settings.get("OPENBLIP_PRECISION"), recipe.threads, (), setup.pictures)
    guess = setup.tasks * curves.rate(1.0, size.max_batch)
    with standing(bounded) as stand:
        stand.run(steady(0.5 * guess, 4.0))  # graphs of all batch sizes, and connections
        before = pace(engine, recipe.cores, curves.batch_s)
        saturated = Row("saturation", OVERLOAD * guess, seconds, stand)
        saturated_pace = (before + pace(engine, recipe.cores, curves.batch_s)) / 2
        capacity = saturated.measured["rate"]
        shares = [Row(f"{share:.0%}", share * capacity, seconds, stand) for share in SHARES]
    rows = [row.beside(row.pace(curves, size), curves, size) for row in shares]
    rows.append(saturated.beside(saturated_pace, curves, size))
    return {"capacity": capacity, "tasks": setup.tasks, "seconds": seconds, "rows": rows}


class Row:
    """A load that was sent, and simulations of the same one."""

    def __init__(self, load: str, rate: float, seconds: float, stand: Stand) -> None:
        self._load, self._pattern, self._tasks = load, steady(rate, seconds + _LEAD_S), stand.setup.tasks
        self._seen = stand.run(self._pattern, again=True)
        self.measured = measured(self._seen.sent, self._seen.began_s + _LEAD_S, seconds)

    def pace(self, curves: Curves, size: TaskSize) -> float:
        """How many times as long as the curves say the tasks' work took, by their CPU time: what a caption takes of it
        hardly depends on how long it waits. The speed of a virtual machine sways by a fifth within minutes, which moves
        a p99 by far more."""
        answered = sum(sent.status == 200 for sent in self._seen.sent)
        if not answered:
            raise RuntimeError(f"{self._load}: nothing was answered, so the tasks' pace cannot be told: see their logs")
        used_s = sum(used for name, used in self._seen.cpu_s.items() if name.startswith("task")) / answered
        found = 1.0
        for _ in range(3):  # batches are a little larger where work takes longer
            outcome = self._simulated(found, curves, size)
            own_s = outcome.used_core_s - outcome.asked * found * curves.outside_s
            found *= used_s / (own_s / max(1, outcome.answered()))
        return found

    def beside(self, pace: float, curves: Curves, size: TaskSize) -> dict[str, Any]:
        """What was measured and what is simulated on a machine of this pace."""
        simulated = self._simulated(pace, curves, size)
        return {
            "load": self._load, "offered": self._pattern.most, "pace": pace, "measured": self.measured,
            "cores_busy": _cores(self._seen, self._pattern.seconds), "simulated": {
                "rate": simulated.rate(_LEAD_S, self._pattern.seconds),
                "p50_ms": simulated.percentile_s(50, _LEAD_S) * 1000,
                "p99_ms": simulated.percentile_s(99, _LEAD_S) * 1000,
                "refused": simulated.share(429, begin_s=_LEAD_S),
                "pictures_a_batch": simulated.pictures_a_batch,
            },
        }  # fmt: skip

    def _simulated(self, pace: float, curves: Curves, size: TaskSize) -> Outcome:
        times = [sent.start_s - self._seen.began_s for sent in self._seen.sent]
        slower = curves.on_a_machine_of(pace)
        scenario = Scenario(self._pattern, slower, size, tasks=self._tasks, one_machine=True, care=Care(), seed=1)
        return run(scenario, times=times)


def settings(size: TaskSize) -> dict[str, str]:
    """Of tasks of this size, as variables of the service."""
    return {
        "OPENBLIP_MAX_QUEUE": str(size.max_queue),
        "OPENBLIP_MAX_BATCH": str(size.max_batch),
        "OPENBLIP_MAX_REQUESTS": str(size.max_requests),
    }


def measured(sent: list[Sent] | Any, begin_s: float, seconds: float) -> dict[str, Any]:
    """Of a window: answers that ended in it a second, times and refusals of those that were to be sent in it."""
    inside = [each for each in sent if begin_s <= each.start_s < begin_s + seconds]
    fine = [each for each in inside if each.status == 200]
    ended = [each for each in sent if each.status == 200 and begin_s <= each.end_s < begin_s + seconds]
    times = percentiles_ms([each.seconds for each in fine])
    return {
        "rate": len(ended) / seconds,
        "p50_ms": times.get("p50"),
        "p99_ms": times.get("p99"),
        "refused": sum(each.status == 429 for each in inside) / max(1, len(inside)),
        "failed": sum(each.status not in (200, 429) for each in inside),
        "p99_range_ms": _p99_range_ms([each.seconds for each in fine]),
    }


def _p99_range_ms(seconds: list[float]) -> list[float]:
    """95% interval of the p99 by the bootstrap: how far another run of this length may be off by chance."""
    if len(seconds) < 2:
        return []
    random = np.random.default_rng(0)
    drawn = random.choice(np.asarray(seconds) * 1000, (200, len(seconds)))
    found = np.percentile(np.percentile(drawn, 99, axis=1), (2.5, 97.5))
    return [round(float(value), 1) for value in found]


def _cores(seen: Seen, seconds: float) -> dict[str, float]:
    """Busy on average: of the tasks, and of all else."""
    tasks = sum(used for name, used in seen.cpu_s.items() if name.startswith("task"))
    return {"tasks": tasks / seconds, **{name: used / seconds for name, used in seen.cpu_s.items()
                                         if not name.startswith("task")}}  # fmt: skip


def off(row: dict[str, Any], figure: str) -> float | None:
    """The simulation's figure beside the measured one: 0.1 is 10% above it."""
    simulated, real = row["simulated"][figure], row["measured"][figure]
    return simulated / real - 1 if real else None


def disagreements(rows: list[dict[str, Any]]) -> list[str]:
    """What is off by more than AGREES: rate and p99 at the shares, rate and refusals at saturation."""
    found = []
    for row in rows:
        figures = ("rate", "refused") if row["load"] == "saturation" else ("rate", "p99_ms")
        for figure in figures:
            distance = off(row, figure)
            if distance is None or abs(distance) > AGREES:
                found.append(f"{row['load']}: {figure} {'-' if distance is None else format(distance, '+.0%')}")
    return found
