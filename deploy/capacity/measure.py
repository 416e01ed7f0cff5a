"""What a task takes, measured on this machine: a real task behind the real balancer, and the engine alone. Knows how
the curves come about; what they are for is the simulation's.

The work around a batch is found by counting: CPU seconds of each process over a number of requests, one after the
other, less what the engine alone takes for them. So the client's share is known too.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.load.processes import sampled
from benchmarks.load.servers import counters
from deploy.capacity.arrivals import Pattern, steady
from deploy.capacity.curves import Curves
from deploy.capacity.engine import SIZES, Engine, Found, found
from deploy.trial.stand import Setup, Stand, standing
from deploy.trial.tasks import TaskProcess

_BUSY_S = 12.0
_SOME_SIZES, _SOME_S = (1, 8), 6.0
_IN_HAND = 64
_LITTLE_S = 0.2
_SPACING_S = 2.0  # so many times what a request takes alone: the next one finds the task idle


def measure(
    setup: Setup, precision: str | None, notes: dict[str, Any], *, asked: int = 120, sizes: Sequence[int] = SIZES
) -> Curves:
    """setup: of a trial; there is a task for each of its cores, or one that has them all where none are named. asked:
    so many requests in each part."""
    recipe, core = setup.recipe, setup.recipe.cores[:1]
    setup = replace(setup, tasks=max(1, len(recipe.cores)))
    engine = Engine(recipe.model, precision, recipe.threads, (), setup.pictures, sizes)
    alone = together(engine, recipe.cores)
    alone_s = alone.lone_s + alone.read_s
    lone = replace(setup, folder=Path(mkdtemp(dir=setup.folder)), tasks=1, recipe=replace(recipe, cores=core))
    with standing(replace(setup, folder=Path(mkdtemp(dir=setup.folder)))) as stand:  # all of them: they slow each other
        start_s = _start_s(stand)
        before, known_s = pace(engine, recipe.cores, alone.batch_s), _counted(stand)
        first = _spaced(stand, asked, alone_s)
        _, batches, lane_s = _counted(stand) - known_s
        swayed = (before + pace(engine, recipe.cores, alone.batch_s)) / 2
        around_s = max(0.0, lane_s / batches / swayed - alone.batch_s[1])  # of a batch, what the service does with it
        alone_s += around_s
        stand.run(_evenly(1, alone_s), hot=1.0)  # the one that is computed, and not counted
        cached = _spaced(stand, max(asked, 100), 0.01, hot=1.0)
    with standing(_bounded(lone, 1)) as stand:
        refused_s = _refused_s(stand, first["task"])
    idle_s = max(cached["task"], first["task"] / swayed - alone_s)  # at least what one from the cache takes
    busy_s = idle_s
    if alone_s < _LITTLE_S:  # else all of this is little beside the batch
        with standing(_bounded(setup, _IN_HAND)) as stand:
            before = pace(engine, recipe.cores, alone.batch_s)
            used_s, batches_s = _busy(stand, alone, around_s, refused_s)
            swayed = (before + pace(engine, recipe.cores, alone.batch_s)) / 2
        busy_s = max(cached["task"], used_s / swayed - batches_s - alone.read_s)
    outside = {name: min(first[name], cached[name]) for name in ("client", "balancer", "redis")}
    return Curves(
        model=notes.get("model", recipe.model), threads=recipe.threads, batch_s=alone.batch_s, read_s=alone.read_s,
        front_s=busy_s, cached_s=cached["task"], refused_s=refused_s, start_s=start_s,
        alone_s=idle_s, outside_s=sum(outside.values()), spread=alone.spread, around_s=around_s,
        notes={**notes, "outside": outside},
    )  # fmt: skip


def together(engine: Engine, cores: Sequence[int]) -> Found:
    """What engines find at the same time, each on a core of its own, on average: cores share caches, if not more, and
    tasks are at work beside each other. Where no cores are named, what one engine finds."""
    pinned: list[tuple[int, ...]] = [(core,) for core in cores] or [()]
    processes = [replace(engine, cores=each).start() for each in pinned]
    try:
        results = [found(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return Found(
        {size: statistics.fmean(result.batch_s[size] for result in results) for size in engine.sizes},
        results[0].spread,
        statistics.fmean(result.read_s for result in results),
        statistics.fmean(result.lone_s for result in results),
    )


def pace(engine: Engine, cores: Sequence[int], batch_s: Mapping[int, float]) -> float:
    """How many times as long as they did batches take now: the speed of a virtual machine sways by a fifth within
    minutes."""
    now = together(replace(engine, sizes=_SOME_SIZES, seconds=_SOME_S), cores)
    return statistics.fmean(seconds / batch_s[size] for size, seconds in now.batch_s.items())


def _bounded(setup: Setup, requests: int) -> Setup:
    """A task that takes so many requests at once; what it refuses, it refuses before it reads anything."""
    settings = {"OPENBLIP_MAX_REQUESTS": str(requests), "OPENBLIP_MAX_QUEUE": str(max(64, requests))}
    recipe = replace(setup.recipe, settings={**setup.recipe.settings, **settings})
    return replace(setup, folder=Path(mkdtemp(dir=setup.folder)), recipe=recipe)


def _busy(stand: Stand, alone: Found, around_s: float, refused_s: float) -> tuple[float, float]:
    """CPU seconds of a request of tasks that always have work, refusals left out, and its share of a batch. Every
    picture is new: one from the cache would be counted as if it had been computed."""
    threads = stand.recipe.threads
    known = Curves("", threads, alone.batch_s, alone.read_s, 0.0, 0.0, 0.0, 0.0, around_s=around_s)
    rate, fresh = stand.setup.tasks * 1.6 * known.rate(threads, 8), len(list(stand.setup.pictures.glob("*.jpg")))
    before = _counted(stand)
    seen = stand.run(steady(rate, min(_BUSY_S, 0.8 * fresh / rate)))
    pictures, batches, _ = _counted(stand) - before
    refused = sum(sent.status == 429 for sent in seen.sent)
    used_s = sum(used for name, used in seen.cpu_s.items() if name.startswith("task"))
    return (used_s - refused * refused_s) / pictures, known.work(pictures / batches) * batches / pictures


def _counted(stand: Stand) -> NDArray[np.float64]:
    """Pictures, batches and the seconds of these, of all tasks until now."""
    each = [counters(f"http://127.0.0.1:{managed.task.port}") for managed in stand.controller.serving()]
    names = [f"openblip_batch_{name}{{}}" for name in ("pictures_sum", "pictures_count", "seconds_sum")]
    return np.array([sum(found.get(name, 0.0) for found in each) for name in names])


def _start_s(stand: Stand) -> float:
    """Of a process until it is ready: the middle of three."""
    times = []
    for number in range(3):
        began = time.monotonic()
        task = TaskProcess(stand.recipe, number, stand.setup.folder / f"start-{number}.log")
        try:
            while not task.is_ready():
                if task.exit_code() is not None or time.monotonic() - began > 120:
                    raise RuntimeError(f"a task does not start: see {task.log}")
                time.sleep(0.02)
            times.append(time.monotonic() - began)
        finally:
            task.kill()
    return statistics.median(times)


def _spaced(stand: Stand, asked: int, alone_s: float, hot: float = 0.0) -> dict[str, float]:
    """CPU seconds of a request, by process; each finds the task idle, so that it is a batch of its own. hot: all are
    to come from the cache, which holds what it held."""
    seen = stand.run(_evenly(asked, alone_s, stand.setup.tasks), hot=hot, keep=bool(hot))
    answered = [sent for sent in seen.sent if sent.status == 200 and (sent.cached or not hot)]
    if len(answered) < 0.98 * asked:
        where = " from the cache" if hot else ""
        raise RuntimeError(f"only {len(answered)} of {asked} requests were answered{where}: see the logs of the tasks")
    each = {name: used / len(answered) for name, used in seen.cpu_s.items()}
    return {
        "task": sum(used for name, used in each.items() if name.startswith("task")),
        "redis": sum(used for name, used in each.items() if name.startswith("redis")),
        "balancer": each["balancer"],
        "client": each["client"],
    }


def _evenly(asked: int, alone_s: float, tasks: int = 1) -> Pattern:
    step_s = max(0.02, alone_s * _SPACING_S / tasks)
    return _Even("one after the other", asked * step_s, lambda now: 1 / step_s, 1 / step_s)


class _Even(Pattern):
    """The same time between all requests."""

    def times(self, random: Any) -> Any:
        return (number / self.most for number in range(round(self.seconds * self.most)))


def _refused_s(stand: Stand, answered_s: float) -> float:
    """CPU seconds of a refusal: several clients at a task that has room for one request, and counting."""
    import urllib.error
    import urllib.request

    from benchmarks.load.mix import CONTENT_TYPE, form

    files = sorted(stand.setup.pictures.glob("*.jpg"))
    counts, lock, ended = {200: 0, 429: 0}, threading.Lock(), time.monotonic() + 5.0
    [managed] = stand.controller.serving()

    def ask(client: int) -> None:
        number = client
        while time.monotonic() < ended:
            body = form([files[number % len(files)].read_bytes()])
            number += 8
            request = urllib.request.Request(stand.balancer.url + "/v1/caption", body, {"content-type": CONTENT_TYPE})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
            with lock:
                counts[status] = counts.get(status, 0) + 1

    before = sampled(psutil.Process(managed.task.pid)).cpu_s
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    used_s = sampled(psutil.Process(managed.task.pid)).cpu_s - before
    if not counts[429]:
        raise RuntimeError(f"nothing was refused ({counts}): the task answers too fast for eight clients")
    return max(0.0, (used_s - counts[200] * answered_s) / counts[429])
