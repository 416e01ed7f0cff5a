"""Is there any X: which X may be asked about, where the answer is yes, and where it is no though X often goes along
with what is there. Knows the counts of a training set, and no pictures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np

from openblip.language import words
from openblip.language.forms import plural, singular
from openblip.train.questions import company
from openblip.train.questions.candidate import Candidate
from openblip.train.questions.kinds import candidates
from openblip.train.questions.scene import Scene, may_be

OBJECTS: dict[str, frozenset[str]] = {}
"""Name -> every word that stands for it."""
for _table in (words.ANIMALS, words.VEHICLES, words.RIDDEN, words.THINGS, words.PLACES, words.TERRAIN):
    for _word, _name in _table.items():
        if _name not in company.NEVER_ASKED:
            OBJECTS[_name] = OBJECTS.get(_name, frozenset()) | {_word}
for _name in ("man", "woman", "boy", "girl", "child", "baby"):
    OBJECTS[_name] = frozenset(word for word, name in words.PEOPLE.items() if name == _name)

MIN_PICTURES = 12
MIN_ANSWERS = 3
MIN_AGREEMENT = 0.7


@cache
def _names(head: str) -> frozenset[str]:
    return frozenset(name for name, meant in OBJECTS.items() if head in meant)


def present(scene: Scene) -> Counter[str]:
    """Object names -> number of captions that mention them."""
    return Counter(
        name
        for caption in scene.captions
        for name in {name for mention in caption.mentions for name in _names(mention.head)}
        if company.NOT_BESIDE.get(name, frozenset()).isdisjoint(caption.tokens)
    )


def excluded(scene: Scene) -> set[str]:
    """Objects that the picture may well show: those that any word of the captions names, resembles or could mean."""
    return {name for token in scene.words for name in _room_for(token)}


@cache
def _room_for(token: str) -> frozenset[str]:
    """The objects that may be there where a caption has this word."""
    stems = {token, *token.split(" ")}
    stems |= {singular(stem) for stem in stems}
    people = {words.PEOPLE[stem] for stem in stems if stem in words.PEOPLE}
    begun = {stem[:length] for stem in stems for length in (4, 5)}
    return frozenset(
        name
        for name in OBJECTS
        if (
            any(may_be(label, name) for label in people)
            if name in words.IN_PLAIN_WORDS
            else stems & _kin(name) or begun & _roots(name)
        )
    )


@cache
def _roots(name: str) -> frozenset[str]:
    """How words begin that have to do with the object: "skateboarder", "surfing"."""
    return frozenset(word[:5] for word in OBJECTS[name] if len(word) >= 4)


@cache
def _kin(name: str) -> frozenset[str]:
    """Words that leave open whether the object is there: its own, its hypernyms, its like, what goes with it alone."""
    own = OBJECTS[name] | {part for word in OBJECTS[name] for part in word.split()}
    groups = (word for group in company.CONFUSABLE if name in group for word in group)
    return own | frozenset(groups) | company.IMPLIED_BY.get(name, frozenset())


@dataclass(frozen=True)
class Statistics:
    """What the training captions tell about objects.

    answers: how many pictures have an answer of a kind. pictures: how many show an object, together: how many two of
    them. agreement: the chance that a caption of a picture names the object, or leaves room for it, when another one
    names it.
    """

    answers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    pictures: Mapping[str, int] = field(default_factory=dict)
    agreement: Mapping[str, float] = field(default_factory=dict)
    together: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, scenes: Iterable[Scene]) -> Statistics:
        """Count over the scenes of a training set."""
        pictures: Counter[str] = Counter()
        again: Counter[str] = Counter()
        chances: Counter[str] = Counter()
        together: Counter[tuple[str, str]] = Counter()
        answers: Counter[tuple[str, str]] = Counter()
        for scene in scenes:
            answers.update({(found.kind, answer) for found in candidates(scene) for answer in found.answers})
            there = present(scene)
            pictures.update(there.keys())
            alone = [excluded(Scene((caption,))) for caption in scene.captions]
            for name, times in there.items():
                again[name] += times * (sum(name in room for room in alone) - 1)
                chances[name] += times * (len(scene.captions) - 1)
            together.update((one, other) for one in there for other in there if one != other)
        agreement = {name: again[name] / chances[name] if chances[name] else 0.0 for name in sorted(pictures)}
        return cls(dict(answers), dict(pictures), agreement, dict(together))

    def usual(self, candidate: Candidate) -> Candidate:
        """The question without answers that one caption alone gives and hardly any other picture has: slips of the pen,
        and of the parser."""
        kept = {
            answer: count
            for answer, count in candidate.answers.items()
            if count >= 2 or self.answers.get((candidate.kind, answer), 0) >= MIN_ANSWERS
        }
        return replace(candidate, answers=kept)

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """The objects worth asking about: people mention them whenever they are there, so that silence means no."""
        return tuple(
            name
            for name in sorted(self.pictures)
            if self.pictures[name] >= MIN_PICTURES and self.agreement[name] >= MIN_AGREEMENT
        )

    def affinity(self, name: str, there: Iterable[str]) -> float:
        """How much what is there makes one expect the object: the largest share of an object's pictures that show it
        too, against its share of all."""
        whole = max(sum(self.pictures.values()), 1)
        return max(
            (
                self.together.get((other, name), 0) / self.pictures[other] * whole / self.pictures[name] / 100
                for other in there
                if self.pictures.get(other, 0) >= MIN_PICTURES
            ),
            default=0.0,
        )


def balanced(
    scenes: Sequence[Scene], statistics: Statistics, wanted: int, seed: int, per_picture: int = 3
) -> list[list[tuple[str, bool, int]]]:
    """For each scene its (object, is it there, number of the wording).

    Of every object as many yes as no, in each wording too; at most `wanted` in all.
    """
    random = np.random.default_rng((seed, 7))
    there = [present(scene) for scene in scenes]
    yes: dict[str, list[int]] = defaultdict(list)
    no: dict[str, list[int]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        shut = excluded(scene)
        for name in statistics.asked:
            if there[index][name] >= 2:
                yes[name].append(index)
            elif name not in shut and (likely := statistics.affinity(name, there[index])):
                no[name].append(index)
                chance[name].append(likely)
    limit = max(wanted // 16, 2)  # no object takes more than an eighth of the pairs
    pairs: list[tuple[str, int, int]] = []
    for name in statistics.asked:
        number = min(len(yes[name]), len(no[name]), limit)
        if number:
            kept = random.choice(len(yes[name]), number, replace=False)
            weights = np.array(chance[name]) ** 2
            hard = random.choice(len(no[name]), number, replace=False, p=weights / weights.sum())
            pairs += [(name, yes[name][one], no[name][other]) for one, other in zip(kept, hard, strict=True)]
    found: list[list[tuple[str, bool, int]]] = [[] for _ in scenes]
    for place in random.permutation(len(pairs)):
        name, one, other = pairs[int(place)]
        crowded = max(len(found[one]), len(found[other])) >= 2 * per_picture
        if not crowded and wanted >= 2:
            wording = int(random.integers(len(wordings(name))))
            found[one].append((name, True, wording))
            found[other].append((name, False, wording))
            wanted -= 2
    return found


def wordings(name: str) -> tuple[str, ...]:
    """How one asks whether the object is there."""
    if name in company.UNCOUNTED:
        return f"is there any {name}?", f"is there any {name} in the picture?", f"can you see any {name}?"
    if singular(name) != name or name in words.PAIRS:
        return f"are there any {name}?", f"are there any {name} in the picture?", f"can you see any {name}?"
    article = "an" if name[0] in "aeiou" else "a"
    many = plural(name)
    return (
        f"is there {article} {name}?", f"is there {article} {name} in the picture?", f"can you see {article} {name}?",
        f"are there any {many} in the picture?",
    )  # fmt: skip
