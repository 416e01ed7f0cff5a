"""How far a score orders things as people do: Kendall's rank correlations. Knows no model and no file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.errors import DataError, InputError


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau, in [-1, 1]; 0 where nothing is in common.

    tau_b: corrected for ties on both sides. tau_c: Stuart's, for ratings on few levels, which most papers on caption
    metrics print. pairs: how many pairs are told apart by both, in one order or the other. count: values a side.
    """

    tau_b: float
    tau_c: float
    pairs: int
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def kendall_tau(scores: Sequence[float] | NDArray[Any], ratings: Sequence[float] | NDArray[Any]) -> Agreement:
    """Of two lists of equal length, [count] each, in time that grows with count squared (10,000 take a second).

    Raises InputError where the lengths differ or a value is no number, DataError where one side is all alike.
    """
    left, right = np.asarray(scores, np.float64), np.asarray(ratings, np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise InputError(f"scores are {left.shape} and ratings {right.shape}: give one rating a score")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise InputError("scores or ratings hold NaN or infinite values: drop those rows")
    concordant = discordant = 0
    for place in range(len(left) - 1):
        product = np.sign(left[place + 1 :] - left[place]) * np.sign(right[place + 1 :] - right[place])
        concordant += int((product > 0).sum())
        discordant += int((product < 0).sum())
    untied = [_untied_pairs(side) for side in (left, right)]
    if not all(untied):
        raise DataError("all scores, or all ratings, are alike: there is no order to agree with")
    levels = min(len(np.unique(left)), len(np.unique(right)))
    difference = concordant - discordant
    return Agreement(
        tau_b=difference / math.sqrt(untied[0] * untied[1]),
        tau_c=2 * difference * levels / (len(left) ** 2 * (levels - 1)),
        pairs=concordant + discordant,
        count=len(left),
    )


def _untied_pairs(values: NDArray[np.float64]) -> int:
    """Pairs whose values differ."""
    count = len(values)
    ties = np.unique(values, return_counts=True)[1]
    return count * (count - 1) // 2 - int((ties * (ties - 1) // 2).sum())
