"""A question before its wording is drawn, and what all rules share. Knows no kind of question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openblip.language import words
from openblip.language.forms import plural, singular
from openblip.language.phrases import Mention
from openblip.train.questions.parse import Parsed

MAX_WORDS = 3


@dataclass(frozen=True)
class Candidate:
    """A question before its wording is drawn.

    kind: see `KINDS`. topic: what it asks about; questions of a topic share their answers. templates: its wordings.
    answers: each with the number of captions that give it, the most frequent first.
    """

    kind: str
    topic: str
    templates: tuple[str, ...]
    answers: Mapping[str, float]


_SPARE = {"the", "a", "an", "in", "on", "at", "and", "is", "near", "it"}


def _alike(one: str, other: str) -> bool:
    """Whether a word gives the other away: "dog" and "dogs", "surfer" and "surfboard"."""
    first, second = singular(one), singular(other)
    return first == second or (len(first) >= 4 and first[:4] == second[:4])


def answerable(candidate: Candidate) -> bool:
    """Whether there are answers, of one to three words each, that no wording gives away."""
    asked = {word for text in candidate.templates for word in text.rstrip("?").replace("'s", "").split()}
    return bool(candidate.answers) and all(
        1 <= len(answer.split()) <= MAX_WORDS
        and not any(_alike(word, other) for word in set(answer.split()) - _SPARE for other in asked)
        for answer in candidate.answers
    )


def agreed(answers: Mapping[str, float], least_share: float) -> dict[str, float]:
    """The answers where the most frequent one has its share; none otherwise."""
    whole = sum(answers.values())
    return ranked(answers) if whole and max(answers.values()) / whole >= least_share else {}


def ranked(answers: Mapping[str, float]) -> dict[str, float]:
    """The most frequent first, equals by the alphabet."""
    return dict(sorted(answers.items(), key=lambda item: (-item[1], item[0])))


def per_caption(pairs: Iterable[tuple[Parsed, str]]) -> dict[str, float]:
    """Answers -> number of captions that give them."""
    seen: dict[int, set[str]] = defaultdict(set)
    for caption, answer in pairs:
        seen[id(caption)].add(answer)
    counted = Counter(answer for answers in seen.values() for answer in answers)
    return ranked({answer: float(count) for answer, count in counted.items()})


def is_or_are(name: str) -> str:
    """The verb that goes with what a question calls somebody."""
    return "are" if many(name) else "is"


def many(name: str) -> bool:
    """Whether a name is of several: "dogs", "people"."""
    return name == "people" or (singular(name) != name)


def with_article(noun: str) -> str:
    """ "a bench", "an elephant", "the stairs"."""
    article = "the" if noun in {"stairs", "ground", "floor", "air"} else "an" if noun[0] in "aeiou" else "a"
    return f"{article} {noun}"


def as_many(noun: str, *, several: bool) -> str:
    """The noun in the number that is meant."""
    return plural(noun) if several else noun


_UNTOLD = set(
    "something object item hand arm mouth thing place air it each one other sun side piece kind edge end type top "
    "head face position "
    "pose lot front right left chunk bundle underwater formation section wide open stand use jaw cheek leg foot hair "
    "body back shoulder lap ear nose eye tongue tail neck weight tennis rubber corner area middle distance "
    "background crowd view direction display competition game event bundle couple bunch set finger handful "
    "container body tool gear equipment onto part stuff way".split()
) | {"each other", "one another"}  # fmt: skip


def thing_name(mention: Mention) -> str:
    """The plain name of a thing; "" where the caption does not say."""
    if (
        mention.head in _UNTOLD
        or (mention.head.endswith("ing") and mention.head not in words.THINGS)
        or not mention.head.replace(" ", "").isalpha()
    ):
        return ""
    if mention.person:
        return mention.person if mention.person in words.TITLES and not mention.plural else ""
    if mention.animal:
        return plural(mention.animal) if mention.plural else mention.animal
    name = (
        words.TOYS.get(mention.head)
        or words.THINGS.get(mention.head)
        or words.VEHICLES.get(mention.head)
        or mention.head
    )
    return plural(name) if mention.written != mention.head and name not in words.PAIRS else name
