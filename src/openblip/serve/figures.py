"""Figures of a service as lines of CloudWatch's embedded metric format: what scaling follows and alarms look at.

CloudWatch makes metrics of such lines wherever it collects the output (on ECS the log driver awslogs does), so that the
service needs no AWS library, no right and no sidecar. Knows the counters, no request and no AWS.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TextIO

from openblip.serve.metrics import Metrics

NAMESPACE = "openblip"
_UNCOUNTED = ("/healthz", "/readyz", "/metrics")
_CACHE_FAILURES = ("skipped", "timeout", "connection", "login", "full", "error", "wrong_type")


class Level:
    """A number that goes up and down, and its mean over the time since it was last asked for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.value = 0
        self._clock = clock
        self._began = self._changed = clock()
        self._area = 0.0

    def add(self, change: int) -> None:
        """From now on it is so much more, or less."""
        self._count()
        self.value += change

    def mean(self) -> float:
        """Over the time since the last call; where none has passed, what it is now."""
        self._count()
        passed = self._changed - self._began
        mean = self._area / passed if passed > 0 else float(self.value)
        self._began, self._area = self._changed, 0.0
        return mean

    def _count(self) -> None:
        now = self._clock()
        self._area += self.value * (now - self._changed)
        self._changed = now


class Figures:
    """Lines about a service of that name. in_hand: its requests; waiting: asked for the pictures that wait."""

    def __init__(self, metrics: Metrics, in_hand: Level, waiting: Callable[[], int], name: str) -> None:
        self._metrics, self._in_hand, self._waiting, self._name = metrics, in_hand, waiting, name
        self._counted = self._counts()

    def line(self) -> str:
        """What happened since the last one."""
        counts = self._counts()
        found: dict[str, float] = {name: counts[name] - before for name, before in self._counted.items()}
        self._counted = counts
        found |= {"InFlight": round(self._in_hand.mean(), 3), "Waiting": self._waiting()}
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [["Service"]],
            "Metrics": [{"Name": name, "Unit": "Count"} for name in found],
        }
        about = {"Timestamp": round(time.time() * 1000), "CloudWatchMetrics": [directive]}
        return json.dumps({"_aws": about, "Service": self._name, **found})

    async def write(self, every_s: float, ready: Callable[[], bool], out: TextIO) -> None:
        """A line so often until cancelled, while work is taken: a task that starts or ends would lower the mean of all,
        and tasks would be taken away while they are missing."""
        while True:
            await asyncio.sleep(every_s)
            line = self.line()
            if ready():
                out.write(f"{line}\n")
                out.flush()

    def _counts(self) -> dict[str, float]:
        metrics = self._metrics.registry.get_sample_value
        cache = [metrics("openblip_cache_total", {"event": event}) for event in _CACHE_FAILURES]
        statuses = self._statuses()
        limited = metrics("openblip_rate_total", {"event": "refused"}) or 0.0
        return {
            "Requests": sum(statuses.values()),
            "Errors": sum(count for status, count in statuses.items() if status >= 500 and status != 503),
            "Refused": max(0.0, statuses.get(429, 0.0) - limited),  # for want of room, not for asking too often
            "CacheFailures": sum(filter(None, cache)),
        }

    def _statuses(self) -> dict[int, float]:
        """Requests by status, but those that ask whether the service is well."""
        found: dict[int, float] = {}
        for family in self._metrics.requests.collect():
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.labels["route"] not in _UNCOUNTED:
                    status = int(sample.labels["status"])
                    found[status] = found.get(status, 0.0) + sample.value
        return found
