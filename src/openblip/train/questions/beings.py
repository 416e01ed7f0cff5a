"""Questions about who and which animal is there, and how many of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from openblip.language import words
from openblip.language.forms import ing, plural
from openblip.language.phrases import Mention
from openblip.train.questions.candidate import Candidate, per_caption, ranked, with_article
from openblip.train.questions.parse import Event, Parsed
from openblip.train.questions.scene import Scene, total
from openblip.train.questions.whereabouts import location

KIND = "animal_or_person"


def who(scene: Scene) -> Iterator[Candidate]:
    """animal_or_person: which animal there is, who there is, and who does what."""
    animals = per_caption(
        (caption, mention.animal) for caption in scene.captions for mention in caption.mentions if mention.animal
    )
    named = {name: count for name, count in animals.items() if name != "animal"}
    if len(named) == 1 and sum(animals.values()) >= 2:
        wordings = ("which animal is in the picture?", "what animal is this?", "what kind of animal is shown?")
        yield Candidate(KIND, "animal", wordings, named)
    people = scene.people
    if people.single and len(people.mentions) >= 3 and not named:
        labels = names_of_one(people.labels)
        if labels and max(labels.values()) >= 2:
            yield Candidate(KIND, "person", ("who is in the picture?", "who is shown in the photo?"), labels)
    yield from _who_does(scene)


def names_of_one(labels: Counter[str]) -> dict[str, float]:
    """The names of one person that do not contradict one another; none where too many do."""
    named = {label: float(count) for label, count in labels.items() if label in words.TITLES}
    for groups in (words.SEX, words.AGE):
        sides = Counter(
            {side: sum(named.get(label, 0) for label in groups if groups[label] == side) for side in groups.values()}
        )
        (_, most), (side, least) = sides.most_common(2)
        if least * 3 > most:
            return {}
        named = {label: count for label, count in named.items() if groups.get(label) != side}
    return ranked(named)


def _who_does(scene: Scene) -> Iterator[Candidate]:
    asked: dict[str, list[tuple[Parsed, Mention]]] = defaultdict(list)
    for caption, event in scene.events():
        phrase = _deed(event) if event.certain and len(event.subjects) == 1 and event.subjects[0].count == 1 else ""
        if phrase:
            asked[phrase].append((caption, event.subjects[0]))
    for phrase, given in sorted(asked.items()):
        names = {scene.name(caption, (mention,)) for caption, mention in given}
        name = names.pop()
        if (
            names
            or name in {"", "animal"}
            or not _others(scene, name).isdisjoint((phrase.split()[0], phrase.split()[-1]))
        ):
            continue
        if given[0][1].person:
            answers = names_of_one(scene.people.labels) if scene.people.single else {name: float(len(given))}
            yield Candidate(KIND, "who", (f"who is {phrase}?",), answers if name in words.TITLES | {"person"} else {})
        else:
            wordings = (f"what animal is {phrase}?", f"which animal is {phrase}?")
            yield Candidate(KIND, "which animal", wordings, {name: float(len(given))})


def _others(scene: Scene, name: str) -> set[str]:
    """What somebody else, or somebody unclear, does and wears."""
    others = [event for caption, event in scene.events() if scene.name(caption, event.subjects) != name]
    done = {ing(event.verb) for event in others if event.verb and not event.verb.endswith("*")} - {"wearing"}
    return done | {words.GARMENTS.get(thing.head, "") for event in others for thing in _worn(event)}


_SAY_LITTLE = set("have be seem get go do try appear put take make use give".split())


def _deed(event: Event) -> str:
    """What is done in a few words, "riding the bike", "running in the snow", "wearing a red hat"; "" where it does not
    say enough."""
    if event.verb in {"", "wear"}:
        return _wearing(event)
    if event.verb in _SAY_LITTLE or event.verb.endswith("*"):
        return ""
    verb = ing(event.verb)
    if len(event.objects) == 1 and not event.particle:
        thing = event.objects[0]
        known = thing.head in words.THINGS or thing.head in words.RIDDEN or thing.head in words.VEHICLES
        return f"{verb} the {thing.head}" if known and not thing.animate and not thing.plural else ""
    if not event.objects and not event.particle and event.phrases:
        answer = location(*event.phrases[0])
        return f"{verb} {answer}" if answer else ""
    return ""


def _worn(event: Event) -> list[Mention]:
    if event.verb == "wear":
        return list(event.objects)
    return [noun for preposition, noun in event.phrases if preposition == "in" and noun.worn and not event.verb]


def _wearing(event: Event) -> str:
    worn = _worn(event)
    garment = words.GARMENTS.get(worn[0].head, "") if len(worn) == 1 else ""
    if not garment or (garment in {"shirt", "outfit"} and not worn[0].colours):
        return ""
    described = f"{' and '.join(worn[0].colours)} {garment}".strip()
    return f"wearing {described if garment in words.PAIRS else with_article(described)}"


def count(scene: Scene) -> Iterator[Candidate]:
    """How many people, men, women, dogs ... there are, where at least two captions say so and hardly any other."""
    casts = [("people", scene.people)] + [
        (plural(kind), cast) for kind, cast in scene.animals.items() if kind != "animal"
    ]
    for name, cast in casts:
        if name != "people" or len(cast.mentions) >= 3:
            yield Candidate("count", name, _how_many(name), _numbers(cast.totals))
    for label in ("man", "woman", "boy", "girl", "child"):
        totals = [
            total([mention for mention in mentions if mention.person == label])
            for _, mentions in scene.people.mentions
            if any(mention.person == label for mention in mentions)
        ]
        given = _numbers(totals)
        if given and max(given.values()) >= 3 and _nobody_else(scene, label):
            yield Candidate("count", plural(label), _how_many(plural(label)), given)


_NOT_COUNTED = {
    "man": {"woman", "girl", "boy"}, "woman": {"man", "boy", "girl"}, "boy": {"girl", "woman", "man"},
    "girl": {"boy", "man", "woman"}, "child": {"man", "woman"},
}  # fmt: skip


def _nobody_else(scene: Scene, label: str) -> bool:
    """Whether no person of the picture is called in a way that leaves open whether they count too."""
    return all(other == label or other in _NOT_COUNTED[label] for other in scene.people.labels)


def _numbers(totals: list[int]) -> dict[str, float]:
    if len(totals) < 2:
        return {}
    number, times = Counter(totals).most_common(1)[0]
    if number >= len(words.NUMBER_WORDS) or max(totals) > number or times < 2 or times / len(totals) < 0.75:
        return {}  # whoever counts more has seen more
    return {words.NUMBER_WORDS[number]: float(times)}


def _how_many(name: str) -> tuple[str, ...]:
    return f"how many {name} are there?", f"how many {name} are in the picture?"
