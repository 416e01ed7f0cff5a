"""How AWS's target tracking reads a metric and sets the number of tasks. Knows neither tasks nor clocks: it is told the
time, the simulation's or that of a real run.

Application Auto Scaling makes two alarms of a target: one that wants more tasks after 3 points above the target, one
that wants fewer after 15 minutes below 90% of it. The new number is in proportion to the metric. With several targets
the largest number counts, and tasks go only when all of them allow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from deploy.settings import Scaling, ScheduledMinimum
from openblip.errors import OptionError

_DAY_S = 86_400.0


IN_FLIGHT = "requests in flight"
REQUESTS = "requests a minute"


@dataclass(frozen=True)
class Target:
    """metric: its name, as a figure of each task. The periods and the share are those of `Scaling`."""

    metric: str
    value: float
    high_periods: int = 3
    low_periods: int = 15
    low_share: float = 0.9

    def __post_init__(self) -> None:
        if self.value <= 0 or self.high_periods < 1 or self.low_periods < 1 or not 0 < self.low_share <= 1:
            raise OptionError(f"{self}: a value above 0, periods from 1, a share up to 1")


@dataclass
class _Alarms:
    """What one target has seen: points in a row above it, and below its share."""

    target: Target
    above: int = 0
    below: int = 0

    def see(self, value: float) -> None:
        self.above = self.above + 1 if value > self.target.value else 0
        self.below = self.below + 1 if value < self.target.value * self.target.low_share else 0


@dataclass
class Policy:
    """schedule: seconds of the day, and the fewest tasks from then on (scheduled actions set them)."""

    targets: tuple[Target, ...]
    least: int
    most: int
    period_s: float = 60.0
    out_cooldown_s: float = 60.0
    in_cooldown_s: float = 300.0
    schedule: tuple[tuple[float, int], ...] = ()
    _alarms: list[_Alarms] = field(init=False)
    _out_s: float = field(default=float("-inf"), init=False)
    _in_s: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        if not (1 <= self.least <= self.most and self.targets and self.period_s > 0):
            raise OptionError(
                f"least={self.least}, most={self.most}, period_s={self.period_s}, {len(self.targets)} targets: from 1 "
                "task up, a period above 0, and one target at least"
            )
        self._alarms = [_Alarms(target) for target in self.targets]

    @classmethod
    def of(cls, scaling: Scaling) -> Policy:
        """What the stack deploys. Raises OptionError on a schedule that is not a time of each working day."""
        periods = (scaling.high_periods, scaling.low_periods, scaling.low_share)
        return cls(
            targets=(
                Target(IN_FLIGHT, scaling.target_in_flight, *periods),
                Target(REQUESTS, scaling.target_requests_per_minute, *periods),
            ),
            least=scaling.minimum,
            most=scaling.maximum,
            period_s=scaling.period_s,
            out_cooldown_s=scaling.scale_out_cooldown_s,
            in_cooldown_s=scaling.scale_in_cooldown_s,
            schedule=tuple(sorted((_second(each), each.minimum) for each in scaling.scheduled)),
        )

    def minimum(self, now_s: float) -> int:
        """The fewest tasks at this time: what was scheduled last, the day before where need be."""
        if not self.schedule:
            return self.least
        minimum = self.schedule[-1][1]
        for begin_s, tasks in self.schedule:
            if now_s % _DAY_S >= begin_s:
                minimum = tasks
        return min(minimum, self.most)

    def wanted(self, now_s: float, tasks: int, metrics: Mapping[str, float]) -> int:
        """How many tasks there shall be, where there shall be so many now; to be asked once a period. metrics: means of
        the last one."""
        outs, sizes, low = [], [], []
        for alarms in self._alarms:
            target, value = alarms.target, metrics[alarms.target.metric]
            alarms.see(value)
            size = max(1, ceil(tasks * value / target.value - 1e-9))
            sizes.append(size)
            if alarms.above >= target.high_periods:
                outs.append(size)
            low.append(alarms.below >= target.low_periods)
        wanted = tasks
        if outs:
            if now_s - self._out_s >= self.out_cooldown_s:
                wanted = max(tasks, *outs)
        elif all(low) and now_s - max(self._in_s, self._out_s) >= self.in_cooldown_s:
            wanted = min(tasks, max(sizes))
        wanted = min(max(wanted, self.minimum(now_s)), self.most)
        if wanted > tasks:
            self._out_s = now_s
        elif wanted < tasks:
            self._in_s = now_s
        return wanted


def _second(scheduled: ScheduledMinimum) -> float:
    """Of the day."""
    if not (scheduled.hour.isdigit() and scheduled.minute.isdigit()):
        when = f"{scheduled.hour}:{scheduled.minute}"
        raise OptionError(f"scheduled {scheduled.name}: {when} is no single time of the day, which alone is simulated")
    return int(scheduled.hour) * 3600.0 + int(scheduled.minute) * 60.0
