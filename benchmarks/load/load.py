"""One run of Locust against one server, and what it came to. Knows how Locust is called; what is measured when is the
phases' choice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.load import records, servers
from benchmarks.load.processes import Watch, running
from benchmarks.load.servers import CHECKOUT, Running

FOLDER = CHECKOUT / "benchmarks" / "load"
CLIENT = "client"


@dataclass(frozen=True)
class Plan:
    """users: a class of locustfile.py; count: how many; lead_s: until the window begins, in which users start and
    caches and batches find their pace; seconds: of the window; tail_s: behind it, so that it ends under full load."""

    users: str
    count: int
    seconds: float
    lead_s: float = 5.0
    tail_s: float = 2.0


@dataclass(frozen=True)
class Steps:
    """More and more users of one class; the first lead_s of a step do not count."""

    users: str
    counts: Sequence[int]
    seconds: float
    lead_s: float = 3.0


@dataclass
class Found:
    """What one window showed. cpu: cores that were busy, by process; rss_mib: of the server at its begin and end, and
    the most; counted: what /metrics counted meanwhile."""

    users: int
    summary: records.Summary
    cpu: dict[str, float]
    rss_mib: dict[str, float]
    counted: dict[str, float] = field(default_factory=dict)
    memory: list[tuple[float, float]] = field(default_factory=list)

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run(server: Running, plan: Plan, pictures: Path, work: Path, limit_s: float) -> Found:
    """Ask with as many users all the time."""
    total_s = ceil(plan.lead_s + plan.seconds + plan.tail_s)
    options = ["--users", str(plan.count), "--spawn-rate", str(max(1.0, plan.count / 2)), "--run-time", f"{total_s}s"]
    before = servers.counters(server.url)
    seen, watch = _locust(server, ["locustfile.py"], [*options, plan.users], pictures, work, limit_s)
    counted = _difference(before, servers.counters(server.url))
    start_s = seen[0].start_s + plan.lead_s
    return _found(seen, watch, start_s, start_s + plan.seconds, plan.count, counted)


def run_steps(server: Running, steps: Steps, pictures: Path, work: Path, limit_s: float) -> list[Found]:
    """Ask with more and more users: what each step showed."""
    counts = ",".join(map(str, steps.counts))
    options = ["--steps", counts, "--step-seconds", f"{steps.seconds:g}", steps.users]
    before = servers.counters(server.url)
    seen, watch = _locust(server, ["locustfile.py", "steps.py"], options, pictures, work, limit_s)
    counted = _difference(before, servers.counters(server.url))
    first_s = seen[0].start_s
    found = []
    for step, count in enumerate(steps.counts):
        begin_s, end_s = first_s + step * steps.seconds, first_s + (step + 1) * steps.seconds
        found.append(_found(seen, watch, begin_s + steps.lead_s, end_s, count, counted))
    return found


def hit_rate(counted: dict[str, float]) -> float | None:
    """Of the server's cache: the share of lookups that spared a computation; None where it counted none."""
    by_event = {name.split("event=")[1].split(",")[0].rstrip("}"): value
                for name, value in counted.items() if name.startswith("openblip_cache_total{")}  # fmt: skip
    hits = sum(by_event.get(event, 0.0) for event in ("hit", "joined"))
    return hits / (hits + by_event.get("miss", 0.0)) if hits + by_event.get("miss", 0.0) else None


def _locust(
    server: Running, files: Sequence[str], options: Sequence[str], pictures: Path, work: Path, limit_s: float
) -> tuple[list[records.Record], Watch]:
    """Raises RuntimeError with Locust's last words where it wrote down nothing."""
    folder = Path(mkdtemp(prefix="locust-", dir=work))
    path, log = folder / "records.jsonl", folder / "locust.log"
    command = [
        sys.executable, "-m", "locust", "-f", ",".join(str(FOLDER / file) for file in files), "--headless",
        "--only-summary", "--exit-code-on-error", "0", "--stop-timeout", "60", "--host", server.url,
        "--pictures", str(pictures), "--records", str(path), *options,
    ]  # fmt: skip
    with running(command, log, cwd=CHECKOUT) as process:
        with Watch({CLIENT: process.pid, **server.pids}) as watch:
            process.wait(limit_s)
        seen = records.read(path) if path.is_file() else []
        if not seen:
            raise RuntimeError(f"Locust noted nothing:\n{log.read_text(encoding='utf-8', errors='replace')[-1500:]}")
    return seen, watch


def _found(
    seen: Sequence[records.Record], watch: Watch, start_s: float, end_s: float, users: int, counted: dict[str, float]
) -> Found:
    last_s = max(record.end_s for record in seen)
    if last_s < end_s - 1:
        raise RuntimeError(f"the test ended {end_s - last_s:.0f} s before its window did: no fresh pictures were left")
    memory = watch.inside("server", start_s, end_s)
    rss = [sample.rss_mib for sample in memory]
    return Found(
        users=users,
        summary=records.summary(seen, start_s, end_s),
        cpu={name: watch.cpu_share(name, start_s, end_s) for name in watch.samples},
        rss_mib={"begin": rss[0], "end": rss[-1], "most": max(rss)} if rss else {},
        counted=counted,
        memory=[(round(sample.time_s - start_s, 1), round(sample.rss_mib, 1)) for sample in memory],
    )


def _difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Counters and sums that grew, buckets left out."""
    return {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if value != before.get(name, 0.0) and "_bucket{" not in name and "_created{" not in name
    }
