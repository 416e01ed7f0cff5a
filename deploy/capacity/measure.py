"""What a task takes, measured on this machine: a real task behind the real balancer, and the engine alone. Knows how
the curves come about; what they are for is the simulation's.

The work around a batch is found by counting: CPU seconds of each process over a number of requests, one after the
other, less what the engine alone takes for them. So the client's share is known too.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil

from benchmarks.load.processes import sampled
from benchmarks.load.servers import counters
from deploy.capacity.arrivals import Pattern, steady
from deploy.capacity.curves import Curves
from deploy.capacity.engine import SIZES, Engine, found
from deploy.trial.stand import Setup, Stand, standing
from deploy.trial.tasks import TaskProcess

_BUSY_S = 12.0
_IN_HAND = 64
_LITTLE_S = 0.2
_SPACING_S = 2.0  # so many times what a request takes alone: the next one finds the task idle


def measure(
    setup: Setup, precision: str | None, notes: dict[str, Any], *, asked: int = 120, sizes: Sequence[int] = SIZES
) -> Curves:
    """setup: of a trial, whose tasks have a core each. asked: so many requests in each part."""
    recipe, core = setup.recipe, setup.recipe.cores[:1]
    engine = Engine(recipe.model, precision, recipe.threads, core, setup.pictures, sizes)
    alone = found(engine.start())
    batch_s, read_s = alone.batch_s, alone.read_s
    slowdown = _slowdown(engine, recipe.cores, batch_s)
    lone = replace(setup, folder=Path(mkdtemp(dir=setup.folder)), tasks=1, recipe=replace(recipe, cores=core))
    alone_s = alone.lone_s + read_s
    with standing(lone) as stand:
        start_s = _start_s(stand)
        first = _spaced(stand, asked, alone_s)
        stand.run(_evenly(1, alone_s), hot=1.0)  # the one that is computed, and not counted
        cached = _spaced(stand, max(asked, 100), 0.01, hot=1.0)
    with standing(_bounded(lone, 1)) as stand:
        refused_s = _refused_s(stand, first["task"])
    front_s = max(0.0, first["task"] - alone_s)
    if alone_s < _LITTLE_S:  # else all of this is little beside the batch
        with standing(_bounded(lone, _IN_HAND)) as stand:
            front_s = min(front_s, _busy_front_s(stand, batch_s, read_s, refused_s))
    front_s = max(front_s, cached["task"])  # at least what one from the cache takes, which does no batch
    outside = {name: min(first[name], cached[name]) for name in ("client", "balancer", "redis")}
    return Curves(
        model=notes.get("model", recipe.model), threads=recipe.threads, batch_s=batch_s, read_s=read_s,
        front_s=front_s, cached_s=cached["task"], refused_s=refused_s, start_s=start_s,
        outside_s=sum(outside.values()), wake_s=max(0.0, first["task"] - alone_s - front_s), slowdown=slowdown,
        spread=alone.spread, notes={**notes, "outside": outside},
    )  # fmt: skip


def _bounded(setup: Setup, requests: int) -> Setup:
    """A task that takes so many requests at once; what it refuses, it refuses before it reads anything."""
    settings = {"OPENBLIP_MAX_REQUESTS": str(requests), "OPENBLIP_MAX_QUEUE": str(max(64, requests))}
    recipe = replace(setup.recipe, settings={**setup.recipe.settings, **settings})
    return replace(setup, folder=Path(mkdtemp(dir=setup.folder)), recipe=recipe)


def _busy_front_s(stand: Stand, batch_s: dict[int, float], read_s: float, refused_s: float) -> float:
    """CPU seconds of a request beside its batch and its reading, of a task that always has work."""
    threads = stand.recipe.threads
    known = Curves("", threads, batch_s, read_s, 0.0, 0.0, 0.0, 0.0)
    [managed] = stand.controller.serving()
    url = f"http://127.0.0.1:{managed.task.port}"
    before = counters(url)
    seen = stand.run(steady(1.6 * known.rate(threads, 8), _BUSY_S), again=True)
    after = counters(url)
    names = [f"openblip_batch_pictures_{name}{{}}" for name in ("sum", "count")]
    pictures, batches = (after[name] - before.get(name, 0.0) for name in names)
    refused = sum(sent.status == 429 for sent in seen.sent)
    engine_s = known.batch(max(1.0, pictures / batches)) * threads * batches
    used_s = sum(used for name, used in seen.cpu_s.items() if name.startswith("task"))
    return max(0.0, (used_s - engine_s - refused * refused_s) / pictures - read_s)


def _slowdown(engine: Engine, cores: Sequence[int], alone: dict[int, float]) -> float:
    """How many times as long batches take while another core does the same."""
    if len(cores) < 2:
        return 1.0
    sizes = (1, 8)
    pair = [replace(engine, cores=(core,), sizes=sizes, seconds=3.0) for core in cores[:2]]
    processes = [each.start() for each in pair]
    try:
        results = [found(process).batch_s for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    ratios = [result[size] / alone[size] for result in results for size in sizes]
    return max(1.0, statistics.mean(ratios))


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
    seen = stand.run(_evenly(asked, alone_s), hot=hot, keep=bool(hot))
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


def _evenly(asked: int, alone_s: float) -> Pattern:
    step_s = max(0.02, alone_s * _SPACING_S)
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
