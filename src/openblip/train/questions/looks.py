"""Questions about colours and about what somebody wears."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from openblip.language import words
from openblip.language.forms import plural, singular
from openblip.language.phrases import Mention
from openblip.train.questions.candidate import Candidate, agreed, as_many, is_or_are, many, per_caption
from openblip.train.questions.parse import Parsed
from openblip.train.questions.scene import Scene, total

_Given = list[tuple[Parsed, tuple[str, ...]]]


def colour(scene: Scene) -> Iterator[Candidate]:
    """The colour of an animal, a garment, a vehicle or a thing of which there is but one."""
    found: dict[str, _Given] = defaultdict(list)
    spoilt: set[str] = set()
    for caption in scene.captions:
        worn = _worn(scene, caption)
        seen: Counter[str] = Counter()
        for mention in caption.mentions:
            if mention.person and "blonde" in mention.colours:
                owner = scene.name(caption, (mention,))
                if owner and not many(owner):
                    found[f"{owner}'s hair"].append((caption, ("blonde",)))
            name = _coloured_thing(scene, caption, mention, worn)
            if not name:
                continue
            seen[name] += 1
            again = seen[name] > 1 and mention.determiner not in {"the", "his", "her", "its"}
            several = (
                mention.count != 1 and singular(mention.head) not in words.PAIRS and mention.head not in words.PAIRS
            )
            if again or (
                several and not (mention.animal and many(name)) and words.GARMENTS.get(mention.head) not in words.PAIRS
            ):
                spoilt.add(name)
            if mention.colours:
                found[name].append((caption, mention.colours))
    for name, given in sorted(found.items()):
        one_toy = name not in words.TOYS or _one_toy_of_one_colour(scene)
        if name not in spoilt and one_toy:
            verb = "are" if name.rpartition("'s ")[2] in words.PAIRS or many(name) else "is"
            wordings = tuple(f"what {word} {verb} the {name}?" for word in ("colour", "color"))
            yield Candidate("colour", name, wordings, colours(given))


def _one_toy_of_one_colour(scene: Scene) -> bool:
    """Whether all that could be the one ball, toy or "object" of the picture has one colour."""
    given: _Given = []
    for caption in scene.captions:
        toys = [
            each for each in caption.mentions if each.head in words.TOYS or each.head in {"object", "item", "thing"}
        ]
        if len(toys) > 1:
            return False
        given += [(caption, toy.colours) for toy in toys if toy.colours]
    return bool(colours(given))


def _worn(scene: Scene, caption: Parsed) -> dict[int, str]:
    """Garments of a caption by their place -> who wears them; "" where that is unclear."""
    owners: dict[int, str] = {}
    for event in caption.events:
        for thing in (*event.objects, *(noun for _, noun in event.phrases)):
            if thing.worn:
                alone = len(event.subjects) == 1 and event.certain and event.verb in {"", "wear"}
                owners[thing.place] = scene.name(caption, event.subjects) if alone else ""
    return owners


_NOT_ONE_COLOUR = set(
    "hair floor ground air fire waterfall bubble fish goal stairs step steps wave fountain bridge tree leaf "
    "statue".split()
)


def _coloured_thing(scene: Scene, caption: Parsed, mention: Mention, worn: Mapping[int, str]) -> str:
    """How a question names the mention; "" where it is nothing to ask the colour of."""
    if mention.animal and mention.animal != "animal":
        cast = scene.animals.get(mention.animal)
        whole = (
            cast is not None
            and total((mention,)) > 1
            and cast.several
            and scene.name(caption, (mention,)) == plural(mention.animal)
        )
        return plural(mention.animal) if whole else mention.animal
    if mention.head in words.GARMENTS:
        garment = words.GARMENTS[mention.head]
        owner = scene.name(caption, (mention.owner,)) if mention.owner else worn.get(mention.place, "")
        wears_it = owner in words.PEOPLE.values() or garment in words.WORN_BY_DOGS
        if mention.written == "clothes":
            return f"{owner} wearing" if owner in words.PEOPLE.values() and not many(owner) else ""
        return f"{owner}'s {garment}" if owner and wears_it and not many(owner) and garment != "outfit" else ""
    if mention.head == "hair":
        owner = scene.name(caption, (mention.owner,)) if mention.owner else worn.get(mention.place, "")
        return f"{owner}'s hair" if owner in words.PEOPLE.values() and not many(owner) else ""
    if mention.head in _NOT_ONE_COLOUR:
        return ""
    if mention.head in words.VEHICLES:
        return words.VEHICLES[mention.head] if mention.head != "vehicle" else ""
    for table in (words.THINGS, words.SEATS, words.RIDDEN):
        if mention.head in table and mention.head not in words.PLACES and mention.head not in words.TERRAIN:
            return mention.head
    return ""


def colours(given: _Given) -> dict[str, float]:
    """The colours with the captions that name them, where these agree; black and white is one answer."""
    if any(len(named) > 2 for _, named in given):
        return {}
    counted = per_caption((caption, " and ".join(sorted(named))) for caption, named in given)
    best = next(iter(counted), "")
    return counted if all(_agree(answer, best) for answer in counted) else {}


def _agree(one: str, other: str) -> bool:
    """Whether two people may call the same thing so: "brown" and "tan", "white" and "black and white"."""
    first, second = set(one.split(" and ")), set(other.split(" and "))
    if first <= second or second <= first:
        return True
    if len(first) == len(second) == 2:
        return any(first ^ second <= near for near in words.NEAR_COLOURS)
    return any(first | second <= near for near in words.NEAR_COLOURS)


def wearing(scene: Scene) -> Iterator[Candidate]:
    """What somebody wears, and what on the head or over the eyes."""
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain and len(event.subjects) == 1 else ""
        if not name:
            continue
        things = list(event.objects) if event.verb == "wear" else []
        if event.verb in {"", "wear"}:
            things += [noun for preposition, noun in event.phrases if preposition in {"in", "with"}]
        for thing in things:
            garment = words.GARMENTS.get(thing.head, "")
            fits = event.subjects[0].person or garment in words.WORN_BY_DOGS
            if garment and fits and garment not in {"leash", "outfit"} and not _taken_off(caption, thing):
                found[name].append((caption, garment))
    for name, given in sorted(found.items()):
        answers = per_caption((caption, as_many(garment, several=many(name))) for caption, garment in given)
        yield Candidate("wearing", name, (f"what {is_or_are(name)} the {name} wearing?",), answers)
        if not many(name) and name in words.PEOPLE.values():
            for part, garments in (("head", words.WORN_ON_HEAD), ("eyes", words.WORN_ON_EYES)):
                there = {garment: number for garment, number in answers.items() if garment in garments}
                yield Candidate("wearing", f"{name} {part}", _ON_PART[part](name), agreed(there, 0.6) if there else {})


def _taken_off(caption: Parsed, garment: Mention) -> bool:
    following = caption.tokens[garment.place : garment.place + 6]
    return "off" in following or garment.determiner == "no" or "no" in garment.modifiers


_ON_PART = {
    "head": lambda name: (f"what is on the {name}'s head?", f"what is the {name} wearing on the head?"),
    "eyes": lambda name: (f"what is the {name} wearing over the eyes?", f"what is over the {name}'s eyes?"),
}
