"""What a difference between two runs over the same pictures is worth: a paired bootstrap. Knows no model, no file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.errors import DataError, InputError

DRAWS = 10_000
_AT_ONCE = 2**22  # numbers held while drawing


@dataclass(frozen=True, slots=True)
class Difference:
    """The second run less the first.

    low, high: the interval in which the difference lies with probability `level`, over draws of pictures. better: the
    share of draws in which the second is ahead, ties half. images: how many pictures were drawn from.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    level: float
    better: float
    images: int
    draws: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {**asdict(self), "clear": self.clear}


def paired_difference(
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]],
    counts: NDArray[np.integer[Any]] | None = None,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """The percentile bootstrap (Efron 1979) of the difference of two means; each draw takes the same pictures of both.

    first, second: [images], the sum of each picture's scores in either run, in the same order. counts: [images], how
    many scores a sum has (questions about a picture); 1 each where it is left out. Scores are taken as they are: a
    CIDEr keeps the document frequencies of the whole set.

    Raises InputError on arrays that do not go together, DataError on fewer than two pictures.
    """
    counts = np.ones(len(first), np.int64) if counts is None else np.asarray(counts)
    if first.ndim != 1 or not first.shape == second.shape == counts.shape:
        raise InputError(f"the runs have {first.shape} and {second.shape} scores: give both of the same pictures")
    if not 0 < level < 1 or draws < 1:
        raise InputError(f"level={level}, draws={draws} are out of range: give a level between 0 and 1, draws from 1")
    images = len(first)
    if images < 2:
        raise DataError(f"{images} picture is too few to draw from: give at least two")
    generator, delta = np.random.default_rng(seed), (second - first).astype(np.float64)
    found: list[NDArray[np.float64]] = []
    for start in range(0, draws, step := max(1, _AT_ONCE // images)):
        drawn = generator.integers(images, size=(min(step, draws - start), images))
        found.append(delta[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    differences, total = np.concatenate(found), counts.sum()
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return Difference(
        first=float(first.sum() / total),
        second=float(second.sum() / total),
        difference=float(delta.sum() / total),
        low=float(low),
        high=float(high),
        level=level,
        better=float(np.mean(differences > 0) + np.mean(differences == 0) / 2),
        images=images,
        draws=draws,
    )
