"""Questions about what somebody does, to what, what they hold and what they ride."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from openblip.language import words
from openblip.language.forms import ing, singular
from openblip.language.phrases import Mention
from openblip.train.questions.candidate import (
    Candidate,
    as_many,
    is_or_are,
    many,
    per_caption,
    thing_name,
    with_article,
)
from openblip.train.questions.parse import Event, Parsed
from openblip.train.questions.scene import Scene

_Given = dict[tuple[str, str], list[tuple[Parsed, str]]]


def vehicle(scene: Scene) -> Iterator[Candidate]:
    """Which vehicle there is, and what somebody rides."""
    named = _specific(
        per_caption(
            (caption, words.VEHICLES[mention.head])
            for caption in scene.captions
            for mention in caption.mentions
            if mention.head in words.VEHICLES
        )
    )
    if len(named) == 1 and max(named.values()) >= 2 and not {"toy", "toys", "model"} & scene.words:
        wordings = ("which vehicle is in the picture?", "what vehicle is this?", "what kind of vehicle is shown?")
        yield Candidate("vehicle", "vehicle", wordings, named)
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        person = event.certain and all(each.person for each in event.subjects)
        name = scene.name(caption, event.subjects) if person else ""
        thing = _mount(event)
        if name and thing:
            found[name].append((caption, thing))
    for name, given in sorted(found.items()):
        answers = _specific(per_caption(given))
        if len(answers) == 1:
            yield Candidate("vehicle", "ride", (f"what {is_or_are(name)} the {name} riding?",), answers)


def _mount(event: Event) -> str:
    """What the event's subject rides, sits on to ride, or "is on"."""
    ridden = [*event.objects] if event.verb == "ride" else []
    if event.verb in {"ride", ""}:
        ridden += [noun for preposition, noun in event.phrases if preposition == "on"]
    for thing in ridden[:1]:
        on_it = words.VEHICLES.get(thing.head) or words.RIDDEN.get(thing.head)
        if on_it and (event.verb or on_it in _RIDDEN_WITHOUT_WORDS):
            return as_many(on_it, several=thing.written != thing.head)
    return ""


_RIDDEN_WITHOUT_WORDS = set(
    "bike motorcycle skateboard scooter horse unicycle tricycle atv surfboard snowboard camel elephant".split()
)


def _specific(answers: Mapping[str, float]) -> dict[str, float]:
    """A bike beside a motorcycle is that motorcycle, a vehicle whatever else is named."""
    kept = {name: count for name, count in answers.items() if name != "vehicle"}
    for special, general in (
        ("motorcycle", {"bike"}), ("snowmobile", {"bike", "car", "motorcycle"}),
        ("atv", {"bike", "car", "motorcycle"}),
        ("canoe", {"boat"}), ("kayak", {"boat"}), ("raft", {"boat"}), ("jet ski", {"boat"}), ("surfboard", {"wave"}),
        ("tricycle", {"bike"}), ("unicycle", {"bike"}), ("van", {"car"}), ("ambulance", {"car", "truck", "van"}),
    ):  # fmt: skip
        if special in kept:
            kept = {name: count for name, count in kept.items() if name not in general}
    return kept


def holding(scene: Scene) -> Iterator[Candidate]:
    """What somebody holds, and what a dog has in its mouth."""
    found: _Given = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain else ""
        if not name:
            continue
        mouth = bool(event.subjects[0].animal) and any(noun.head == "mouth" for _, noun in event.phrases)
        for thing in _held(event, mouth=mouth):
            if answer := thing_name(thing):
                found[name, "mouth" if mouth else "hold"].append((caption, answer))
    for (name, how), given in sorted(found.items()):
        if how == "hold":
            wordings = tuple(f"what {is_or_are(name)} the {name} {verb}?" for verb in ("holding", "carrying"))
        elif many(name):
            continue
        else:
            wordings = (f"what does the {name} have in its mouth?", f"what is in the {name}'s mouth?")
        yield Candidate("holding", f"{name} {how}", wordings, _without_toys(per_caption(given)))


def _held(event: Event, *, mouth: bool) -> list[Mention]:
    with_it = [noun for preposition, noun in event.phrases if preposition == "with" and noun.head != "mouth"]
    if event.verb in {"hold", "carry"}:
        return list(event.objects)
    if mouth:
        return with_it
    hand = event.subjects[0].person and any(noun.head in {"hand", "arm"} for _, noun in event.phrases)
    return [noun for noun in with_it if noun.head in words.THINGS] if hand else []


