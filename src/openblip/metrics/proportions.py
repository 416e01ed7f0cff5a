"""A share that was counted, and what it is worth: Wilson's interval. Knows no model, no file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from openblip.errors import InputError


@dataclass(frozen=True, slots=True)
class Proportion:
    """hits of count. value: their share, 0 where nothing was counted. low, high: the interval that holds the true share
    with probability `level` (Wilson 1927), 0 to 1 where nothing was counted."""

    hits: int
    count: int
    value: float
    low: float
    high: float
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def proportion(hits: int, count: int, level: float = 0.95) -> Proportion:
    """Of so many hits among so many cases. Raises InputError where there are more hits than cases."""
    if not 0 <= hits <= count or not 0 < level < 1:
        raise InputError(
            f"{hits} hits of {count} at level={level} are out of range: give at most as many hits as cases"
        )
    if not count:
        return Proportion(0, 0, 0.0, 0.0, 1.0, level)
    share, z = hits / count, NormalDist().inv_cdf((1 + level) / 2)
    centre, width = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    shrink = 1 + z * z / count
    low, high = max(0.0, (centre - width) / shrink), min(1.0, (centre + width) / shrink)
    return Proportion(hits, count, share, 0.0 if not hits else low, 1.0 if hits == count else high, level)
