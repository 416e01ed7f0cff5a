"""When requests come and about which pictures: patterns of a rate over time. Knows no task."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import cos, pi
from random import Random

from deploy.capacity.results import NEW
from openblip.errors import OptionError


@dataclass(frozen=True)
class Pattern:
    """rate: requests a second at a time; most: no rate is above it."""

    title: str
    seconds: float
    rate: Callable[[float], float]
    most: float

    def times(self, random: Random) -> Iterator[float]:
        """Of a Poisson process with that rate, by thinning one of the highest rate."""
        if not self.most > 0:
            raise OptionError(f"{self.title}: the highest rate is {self.most}: give one above 0")
        now = 0.0
        while (now := now + random.expovariate(self.most)) < self.seconds:
            if random.random() * self.most < self.rate(now):
                yield now


@dataclass(frozen=True)
class Pictures:
    """Which picture a request is about. new: share of those that were never seen; the others come from a pool, the
    k-th as often as 1/k. hot: share of one picture from hot_from_s on."""

    new: float = 1.0
    pool: int = 10_000
    hot: float = 0.0
    hot_from_s: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.new <= 1 and 0 <= self.hot <= 1 and self.pool >= 1):
            raise OptionError(
                f"new={self.new}, hot={self.hot}, pool={self.pool}: shares are from 0 to 1, a pool from 1"
            )

    def draw(self, random: Random) -> Callable[[float], int]:
        """The picture of a request at a time."""
        cumulated = list(accumulate(1 / rank for rank in range(1, self.pool + 1)))

        def at(now: float) -> int:
            if self.hot and now >= self.hot_from_s and random.random() < self.hot:
                return 0
            if random.random() < self.new:
                return NEW
            return 1 + min(self.pool - 1, bisect_right(cumulated, random.random() * cumulated[-1]))

        return at


def steady(rate: float, seconds: float) -> Pattern:
    """The same rate all the time."""
    return Pattern(f"steady {rate:g}/s", seconds, lambda now: rate, rate)


def ramp(first: float, last: float, seconds: float) -> Pattern:
    """From one rate to another."""
    return Pattern(
        f"ramp {first:g} to {last:g}/s", seconds, lambda now: first + (last - first) * now / seconds, max(first, last)
    )


def diurnal(least: float, most: float, seconds: float = 86_400.0) -> Pattern:
    """A day: least at its begin, most in its middle."""
    middle, swing = (least + most) / 2, (most - least) / 2
    return Pattern(
        f"a day, {least:g} to {most:g}/s", seconds, lambda now: middle - swing * cos(2 * pi * now / seconds), most
    )


def flash(
    base: float, factor: float = 10.0, *, at_s: float = 1800.0, rise_s: float = 60.0, hold_s: float = 1800.0,
    seconds: float = 7200.0,
) -> Pattern:  # fmt: skip
    """A crowd: within rise_s the rate is so many times as high, stays for hold_s, and takes as long to fall."""
    begins, ends = at_s + rise_s, at_s + rise_s + hold_s

    def rate(now: float) -> float:
        if now < at_s:
            share = 0.0
        elif now < begins:
            share = (now - at_s) / rise_s
        elif now < ends:
            share = 1.0
        else:
            share = max(0.0, 1 - (now - ends) / hold_s)
        return base * (1 + (factor - 1) * share)

    return Pattern(f"{factor:g} times {base:g}/s within {rise_s:g} s", seconds, rate, base * factor)
