"""Two runs over the same pictures, held against each other with an interval: which is better, and how surely.

Reads what `openblip eval caption --output` and `openblip eval vqa --output` write. Knows no model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openblip.errors import DataError
from openblip.metrics.bootstrap import DRAWS, Difference, paired_difference

_SCORES = {"caption": ("captions", "cider", "CIDEr-D"), "vqa": ("answers", "accuracy", "accuracy")}
"""Task -> where its rows stand, which figure of a row is compared, and what it is called."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run less the first. first, second: their models and files; metric: what is compared."""

    first: str
    second: str
    metric: str
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        values = {"task": "compare", "first": self.first, "second": self.second, "metric": self.metric}
        return values | {"result": self.difference.to_dict()}


def compare_runs(first: Path, second: Path, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0) -> Comparison:
    """The difference of two runs' means and the interval that a paired bootstrap over pictures gives it. A CIDEr keeps
    the document frequencies of the whole set, and all questions about a picture are drawn together.

    Raises DataError on a file that does not hold a run picture by picture, runs of unlike tasks, or runs that were not
    scored on the same pictures against the same references.
    """
    runs = [_Run(path) for path in (first, second)]
    if runs[0].task != runs[1].task:
        raise DataError(f"{first} is of {runs[0].task}, {second} of {runs[1].task}: compare runs of one task")
    apart = sorted(runs[0].sums.keys() ^ runs[1].sums.keys())
    if apart:
        raise DataError(
            f"{len(apart)} pictures are in one run alone (the first is {apart[0]!r}): compare the same data"
        )
    if runs[0].data != runs[1].data:
        raise DataError(f"{first} and {second} were not scored against the same truths: evaluate both on the same data")
    keys = sorted(runs[0].sums)
    before, after = (np.array([run.sums[key] for key in keys]) for run in runs)
    counts = np.array([runs[0].counts[key] for key in keys])
    difference = paired_difference(before, after, counts, draws=draws, level=level, seed=seed)
    return Comparison(f"{runs[0].model} ({first})", f"{runs[1].model} ({second})", runs[0].metric, difference)


class _Run:
    """One file: the sum of the scores of each picture, and how many there are."""

    def __init__(self, path: Path) -> None:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            self.task, self.model, self.data = values["task"], str(values["model"]), values["data"]
            rows, figure, self.metric = _SCORES[self.task]
            self.sums: dict[str, float] = {}
            self.counts: dict[str, int] = {}
            for row in values[rows]:
                self.sums[row["key"]] = self.sums.get(row["key"], 0.0) + float(row[figure])
                self.counts[row["key"]] = self.counts.get(row["key"], 0) + 1
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} does not hold a run picture by picture ({error}): write it with openblip eval caption, or "
                "eval vqa, --output FILE"
            ) from error
