"""Questions about where somebody is, what place it is, what the weather and the time of day are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from openblip.language import words
from openblip.language.forms import ing
from openblip.language.phrases import Mention
from openblip.train.questions.candidate import Candidate, is_or_are, per_caption, ranked, thing_name, with_article
from openblip.train.questions.parse import Parsed
from openblip.train.questions.scene import Scene

_BESIDE = set("near beside by".split()) | {"next to"}
_OVER = {"over", "across"}
_WITHIN = set("in on through into onto along down inside atop up at upon".split()) | {"on top of"} | _OVER
_NEAR = set("water ocean lake river pool fountain waterfall beach street road".split())
_WIDE = set("grass snow sand field beach street bridge road".split())
_MOVES = set(
    "run walk stand sit jump play ride swim lie slide climb leap splash wade hike ski sleep kneel rest surf "
    "bounce".split()
)
_LOOKS_ON = set("look wear watch hold throw carry stare point overlook see".split())
_WATERS = {"in the ocean", "in the lake", "in the river", "in the stream", "in the pond", "in the pool"}


def _names(mention: Mention) -> tuple[str, str]:
    return " ".join((*mention.modifiers[-1:], mention.head)), mention.head


def _place_name(mention: Mention) -> str:
    """The plain name of a place or terrain; "" where it is none."""
    for word in _names(mention):
        if found := words.PLACES.get(word) or words.TERRAIN.get(word):
            return found
    return ""


def location(preposition: str, mention: Mention) -> str:
    """ "on the beach", "in the snow", "on a bench"; "" for what is no such place."""
    if mention.count not in {1, None}:
        return ""
    name = _place_name(mention)
    if preposition in _BESIDE:
        return f"near the {name}" if name in _NEAR else ""
    if preposition not in _WITHIN or (preposition in _OVER and name not in _WIDE):
        return ""
    seat = words.SEATS.get(mention.head, "")
    if known := words.WITHIN.get(name) or words.WITHIN.get(seat):
        return known
    if seat and preposition not in {"through", "along", "down", "up"} and not mention.plural:
        side = "in" if preposition in {"in", "inside", "into"} else "at" if preposition == "at" else "on"
        return f"{words.SIDES.get(seat, side)} {with_article(seat)}"
    return ""


def where(scene: Scene) -> Iterator[Candidate]:
    """Where somebody is, and where they do what they do."""
    found: dict[tuple[str, str], list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain and event.verb not in _LOOKS_ON else ""
        for preposition, mention in event.phrases[:2]:
            answer = location(preposition, mention)
            if name and answer and mention.head not in {"bus", "car"}:
                found[name, ""].append((caption, answer))
                if event.verb in _MOVES:
                    found[name, f" {ing(event.verb)}"].append((caption, answer))
    for (name, doing), given in sorted(found.items()):
        answers = _one_water(per_caption(given))
        yield Candidate("where", name + doing, (f"where {is_or_are(name)} the {name}{doing}?",), answers)


def beside(scene: Scene) -> Iterator[Candidate]:
    """What somebody is in front of, next to, over ...: asked as where they are, answered by a thing."""
    found: dict[tuple[str, str], list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        if event.verb not in _MOVES or event.objects or not event.certain or not event.phrases:
            continue
        preposition, mention = event.phrases[0]
        side = _BESIDES.get(preposition, "")
        name = scene.name(caption, event.subjects) if side else ""
        answer = thing_name(mention) if name and not mention.animate else ""
        if answer:
            found[name, f"{ing(event.verb)} {side}"].append((caption, answer))
    for (name, doing), given in sorted(found.items()):
        yield Candidate("where", doing, (f"what {is_or_are(name)} the {name} {doing}?",), per_caption(given))


_BESIDES = {
    "in front of": "in front of", "next to": "next to", "beside": "next to", "near": "near", "by": "near",
    "behind": "behind",
    "under": "under", "over": "over", "against": "against", "underneath": "under", "beneath": "under",
}  # fmt: skip


def _one_water(answers: Mapping[str, float]) -> dict[str, float]:
    """Where captions disagree which water it is, it is water."""
    waters = {answer: number for answer, number in answers.items() if answer in _WATERS}
    if len(waters) < 2:
        return dict(answers)
    kept = {answer: number for answer, number in answers.items() if answer not in waters}
    kept["in the water"] = kept.get("in the water", 0.0) + sum(waters.values())
    return ranked(kept)


def place(scene: Scene) -> Iterator[Candidate]:
    """What place the picture shows, and what somebody is standing, running ... on or in."""
    places = per_caption(
        (caption, words.PLACES[name])
        for caption in scene.captions
        for mention in caption.mentions
        for name in _names(mention)
        if name in words.PLACES and not _aside(caption, mention)
    )
    wordings = ("what place is shown?", "where was this picture taken?", "what kind of place is this?")
    yield Candidate("place", "place", wordings, {name: number for name, number in places.items() if number >= 2})
    found: dict[tuple[str, str, str], list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        if event.verb not in _MOVES or not event.certain or not event.phrases:
            continue
        preposition, mention = event.phrases[0]
        name = scene.name(caption, event.subjects)
        ground = words.TERRAIN.get(mention.head, "")
        side = _SIDES.get(preposition, "")
        if name and ground and side:
            found[name, event.verb, side].append((caption, ground))
    for (name, verb, side), given in sorted(found.items()):
        text = f"what {is_or_are(name)} the {name} {ing(verb)} {side}?"
        yield Candidate("place", f"{verb} {side}", (text,), per_caption(given))


_SIDES = {
    "in": "in",
    "on": "on",
    "through": "through",
    "across": "on",
    "over": "over",
    "into": "into",
    "down": "down",
    "along": "on",
}


def _aside(caption: Parsed, mention: Mention) -> bool:
    """Whether the place is only near, or looked at."""
    before = caption.tokens[max(0, mention.place - 1) : mention.place]
    return bool(before) and before[0] in _BESIDE | set(
        "overlooking behind above towards toward watching to from for like".split()
    )


def weather(scene: Scene) -> Iterator[Candidate]:
    """What the weather is, where a caption names it."""
    answers = _named(scene, words.WEATHER, words.WEATHER_PATTERNS)
    if len(answers) == 1 or answers.keys() == {"sunny", "clear"}:
        yield Candidate("weather", "weather", ("what is the weather like?", "how is the weather?"), answers)


def time_of_day(scene: Scene) -> Iterator[Candidate]:
    """When it is, where a caption names it."""
    answers = _named(scene, words.TIMES, words.TIME_PATTERNS)
    if len(answers) == 1 or answers.keys() == {"sunset", "evening"}:
        yield Candidate("time_of_day", "time", ("what time of day is it?", "when was this picture taken?"), answers)


_NEGATED = re.compile(r"\b(not|no|without|nightclub|night club|wind farm|wind sail)\b")


_SAID_OF_THINGS = {"day", "snowy", "evening", "night"}  # a snowy hill, evening wear, a night club: by patterns alone


def _named(scene: Scene, names: Mapping[str, str], patterns: Mapping[str, str]) -> dict[str, float]:
    found = []
    for caption in scene.captions:
        text = " ".join(caption.tokens)
        if not _NEGATED.search(text):
            told = [token for token in caption.tokens if token in names and token not in _SAID_OF_THINGS]
            found += [(caption, names[token]) for token in told]
            found += [(caption, name) for name, pattern in patterns.items() if re.search(pattern, text)]
    return per_caption(found)
