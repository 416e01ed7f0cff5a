"""The thresholds of a policy from pictures that somebody has judged, and what they are worth on pictures that did not
choose them. Knows scores. Does not know files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openblip.errors import DataError, OptionError
from openblip.metrics.proportions import Proportion, proportion
from openblip.moderation.decide import Moderator
from openblip.moderation.decisions import Moderated
from openblip.moderation.labelled import Labelled
from openblip.moderation.policy import Policy

if TYPE_CHECKING:
    from openblip.pipeline import Blip

Scores = NDArray[np.float64]
Bools = NDArray[np.bool_]
Chooser = Callable[[Scores, Bools], "float | None"]

LEAST, FOLDS = 5, 5
_MARGIN = 0.02  # of the cosine, below the least similar picture that is to be found


@dataclass(frozen=True, slots=True)
class Targets:
    """What the thresholds are chosen for, on the judged pictures.

    precision: of what is blocked, the share that shows the label. recall: of what shows the label, the share that is at
    least reviewed. Raises OptionError on a value outside (0, 1].
    """

    precision: float = 0.95
    recall: float = 0.9

    def __post_init__(self) -> None:
        for name in ("precision", "recall"):
            if not 0 < getattr(self, name) <= 1:
                raise OptionError(f"{name}={getattr(self, name)} is out of range: give a share above 0, up to 1")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold (None: no value reaches the target), and its precision and recall on pictures that were held out:
    each fifth was decided with the threshold that the others choose."""

    value: float | None
    precision: Proportion
    recall: Proportion


@dataclass(frozen=True, slots=True)
class LabelCalibration:
    """Of one label. shown, others: pictures that show it, and that do not. screen: as in the policy, so low that what
    `review` finds is not held back. too_few: there are not enough of either, and nothing was chosen."""

    label: str
    shown: int
    others: int
    screen: float | None = None
    review: Threshold | None = None
    block: Threshold | None = None

    @property
    def too_few(self) -> bool:
        """Whether nothing was chosen."""
        return self.review is None

    def values(self) -> dict[str, float | None]:
        """What belongs into the policy; empty where nothing was chosen."""
        if self.review is None or self.block is None:
            return {}
        return {"screen": self.screen, "review": self.review.value, "block": self.block.value}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of a policy, label by label. unreadable: pictures that were left out."""

    labels: tuple[LabelCalibration, ...]
    pictures: int
    unreadable: int
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def calibrate(
    blip: Blip,
    policy: Policy,
    labelled: Sequence[Labelled],
    targets: Targets = Targets(),
    report: Callable[[Moderated], None] = lambda moderated: None,
) -> Calibration:
    """The thresholds of every label with phrases that at least LEAST of the pictures show and LEAST do not.

    report: told of each picture as it is done, broken ones with their error. Raises DataError where no label has
    enough pictures.
    """
    moderator, names = Moderator(blip, policy.unscreened()), [rule.name for rule in policy.labels if rule.phrases]
    kept: list[Labelled] = []
    similarities: list[list[float]] = []
    probabilities: list[list[float]] = []
    done = moderator.decide_each((each.path, "") for each in labelled)
    for each, moderated in zip(labelled, done, strict=True):
        report(moderated)
        if moderated.decision is not None:
            kept.append(each)
            similarities.append([finding.similarity for finding in moderated.decision.labels])
            probabilities.append([finding.probability or 0.0 for finding in moderated.decision.labels])
    shape = (len(kept), len(names))
    columns = zip(names, np.array(similarities).reshape(shape).T, np.array(probabilities).reshape(shape).T, strict=True)
    found = tuple(
        calibrated(name, similar, scores, np.array([name in each.labels for each in kept], bool), targets)
        for name, similar, scores in columns
    )
    if all(label.too_few for label in found):
        raise DataError(
            f"no label has {LEAST} pictures that show it and {LEAST} that do not: judge more pictures for "
            f"{', '.join(names) or 'a label with phrases'}"
        )
    return Calibration(found, len(kept), len(labelled) - len(kept), blip.part("match").name)


def calibrated(label: str, similarities: Scores, scores: Scores, truth: Bools, targets: Targets) -> LabelCalibration:
    """Of the scores of one label. similarities, scores, truth: [pictures], the first of the phrases that count."""
    shown, others = int(truth.sum()), int((~truth).sum())
    if min(shown, others) < LEAST:
        return LabelCalibration(label, shown, others)

    def block(some: Scores, true: Bools) -> float | None:
        return precise_threshold(some, true, targets.precision)

    def review(some: Scores, true: Bools) -> float | None:
        reaching, blocking = complete_threshold(some, true, targets.recall), block(some, true)
        return reaching if blocking is None else min(reaching, blocking)

    reviewed = review(scores, truth)
    found = similarities[truth & (scores >= (reviewed or 0.0))]
    screen = math.floor((float(found.min()) - _MARGIN) * 100) / 100 if len(found) else -1.0
    return LabelCalibration(
        label, shown, others, max(screen, -1.0), _held_out(scores, truth, review), _held_out(scores, truth, block)
    )


def precise_threshold(scores: Scores, truth: Bools, precision: float) -> float | None:
    """The smallest one from which on at least that share is true; None where there is none."""
    values = np.unique(scores)
    for place, value in enumerate(values):
        chosen = scores >= value
        if truth[chosen].mean() >= precision:
            return _between(float(values[place - 1]) if place else 0.0, float(value))
    return None


def complete_threshold(scores: Scores, truth: Bools, recall: float) -> float:
    """The greatest one from which on at least that share of the true is found."""
    true = np.sort(scores[truth])[::-1]
    value = true[math.ceil(recall * len(true) - 1e-9) - 1]
    below = scores[scores < value]
    return _between(float(below.max()) if len(below) else 0.0, float(value))


def _between(low: float, high: float) -> float:
    """A short number above low, at most high."""
    for digits in range(2, 16):
        short = round((low + high) / 2, digits)
        if low < short <= high:
            return short
    return high


def _held_out(scores: Scores, truth: Bools, choose: Chooser) -> Threshold:
    """The threshold of all, measured by those of the folds."""
    taken = np.zeros(len(scores), bool)
    for held in folds(truth):
        value = choose(scores[~held], truth[~held])
        if value is not None:
            taken[held] = scores[held] >= value
    right = int((taken & truth).sum())
    return Threshold(choose(scores, truth), proportion(right, int(taken.sum())), proportion(right, int(truth.sum())))


def folds(truth: Bools) -> Iterator[Bools]:
    """Each picture in one of them; each holds its share of those that are true."""
    generator, fold = np.random.default_rng(0), np.zeros(len(truth), np.int64)
    for kind in (True, False):
        places = generator.permutation(np.flatnonzero(truth == kind))
        fold[places] = np.arange(len(places)) % FOLDS
    return (fold == number for number in range(FOLDS))


def with_thresholds(text: str, found: Iterable[LabelCalibration]) -> str:
    """The policy's TOML with the thresholds that were found, and all else, comments too, as it was. A target that is
    not reached takes its threshold out. Raises MissingExtra without tomlkit."""
    from openblip.moderation.toml import edited

    return edited(text, {("labels", each.label): each.values() for each in found if not each.too_few})