def _without_toys(answers: Mapping[str, float]) -> dict[str, float]:
    """A toy beside something told more precisely is that."""
    return {name: count for name, count in answers.items() if name != "toy"} or dict(answers)


_WITH_OBJECT = set("play ride catch chase throw kick eat read climb fly push pull hug kiss hit bite drink dig".split())
_ASKED_OBJECT = _WITH_OBJECT - {"ride", "climb", "dig", "fly"} | {
    "lick",
    "watch",
    "drive",
    "paint",
    "wave",
    "smell",
    "sniff",
    "swing",
}
_PLAYED = set(
    "soccer football tennis basketball baseball hockey volleyball rugby guitar frisbee cricket softball golf "
    "violin drums music "
    "fetch polo accordion piano flute".split()
)
_GAMES = set("soccer football tennis basketball baseball hockey volleyball rugby cricket softball golf polo".split())
_UNCOUNTED = set(
    "food ice snow water fruit corn bread candy grass hay sand dirt wood paper pizza beer soda coffee wine milk".split()
)


def doing(scene: Scene) -> Iterator[Candidate]:
    """What somebody is doing, and to what; which game is played."""
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    to_what: _Given = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain else ""
        if not name:
            continue
        if answer := _activity(event):
            found[name].append((caption, answer))
        if event.verb == "play" and not event.objects:
            for preposition, thing in event.phrases[:1]:
                if preposition == "with" and (answer := thing_name(thing)):
                    to_what[name, "play with"].append((caption, answer))
        if event.verb in _ASKED_OBJECT and len(event.objects) == 1:
            thing = event.objects[0]
            answer = thing_name(thing) if event.verb != "play" else thing.head if thing.head in _PLAYED else ""
            if answer:
                to_what[name, event.verb].append((caption, answer))
    for name, given in sorted(found.items()):
        answers = _without_contradictions(per_caption(given))
        if sum(answers.values()) >= 2:
            yield Candidate("doing", name, (f"what {is_or_are(name)} the {name} doing?",), answers)
    for (name, verb), given in sorted(to_what.items()):
        first, _, rest = verb.partition(" ")
        wordings = (f"what {is_or_are(name)} the {name} {' '.join(filter(None, (ing(first), rest)))}?",)
        yield Candidate("doing", f"{verb} what", wordings, _without_toys(per_caption(given)))
    yield from _game(scene)


def _game(scene: Scene) -> Iterator[Candidate]:
    games = per_caption((caption, token) for caption in scene.captions for token in caption.tokens if token in _GAMES)
    if len(games) == 1 and max(games.values()) >= 2 and scene.people.mentions and not scene.animals:
        yield Candidate("doing", "game", ("what sport is being played?", "what game are they playing?"), games)


def _activity(event: Event) -> str:
    """ "running", "riding a bike", "playing soccer"; "" for a verb that says too little."""
    verb = ing(event.verb) if event.verb else ""
    if event.objects and event.verb in _WITH_OBJECT:
        thing = event.objects[0]
        if event.verb == "play":
            return f"{verb} {thing.head}" if thing.head in _PLAYED else verb
        if event.verb == "ride":
            ridden = words.VEHICLES.get(thing.head) or words.RIDDEN.get(thing.head)
            return f"{verb} {with_article(singular(ridden))}" if ridden else ""
        name = thing_name(thing)
        if name and not thing.plural and " " not in name:
            return f"{verb} {name}" if name in _UNCOUNTED else f"{verb} {with_article(name)}"
    if event.verb not in words.ALONE or (event.objects and event.verb in {"swing", "fly", "drive", "paint"}):
        return ""
    return verb


def _without_contradictions(answers: Mapping[str, float]) -> dict[str, float]:
    """Of postures and ways to move that exclude one another the one that most captions name; none of all on a tie."""
    named = {answer: number for answer, number in answers.items() if answer in _STATES}
    if len(named) < 2:
        return dict(answers)
    best, second = sorted(named, key=lambda answer: (-named[answer], answer))[:2]
    if named[best] == named[second]:
        return {}
    return {answer: number for answer, number in answers.items() if answer not in named or answer == best}


_STATES = {ing(verb) for verb in words.STATES}
