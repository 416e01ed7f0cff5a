"""The threshold below which a picture does not match its text, from pictures with texts of their own. Knows scores.
Does not know files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openblip.errors import DataError, OptionError
from openblip.image import ImageSource
from openblip.metrics.proportions import Proportion, proportion
from openblip.moderation.calibrate import Scores, complete_threshold, folds
from openblip.moderation.decide import Moderator
from openblip.moderation.policy import Policy, TextRule

if TYPE_CHECKING:
    from openblip.pipeline import Blip

LEAST = 10


@dataclass(frozen=True, slots=True)
class TextCalibration:
    """match: as in the policy. passed: of the pictures with their own texts, those that match; caught: of the same with
    the text of another, those that do not. Both are of pictures that were held out: each fifth was decided with the
    threshold that the others choose."""

    match: float
    passed: Proportion
    caught: Proportion


def calibrate_text(blip: Blip, pairs: Sequence[tuple[ImageSource, str]], passing: float = 0.95) -> TextCalibration:
    """The greatest threshold that lets that share of pictures with their own texts pass.

    pairs: pictures and their texts; each is also held against the text of another. Raises DataError where there are
    fewer than LEAST different texts, or a picture cannot be read, OptionError where passing is no share.
    """
    if not 0 < passing <= 1:
        raise OptionError(f"passing={passing} is out of range: give a share above 0, up to 1")
    if len({text for _, text in pairs}) < LEAST:
        raise DataError(f"{len(pairs)} pictures with texts are too few: give at least {LEAST} with different texts")
    others = texts_of_others([text for _, text in pairs])
    moderator = Moderator(blip, Policy((), TextRule(0.0)))
    own = _scores(moderator, pairs)
    strange = _scores(moderator, [(image, text) for (image, _), text in zip(pairs, others, strict=True)])
    every, passed, caught = np.ones(len(own), bool), 0, 0
    for held in folds(every):
        threshold = complete_threshold(own[~held], every[~held], passing)
        passed += int((own[held] >= threshold).sum())
        caught += int((strange[held] < threshold).sum())
    count = len(own)
    return TextCalibration(
        complete_threshold(own, every, passing), proportion(passed, count), proportion(caught, count)
    )


def texts_of_others(texts: Sequence[str]) -> list[str]:
    """For each the first that differs from it, from half of all further on, around the end."""
    count, half = len(texts), len(texts) // 2
    return [
        next(text for step in range(count) if (text := texts[(place + half + step) % count]) != own)
        for place, own in enumerate(texts)
    ]


def _scores(moderator: Moderator, pairs: Sequence[tuple[ImageSource, str]]) -> Scores:
    """Probabilities of a match, [pairs]."""
    found = []
    for moderated in moderator.decide_each(pairs):
        if moderated.decision is None or moderated.decision.text_match is None:
            raise DataError(f"{moderated.error or 'a text is empty'}: leave that picture out")
        found.append(moderated.decision.text_match.probability)
    return np.array(found, np.float64)
