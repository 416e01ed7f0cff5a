"""Questions of a whole data set: wordings drawn, answers balanced, yes and no in step. Knows captions by key, not where
they come from.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openblip.train.questions.candidate import Candidate
from openblip.train.questions.exists import Statistics, balanced, excluded, present, wordings
from openblip.train.questions.kinds import candidates
from openblip.train.questions.scene import Scene

YES_NO_SHARE = 1 / 3
SELDOM = 10  # pictures of an answer that need no others beside them


@dataclass(frozen=True)
class Question:
    """A question about a picture.

    kind: one of `KINDS`, or "daquar". form: the exact question as the answer prior counts it. answers: each with its
    weight, the number of captions that give it; the first is the best.
    """

    kind: str
    form: str
    question: str
    answers: Mapping[str, float]


def questions_of(
    captions: Sequence[str], *, statistics: Statistics | None = None, key: str = "", seed: int = 0
) -> list[Question]:
    """The questions that one picture's captions answer, in a fixed order; the same for the same captions, key and seed.

    statistics: of a training set (`Statistics.of`); with it come questions of the kind "exists", a no for every yes.
    """
    scene = Scene.of(captions)
    random = _random(key, seed)
    asked = candidates(scene)
    if statistics is None:
        return [_worded(candidate, random) for candidate in asked]
    found = [_worded(each, random) for each in map(statistics.usual, asked) if each.answers]
    there, shut = present(scene), excluded(scene)
    yes = [name for name in statistics.asked if there[name] >= 2]
    no = sorted(
        (name for name in statistics.asked if name not in shut and not there[name]),
        key=lambda name: (-statistics.affinity(name, there), name),
    )
    for is_there, names in ((True, yes[: len(no)]), (False, no[: len(yes)])):
        found += [_exists(name, is_there, int(random.integers(len(wordings(name))))) for name in names]
    return found


def questions_of_set(scenes: Mapping[str, Scene], statistics: Statistics, seed: int = 0) -> dict[str, list[Question]]:
    """The questions of each picture of a data set, by its key.

    Of a topic that is asked often no answer takes more than half; yes/no questions are at most a third of all, and of
    each wording half yes, half no.
    """
    usual = {
        key: [each for each in map(statistics.usual, candidates(scene)) if each.answers]
        for key, scene in scenes.items()
    }
    found = _thinned(usual, seed)
    asked = sum(map(len, found.values()))
    pairs = balanced(list(scenes.values()), statistics, int(asked * YES_NO_SHARE / (1 - YES_NO_SHARE)), seed)
    questions = {}
    for (key, chosen), asks in zip(found.items(), pairs, strict=True):
        random = _random(key, seed)
        questions[key] = [_worded(candidate, random) for candidate in chosen] + [_exists(*ask) for ask in asks]
    return questions


def _thinned(found: Mapping[str, list[Candidate]], seed: int) -> dict[str, list[Candidate]]:
    """Leave out some of the answer that would rule a topic, so that looking pays."""
    places: dict[tuple[str, str], dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for key, asked in found.items():
        for place, candidate in enumerate(asked):
            places[candidate.kind, candidate.topic][next(iter(candidate.answers))].append((key, place))
    dropped: set[tuple[str, int]] = set()
    for by_answer in places.values():
        ruling = max(by_answer.values(), key=len)
        others = sum(map(len, by_answer.values())) - len(ruling)
        most = max(others, SELDOM)
        if len(ruling) > most:
            order = np.random.default_rng((seed, 5)).permutation(len(ruling))
            dropped |= {ruling[int(each)] for each in order[most:]}
    return {
        key: [candidate for place, candidate in enumerate(asked) if (key, place) not in dropped]
        for key, asked in found.items()
    }


def _random(key: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


def _worded(candidate: Candidate, random: np.random.Generator) -> Question:
    text = candidate.templates[int(random.integers(len(candidate.templates)))]
    return Question(candidate.kind, text, text, dict(candidate.answers))


def _exists(name: str, is_there: bool, wording: int) -> Question:
    text = wordings(name)[wording]
    return Question("exists", text, text, {"yes" if is_there else "no": 1.0})
