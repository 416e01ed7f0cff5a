"""What is done to the tasks while they are under load, and what became of the requests. Each drill is bounded in time
and gives a dictionary for JSON. Knows a stand; prints nothing.

**Accepted** is every request that was not refused with 429. **Lost** is an accepted one that has no caption in the
end. A rolling deployment must lose none although nobody sends again. Where a task dies, the balancer answers 502 for
what the task had in hand, as an ALB does; a caption may be asked for twice, so the client sends it again by the rules
of `openblip.Client`, and what counts as lost is what that does not save.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.load.records import percentiles_ms
from deploy.capacity.arrivals import Pattern, flash, ramp, steady
from deploy.trial.client import Sent
from deploy.trial.stand import Load, Seen, Stand
from deploy.trial.tasks import TaskProcess

_STEP_S = 2.0
_REPLACED_S = 90.0


@dataclass(frozen=True)
class Pace:
    """capacity: captions a second that all tasks can do together; scale: of all times, 1 for figures that count;
    soak_s: of the soak."""

    capacity: float
    scale: float = 1.0
    soak_s: float = 1200.0

    def steady(self, share: float, seconds: float) -> Pattern:
        """At a share of what they can do."""
        return steady(share * self.capacity, seconds * self.scale)


def rolling(stand: Stand, pace: Pace) -> dict[str, Any]:
    """All tasks are replaced under a third of the load that they can bear; nobody sends anything again."""
    pattern = pace.steady(0.33, 90)
    with stand.load(pattern) as load:
        begin_s = 0.2 * pattern.seconds
        _sleep_until(load, begin_s)
        stand.controller.deploy()
        took_s = stand.controller.wait_settled(_REPLACED_S)
        seen = stand.finish(load)
    found = _found("rolling deployment", seen, pattern)
    return {**found, "took_s": took_s, "within_load": begin_s + took_s < pattern.seconds, "marks": {"begin": begin_s,
            "end": begin_s + took_s}, "lost": found["broken"]}  # fmt: skip


def kills(stand: Stand, pace: Pace) -> dict[str, Any]:
    """kill -9 of one task, the oldest, each minute, three times."""
    every_s, count = 60.0 * pace.scale, 3
    pattern = pace.steady(0.33, 60.0 * count)
    marks, recovered = {}, []
    with stand.load(pattern, retry=True) as load:
        for number in range(count):
            _sleep_until(load, (number + 0.2) * every_s)
            victim = stand.controller.serving()[0].task
            marks[f"kill {number + 1}"] = (number + 0.2) * every_s
            victim.kill()
            seen_s = stand.controller.wait(partial(_gone, stand, victim), _REPLACED_S, "the death was not noticed")
            recovered.append(seen_s + stand.controller.wait_settled(_REPLACED_S))
        seen = stand.finish(load)
    broken = [_last_broken_s(seen, at_s, at_s + every_s) for at_s in marks.values()]
    return {**_found("kill -9", seen, pattern), "replaced_s": recovered, "last_failed_try_s": broken, "marks": marks}


def failover(stand: Stand, pace: Pace) -> dict[str, Any]:
    """Redis's primary is killed, 5 s later the replica takes over; half of the requests are about one picture."""
    pattern, kill_s = pace.steady(0.5, 60), 20.0 * pace.scale
    with stand.load(pattern, hot=0.5) as load:
        _sleep_until(load, kill_s)
        stand.redis.fail_over(after_s=5.0 * min(1.0, pace.scale))
        seen = stand.finish(load)
    found = _found("Redis fails over", seen, pattern)
    hits = [sent.start_s - seen.began_s for sent in seen.sent if sent.cached]
    after = [at_s for at_s in hits if at_s > kill_s + 5.0 * min(1.0, pace.scale)]
    return {**found, "marks": {"primary killed": kill_s}, "cached_before": _cached(seen, 0, kill_s),
            "cached_after": _cached(seen, 0.7 * pattern.seconds, pattern.seconds),
            "cache_back_s": after[0] - kill_s if after else None, "lost": found["broken"]}  # fmt: skip


