"""The four parts of the benchmark: what is started, with which load. Each gives a dictionary for JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import raw
from benchmarks.load.load import Plan, Steps, hit_rate, run, run_steps
from benchmarks.load.servers import Server, captions, litserve, openblip, serving, tutorial

COMPARED = 8  # pictures whose captions are held against those of transformers


@dataclass(frozen=True)
class Setup:
    """What all parts share. pictures: folder with fresh, pool, large and mixed (fresh and pool of all sizes); base:
    folder of full-size weights; scale: of all times, 1 for figures that count; limit_s: of one run of Locust."""

    work: Path
    pictures: Path
    base: Path
    model: str
    precision: str | None
    threads: int
    scale: float
    limit_s: float = 300.0

    @property
    def kept(self) -> Path:
        """Folder of compiled graphs."""
        return self.work / "compiled"

    @property
    def quick(self) -> bool:
        """Whether this only shows that everything runs."""
        return self.scale < 0.1

    def openblip(self, model: str, precision: str | None, cache: str = "disk") -> Server:
        """Ours, with what all runs of it share."""
        return openblip(model, precision, self.threads, cache=cache, kept=self.kept)


def uncached(setup: Setup) -> dict[str, Any]:
    """64 clients, each request a picture that was never sent; and the engine without a service, alone on the machine,
    before and after. The window begins when the memory for encoded pictures is full."""
    plan = Plan("Uncached", 64, 60.0 * setup.scale, lead_s=20.0 * setup.scale)
    before = _engine(setup)
    entry = _one(setup.openblip(setup.model, setup.precision), plan, setup)
    return {**entry, "engine": [*before, *_engine(setup)]}


def cached(setup: Setup) -> list[dict[str, Any]]:
    """Photos of 500 kB over and over, kept on disk and in Redis. Few clients: with more the time would be that of
    waiting in line."""
    plan = Plan("Cached", 4, 30.0 * setup.scale, lead_s=10.0 * setup.scale)
    return [
        {"cache": cache, **_one(setup.openblip(setup.model, setup.precision, cache), plan, setup)}
        for cache in ("disk", "redis")
    ]


def rivals(setup: Setup, precisions: Sequence[str], *, ours: bool = True) -> list[dict[str, Any]]:
    """Uncached captions of full-size weights: ours beside the two rivals; of (b) the batch that was fastest."""
    seconds = 90.0 * setup.scale
    plan = Plan("Uncached", 16, seconds, lead_s=15.0 * setup.scale, tail_s=min(15.0, seconds))
    chosen = [tutorial(setup.base, setup.threads), *_fastest_batch(setup, _bf16_or_f32())]
    chosen += [setup.openblip(str(setup.base), precision, "redis") for precision in precisions if ours]
    reference: list[str] = []
    found = []
    for server in chosen:
        try:
            entry = _one(server, plan, setup, reference)
        except RuntimeError as error:
            entry = {"name": server.name, "title": server.title, "failed": str(error).splitlines()[0][:300]}
            print(error, file=sys.stderr)
        found.append(entry)
    return found


def mix(setup: Setup) -> dict[str, Any]:
    """All tasks about pictures of all sizes, with more and more users; the last are more than fit the queue."""
    counts = (1, 8) if setup.quick else (1, 4, 16, 64, 160)
    steps = Steps("Mix", counts, max(5.0, 20.0 * setup.scale))
    server = setup.openblip(setup.model, setup.precision)
    _say(f"{server.title}: {steps.users}, {', '.join(map(str, counts))} users")
    with serving(server, setup.work) as started:
        found = run_steps(started, steps, setup.pictures / "mixed", setup.work, setup.limit_s)
    return {
        "name": server.name,
        "title": server.title,
        "hit_rate": hit_rate(found[0].counted),
        "counted": found[0].counted,
        "steps": [{name: value for name, value in step.entry().items() if name != "counted"} for step in found],
    }


def _engine(setup: Setup) -> list[float]:
    """Pictures a second of each round, decoding included."""
    count, rounds = (64, 1) if setup.quick else (512, 2)
    _say(f"the engine alone: {count} pictures, {rounds} rounds")
    environment = {**os.environ, "OPENBLIP_CACHE": str(setup.kept)}
    fresh = setup.pictures / "fresh"
    return raw.measure(setup.model, setup.precision, setup.threads, rounds, fresh, count, environment)


def _fastest_batch(setup: Setup, precision: str) -> list[Server]:
    """Rival (b) in short runs with several batches: the fastest of them."""
    sizes = (2, 4) if setup.quick else (1, 4, 8, 16)
    rates = {}
    for size in sizes:
        server = litserve(setup.base, setup.threads, precision, size)
        plan = Plan("Uncached", 16, max(4.0, 30.0 * setup.scale), lead_s=10.0 * setup.scale, tail_s=15.0 * setup.scale)
        rates[size] = _one(server, plan, setup)["summary"]["rate"]
        _say(f"{server.title}: {rates[size]:.2f}/s")
    return [litserve(setup.base, setup.threads, precision, max(rates, key=lambda size: rates[size]))]


def _one(server: Server, plan: Plan, setup: Setup, reference: list[str] | None = None) -> dict[str, Any]:
    """Start, compare captions with the reference (the first server's become it), ask, stop."""
    _say(f"{server.title}: {plan.users}, {plan.count} users, {plan.seconds:g} s")
    files = sorted((setup.pictures / "fresh").glob("*.jpg"))[-COMPARED:]
    with serving(server, setup.work) as started:
        same = None
        if reference is not None:
            texts = captions(started.url, [file.read_bytes() for file in files])
            if not reference:
                reference.extend(texts)
            same = sum(map(str.__eq__, texts, reference))
        found = run(started, plan, setup.pictures, setup.work, setup.limit_s)
    return {
        "name": server.name, "title": server.title, "start_s": started.start_s, "same_captions": same,
        "compared": len(files), "hit_rate": hit_rate(found.counted), **found.entry(),
    }  # fmt: skip


def _bf16_or_f32() -> str:
    """What is faster for transformers: bf16 where the processor multiplies it."""
    from openblip.engines.openvino.processor import has_bfloat16

    return "bf16" if has_bfloat16() else "f32"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


PHASES: dict[str, Callable[..., Any]] = {"uncached": uncached, "cached": cached, "rivals": rivals, "mix": mix}
