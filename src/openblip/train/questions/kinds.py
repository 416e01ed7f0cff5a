"""The kinds of questions, and all that may be asked about one picture."""

from __future__ import annotations

from openblip.train.questions.actions import doing, holding, vehicle
from openblip.train.questions.beings import count, who
from openblip.train.questions.candidate import Candidate, answerable
from openblip.train.questions.looks import colour, wearing
from openblip.train.questions.scene import Scene
from openblip.train.questions.whereabouts import beside, place, time_of_day, weather, where

KINDS = (
    "animal_or_person", "count", "colour", "where", "place", "weather", "time_of_day", "vehicle", "holding",
    "wearing",
    "doing", "exists",
)  # fmt: skip
_RULES = (who, count, colour, where, beside, place, weather, time_of_day, vehicle, holding, wearing, doing)


def candidates(scene: Scene) -> list[Candidate]:
    """Every question but "exists" that the captions of a picture answer, in a fixed order."""
    return [candidate for rule in _RULES for candidate in rule(scene) if answerable(candidate)]