def slow(stand: Stand, pace: Pace) -> dict[str, Any]:
    """One task gets a quarter of its time for a while."""
    pattern = pace.steady(0.33, 60)
    begin_s, end_s = pattern.seconds / 3, 2 * pattern.seconds / 3
    with stand.load(pattern, retry=True) as load:
        _sleep_until(load, begin_s)
        task = stand.controller.serving()[0].task
        with _slowed(task.pause, task.resume):
            _sleep_until(load, end_s)
        seen = stand.finish(load)
    return {**_found("a slow task", seen, pattern), "marks": {"slow": begin_s, "as before": end_s},
            "p99_before_ms": _p99(seen.between(0, begin_s)), "p99_slow_ms": _p99(seen.between(begin_s, end_s)),
            "recovered_s": _recovered_s(seen, end_s, pattern.seconds, 0.0, begin_s)}  # fmt: skip


def hang(stand: Stand, pace: Pace) -> dict[str, Any]:
    """One task stops to compute and never goes on: its checks fail, it is replaced."""
    pattern, begin_s = pace.steady(0.33, 60), 15.0 * pace.scale
    with stand.load(pattern, retry=True) as load:
        _sleep_until(load, begin_s)
        hanging = stand.controller.serving()[0].task
        hanging.pause()
        took_s = stand.controller.wait(partial(_gone, stand, hanging), _REPLACED_S, "the hanging task was not noticed")
        replaced_s = took_s + stand.controller.wait_settled(_REPLACED_S)
        seen = stand.finish(load)
    return {**_found("a hanging task", seen, pattern), "noticed_s": took_s, "replaced_s": [replaced_s],
            "marks": {"hangs": begin_s}}  # fmt: skip


def rising(stand: Stand, pace: Pace) -> dict[str, Any]:
    """From a tenth of what the tasks can do to half as much again."""
    pattern = ramp(0.1 * pace.capacity, 1.5 * pace.capacity, 60 * pace.scale)
    return _found("ramp", stand.run(pattern), pattern)


def spike(stand: Stand, pace: Pace) -> dict[str, Any]:
    """Ten times as many for 15 s, from 15% to 150% of what the tasks can do."""
    scale = pace.scale
    pattern = flash(0.15 * pace.capacity, at_s=15 * scale, rise_s=2 * scale, hold_s=15 * scale, seconds=75 * scale)
    seen, end_s = stand.run(pattern), 47 * scale
    return {**_found("spike", seen, pattern), "marks": {"begins": 15 * scale, "falls": 32 * scale, "over": end_s},
            "recovered_s": _recovered_s(seen, 32 * scale, pattern.seconds, 0.0, 15 * scale)}  # fmt: skip


def soak(stand: Stand, pace: Pace) -> dict[str, Any]:
    """Half of what the tasks can do for long; a picture comes again when all were sent."""
    pattern = steady(0.5 * pace.capacity, pace.soak_s)
    memory: list[tuple[float, dict[str, float]]] = []
    with stand.load(pattern, again=True) as load:
        while not load.over() and time.time() - load.began_s < pattern.seconds:
            memory.append((time.time() - load.began_s, stand.task_memory_mib()))
            time.sleep(min(15.0, pattern.seconds / 10))
        seen = stand.finish(load)
    found = _found("soak", seen, pattern, step_s=max(_STEP_S, pattern.seconds / 40))
    return {**found, "memory_mib": memory, "lost": found["broken"]}


DRILLS: dict[str, Callable[[Stand, Pace], dict[str, Any]]] = {
    "ramp": rising, "spike": spike, "rolling": rolling, "kills": kills, "failover": failover, "slow": slow,
    "hang": hang, "soak": soak,
}  # fmt: skip


