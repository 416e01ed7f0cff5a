"""The processor of a task: jobs that share its cores by weight, as Linux's scheduler has them. Knows no request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import simpy

from openblip.errors import OptionError

_DONE_S = 1e-9


@dataclass(eq=False, slots=True)
class _Job:
    left_s: float
    weight: float
    width: float
    done: simpy.Event
    rate: float = 0.0


class Processor:
    """cores: of all jobs together."""

    def __init__(self, env: simpy.Environment, cores: float) -> None:
        if cores <= 0:
            raise OptionError(f"cores={cores}: give more than 0")
        self._env, self._cores = env, cores
        self._jobs: list[_Job] = []
        self._since, self._plan = env.now, 0
        self.busy_s = 0.0

    def run(self, seconds: float, weight: float = 1.0, width: float = 1.0) -> simpy.Event:
        """seconds: of one core, in all. width: how many cores it can use at once. The event comes when it is done."""
        job = _Job(max(seconds, 0.0), weight, width, self._env.event())
        self._advance()
        self._jobs.append(job)
        self._share()
        return job.done

    def stop(self) -> None:
        """All jobs are gone; their events never come."""
        self._advance()
        self._jobs.clear()
        self._share()

    @property
    def used_s(self) -> float:
        """Core seconds until now."""
        self._advance()
        return self.busy_s

    def _advance(self) -> None:
        passed = self._env.now - self._since
        self._since = self._env.now
        for job in self._jobs:
            job.left_s -= passed * job.rate
            self.busy_s += passed * job.rate

    def _share(self) -> None:
        """Give each job its cores and plan when the first of them is done."""
        left_cores, jobs = self._cores, self._jobs
        waiting = jobs
        while waiting:  # whoever cannot use all of its share leaves the rest to the others
            weights = sum(job.weight for job in waiting)
            full = [job for job in waiting if job.width <= left_cores * job.weight / weights]
            if not full:
                for job in waiting:
                    job.rate = left_cores * job.weight / weights
                break
            for job in full:
                job.rate = job.width
                left_cores -= job.width
            waiting = [job for job in waiting if job not in full]
        self._plan += 1
        if jobs:
            soonest_s = min(max(0.0, job.left_s) / job.rate for job in jobs)
            timer = self._env.timeout(soonest_s, self._plan)
            assert timer.callbacks is not None
            timer.callbacks.append(self._ended)

    def _ended(self, timer: Any) -> None:
        if timer.value != self._plan:  # somebody came or went meanwhile
            return
        self._advance()
        done = [job for job in self._jobs if job.left_s <= _DONE_S]
        self._jobs = [job for job in self._jobs if job.left_s > _DONE_S]
        for job in done:
            job.done.succeed()
        self._share()