def _found(title: str, seen: Seen, pattern: Pattern, step_s: float = _STEP_S) -> dict[str, Any]:
    """broken: first tries that were accepted and came to nothing; lost: what was accepted and has no caption in the
    end. What was refused at first and in the end was never accepted; what failed before or after that was."""
    sent = seen.sent
    return {
        "title": title, "seconds": pattern.seconds, "asked": len(sent),
        "answered": sum(each.status == 200 for each in sent), "refused": sum(each.status == 429 for each in sent),
        "broken": sum(each.first not in (200, 429) for each in sent),
        "lost": sum(each.status != 200 and not (each.first == each.status == 429) for each in sent),
        "statuses": dict(sorted(Counter(str(each.status) for each in sent).items())),
        "first_statuses": dict(sorted(Counter(str(each.first) for each in sent).items())),
        "times_ms": percentiles_ms([each.seconds for each in sent if each.status == 200]),
        "longest_ms": max((each.seconds * 1000 for each in sent if each.status == 200), default=None),
        "timeline": _timeline(seen, pattern.seconds, step_s),
    }  # fmt: skip


def _timeline(seen: Seen, seconds: float, step_s: float) -> list[dict[str, Any]]:
    rows = []
    for number in range(int(seconds // step_s)):
        inside = seen.between(number * step_s, (number + 1) * step_s)
        rows.append({
            "time_s": number * step_s, "asked": len(inside) / step_s, "p99_ms": _p99(inside),
            "p50_ms": percentiles_ms([each.seconds for each in inside if each.status == 200]).get("p50"),
            "refused": sum(each.first == 429 for each in inside) / step_s,
            "broken": sum(each.first not in (200, 429) for each in inside) / step_s,
        })  # fmt: skip
    return rows


def _p99(sent: Iterable[Sent]) -> float | None:
    return percentiles_ms([each.seconds for each in sent if each.status == 200]).get("p99")


def _cached(seen: Seen, begin_s: float, end_s: float) -> float:
    fine = [each for each in seen.between(begin_s, end_s) if each.status == 200]
    return sum(each.cached for each in fine) / max(1, len(fine))


def _last_broken_s(seen: Seen, begin_s: float, end_s: float) -> float | None:
    """How long after the begin the last request was sent whose first try failed; what was sent less than a second
    before the end may have met what came then."""
    failed = [
        each.start_s - seen.began_s for each in seen.between(begin_s - 1.0, end_s - 1.0) if each.first not in (200, 429)
    ]
    return max(failed) - begin_s if failed else None


def _recovered_s(seen: Seen, since_s: float, until_s: float, first_s: float, last_s: float) -> float | None:
    """How long after since_s the p99 of two seconds is no more than twice what it was in the window before, and nothing
    is refused; None where that never comes."""
    usual = _p99(seen.between(first_s, last_s))
    steps: Sequence[float] = [since_s + number * _STEP_S for number in range(int((until_s - since_s) // _STEP_S))]
    bad = [
        step_s + _STEP_S for step_s in steps
        if (_p99(inside := seen.between(step_s, step_s + _STEP_S)) or 0.0) > 2 * (usual or 0.0)
        or any(each.first != 200 for each in inside)
    ]  # fmt: skip
    if usual is None or (bad and bad[-1] >= steps[-1] + _STEP_S):
        return None
    return max(bad) - since_s if bad else 0.0


def _gone(stand: Stand, task: TaskProcess) -> bool:
    return all(managed.task is not task for managed in stand.controller.serving())


def _sleep_until(load: Load, seconds: float) -> None:
    time.sleep(max(0.0, load.began_s + seconds - time.time()))


@contextmanager
def _slowed(pause: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Paused for three quarters of the time, a tenth of a second at a time."""
    ended = threading.Event()

    def toggle() -> None:
        while not ended.is_set():
            pause()
            ended.wait(0.075)
            resume()
            ended.wait(0.025)

    thread = threading.Thread(target=toggle, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        resume()
