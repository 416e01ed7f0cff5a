"""What may be asked about a picture: a rule a kind, each from a scene to candidates. Knows neither the other pictures of
a data set nor how many questions are wanted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from openblip.train.questions import words
from openblip.train.questions.parse import Event, Mention, Parsed, ing, plural, singular
from openblip.train.questions.scene import MANY, Scene, total

KINDS = (
    "animal_or_person", "count", "colour", "where", "place", "weather", "time_of_day", "vehicle", "holding", "wearing",
    "doing", "exists",
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A question before its wording is chosen. templates: its wordings, {} already filled in. answers: each with the
    number of captions that give it."""

    kind: str
    topic: str
    templates: tuple[str, ...]
    answers: Mapping[str, float]


def candidates(scene: Scene) -> list[Candidate]:
    """Every question but the exists questions that the captions of a picture answer, in a fixed order."""
    found: list[Candidate] = []
    for rule in (who, count, colour, where, place, weather, time_of_day, vehicle, holding, wearing, doing):
        found += rule(scene)
    return [candidate for candidate in found if answerable(candidate)]


_STEM = re.compile(r"(ning|ming|ting|ing|es|s|ed|er)$")


def _stem(word: str) -> str:
    return _STEM.sub("", singular(word)) if len(word) > 4 else singular(word)


def answerable(candidate: Candidate) -> bool:
    """Whether there is an answer of one to three words that no wording gives away."""
    asked = {_stem(word) for template in candidate.templates for word in template.rstrip("?").replace("'s", "").split()}
    spare = {"the", "a", "in", "on", "at", "and", "is"}
    return bool(candidate.answers) and all(
        1 <= len(answer.split()) <= 3 and not ({_stem(word) for word in answer.split()} - spare) & asked
        for answer in candidate.answers
    )


def agreed(answers: Mapping[str, float], least_share: float) -> dict[str, float]:
    """The answers where the most frequent one has its share; none otherwise."""
    whole = sum(answers.values())
    return dict(answers) if whole and max(answers.values()) / whole >= least_share else {}


def _per_caption(pairs: Iterable[tuple[Parsed, str]]) -> dict[str, float]:
    """Answers -> number of captions that give them."""
    seen: dict[int, set[str]] = defaultdict(set)
    for caption, answer in pairs:
        seen[id(caption)].add(answer)
    counted = Counter(answer for answers in seen.values() for answer in answers)
    return {answer: float(count) for answer, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))}


def _is(name: str) -> str:
    return "are" if name == "people" or singular(name) != name else "is"


# who and which animal


def who(scene: Scene) -> Iterator[Candidate]:
    """animal_or_person: which animal there is, who there is, and who does what."""
    animals = _per_caption(
        (caption, mention.animal) for caption in scene.captions for mention in caption.mentions if mention.animal
    )
    named = {name: count for name, count in animals.items() if name != "animal"}
    if len(named) == 1 and sum(animals.values()) >= 2:
        yield Candidate(
            "animal_or_person", "animal",
            ("which animal is in the picture?", "what animal is this?", "what kind of animal is shown?"), named,
        )  # fmt: skip
    people = scene.people
    if people.single and len(people.mentions) >= 3 and not named:
        labels = _names_of_one(people.labels())
        if labels:
            yield Candidate(
                "animal_or_person", "person", ("who is in the picture?", "who is shown in the photo?"), labels
            )
    yield from _who_does(scene)


def _names_of_one(labels: Counter[str]) -> dict[str, float]:
    """The names of one person that do not contradict one another; none where they do."""
    plain = {label: float(count) for label, count in labels.items() if label in words.IN_PLAIN_WORDS - {"people"}}
    sexes = Counter({sex: sum(n for label, n in plain.items() if words.SEX.get(label) == sex) for sex in "mf"})
    if min(sexes["m"], sexes["f"]) > 0:
        return {}
    named = {label: count for label, count in plain.items() if label != "person"}
    return agreed(named, 0.5)


def _who_does(scene: Scene) -> Iterator[Candidate]:
    asked: dict[str, list[tuple[Parsed, Mention]]] = defaultdict(list)
    for caption, event in scene.events():
        if len(event.subjects) != 1 or not event.certain or event.subjects[0].count != 1:
            continue
        phrase = _deed(event)
        if phrase:
            asked[phrase].append((caption, event.subjects[0]))
    for phrase, given in sorted(asked.items()):
        labels = Counter(_plain(mention) for _, mention in given)
        name = scene.name(given[0][0], (given[0][1],))
        if not name or "" in labels or any(scene.name(caption, (mention,)) != name for caption, mention in given):
            continue
        if phrase.split()[0] in _deeds_of_others(scene, name):
            continue
        answers = {"dog" if name == "dog" else name: float(len(given))}
        if name in {"person", "animal"}:
            continue
        if given[0][1].person:
            answers = _names_of_one(scene.people.labels()) if scene.people.single else {name: float(len(given))}
            templates: tuple[str, ...] = (f"who is {phrase}?",)
        else:
            templates = (f"what animal is {phrase}?", f"which animal is {phrase}?")
        if answers:
            yield Candidate("animal_or_person", phrase, templates, answers)


def _plain(mention: Mention) -> str:
    return mention.person or mention.animal


def _deeds_of_others(scene: Scene, name: str) -> set[str]:
    """What somebody else, or somebody unclear, is doing."""
    return {
        ing(event.verb)
        for caption, event in scene.events()
        if event.verb and not event.verb.endswith("*") and scene.name(caption, event.subjects) != name
    }


def _deed(event: Event) -> str:
    """"riding the bike", "running in the snow"; "" where it does not say enough."""
    if event.verb in {"", "have", "be", "wear", "seem", "get", "go", "do", "try", "appear"} or event.verb.endswith("*"):
        return ""
    verb = ing(event.verb)
    if len(event.objects) == 1 and not event.particle:
        thing = event.objects[0]
        if thing.animate or thing.head not in words.THINGS and thing.head not in words.RIDDEN and thing.head not in words.VEHICLES:
            return ""
        return f"{verb} the {thing.head}" if not thing.plural else ""
    if not event.objects and not event.particle and event.phrases:
        answer = location(*event.phrases[0])
        return f"{verb} {answer}" if answer else ""
    return ""


# count


def count(scene: Scene) -> Iterator[Candidate]:
    """How many people, men, women, dogs ... there are, where at least two captions say so and hardly any other."""
    casts = [("people", scene.people)] + [(plural(kind), cast) for kind, cast in scene.animals.items() if kind != "animal"]
    for name, cast in casts:
        given = _numbers(cast.totals)
        if given and (name != "people" or len(cast.mentions) >= 3):
            yield Candidate("count", name, _how_many(name), given)
    for label in ("man", "woman", "boy", "girl", "child"):
        totals = [
            total([mention for mention in mentions if mention.person == label])
            for _, mentions in scene.people.mentions
            if any(mention.person == label for mention in mentions)
        ]
        given = _numbers(totals)
        if given and max(given.values()) >= 3 and _nobody_else(scene, label):
            yield Candidate("count", plural(label), _how_many(plural(label)), given)


def _nobody_else(scene: Scene, label: str) -> bool:
    """Whether no person of the picture is called in a way that leaves open whether they count too."""
    sure = {"man": {"woman", "girl"}, "woman": {"man", "boy"}, "boy": {"girl", "woman"}, "girl": {"boy", "man"}, "child": set()}
    return all(other == label or other in sure[label] for other in scene.people.labels())


def _numbers(totals: list[int]) -> dict[str, float]:
    given = Counter(totals)
    if len(totals) < 2 or not given:
        return {}
    number, times = given.most_common(1)[0]
    if number == MANY or times < 2 or number >= len(words.NUMBER_WORDS) or times / len(totals) < 0.75:
        return {}
    return {words.NUMBER_WORDS[number]: float(times)}


def _how_many(name: str) -> tuple[str, ...]:
    return f"how many {name} are there?", f"how many {name} are in the picture?"


# colour


def colour(scene: Scene) -> Iterator[Candidate]:
    """The colour of an animal, a garment, a vehicle or a thing of which there is but one."""
    found: dict[str, list[tuple[Parsed, tuple[str, ...]]]] = defaultdict(list)
    spoilt: set[str] = set()
    for caption in scene.captions:
        worn = _worn(scene, caption)
        seen: Counter[str] = Counter()
        for mention in caption.mentions:
            name = _coloured_thing(scene, caption, mention, worn)
            if not name:
                continue
            seen[name] += 1
            if seen[name] > 1 and mention.determiner not in {"the", "his", "her", "its"}:
                spoilt.add(name)
            if mention.count != 1 and mention.head not in words.PAIRS and singular(mention.written) not in words.PAIRS:
                spoilt.add(name)
            if mention.colours:
                found[name].append((caption, mention.colours))
    for name, given in sorted(found.items()):
        answers = _colours(given)
        if name in spoilt or not answers:
            continue
        verb = "are" if name.split()[-1] in words.PAIRS or singular(name.split()[-1]) in words.PAIRS else "is"
        yield Candidate("colour", name, tuple(f"what {word} {verb} the {name}?" for word in ("colour", "color")), answers)


def _worn(scene: Scene, caption: Parsed) -> dict[int, str]:
    """Garments of a caption by their place -> who wears them; "" where that is unclear."""
    owners: dict[int, str] = {}
    for event in caption.events:
        for thing in (*event.objects, *(noun for _, noun in event.phrases)):
            if thing.head in words.GARMENTS:
                alone = len(event.subjects) == 1 and event.certain
                name = scene.name(caption, event.subjects) if alone else ""
                owners[thing.place] = name
    return owners


def _coloured_thing(scene: Scene, caption: Parsed, mention: Mention, worn: Mapping[int, str]) -> str:
    """How a question names the mention; "" where it is nothing to ask the colour of."""
    if mention.animal and mention.animal != "animal":
        return mention.animal
    if mention.head in words.GARMENTS:
        garment = words.GARMENTS[mention.head]
        owner = scene.name(caption, (mention.owner,)) if mention.owner else worn.get(mention.place, "")
        if owner and singular(owner) == owner and owner != "people":
            return f"{owner}'s {garment}"
        return ""
    for table in (words.VEHICLES, words.THINGS, words.SEATS):
        if mention.head in table and mention.head not in words.PLACES and mention.head not in words.TERRAIN:
            return mention.head if mention.count == 1 else singular(mention.written)
    return ""


def _colours(given: list[tuple[Parsed, tuple[str, ...]]]) -> dict[str, float]:
    """The colours with the captions that name them, where these agree; black and white is one answer."""
    counted = _per_caption((caption, " and ".join(sorted(colours))) for caption, colours in given if len(colours) <= 2)
    if not counted:
        return {}
    best = next(iter(counted))
    agreeing = {answer: count for answer, count in counted.items() if _agree(answer, best)}
    return agreeing if sum(agreeing.values()) == sum(counted.values()) else {}


def _agree(one: str, other: str) -> bool:
    first, second = set(one.split(" and ")), set(other.split(" and "))
    if first & second:
        return True
    return any(first | second <= near for near in words.NEAR_COLOURS)


# where and what place

_BESIDE = {"near", "beside", "next to", "by"}
_WITHIN = {"in", "on", "through", "into", "onto", "across", "along", "down", "over", "inside", "atop", "on top of", "up", "at", "upon"}
_ARTICLE_FREE = {"midair": "in the air"}


def _place_name(mention: Mention) -> str:
    """The plain name of a place or terrain; "" where it is none."""
    for word in (" ".join((*mention.modifiers[-1:], mention.head)), mention.head):
        if word in words.PLACES:
            return words.PLACES[word]
        if word in words.TERRAIN:
            return words.TERRAIN[word]
    return ""


def location(preposition: str, mention: Mention) -> str:
    """"on the beach", "in the snow", "on a bench"; "" for what is no such place."""
    if mention.count not in {1, None}:
        return ""
    name = _place_name(mention)
    if preposition in _BESIDE:
        near = name if name in {"water", "ocean", "lake", "river", "pool", "fountain", "waterfall", "beach", "street", "road"} else ""
        return f"near the {near}" if near else ""
    if preposition not in _WITHIN:
        return ""
    if preposition in {"over", "across"} and name not in {"grass", "snow", "sand", "field", "beach", "street", "bridge", "road"}:
        return ""
    if name and name in words.WITHIN:
        return words.WITHIN[name]
    seat = words.SEATS.get(mention.head, "")
    if seat in words.WITHIN:
        return words.WITHIN[seat]
    if seat and preposition in {"in", "on", "at", "inside", "atop", "on top of", "onto", "into"} and not mention.plural:
        side = "in" if preposition in {"in", "inside", "into"} else "at" if preposition == "at" else "on"
        return f"{side} {_article(seat)} {seat}"
    return ""


def _article(noun: str) -> str:
    return "the" if noun in {"stairs", "ground", "floor", "air"} else "an" if noun[0] in "aeiou" else "a"


def where(scene: Scene) -> Iterator[Candidate]:
    """Where somebody is."""
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain else ""
        if not name or event.verb in {"look", "wear", "watch", "hold", "throw", "carry", "stare", "point", "overlook"}:
            continue
        for preposition, mention in event.phrases[:2]:
            answer = location(preposition, mention)
            if answer and mention.head not in {"bus", "car"}:
                found[name].append((caption, answer))
    for name, given in sorted(found.items()):
        answers = _per_caption(given)
        if answers:
            yield Candidate("where", name, (f"where {_is(name)} the {name}?",), answers)


def place(scene: Scene) -> Iterator[Candidate]:
    """What place the picture shows, and what somebody is standing, running ... on or in."""
    places = _per_caption(
        (caption, words.PLACES[name])
        for caption in scene.captions
        for mention in caption.mentions
        for name in (" ".join((*mention.modifiers[-1:], mention.head)), mention.head)
        if name in words.PLACES and not _only_near(caption, mention)
    )
    if places and max(places.values()) >= 2:
        yield Candidate(
            "place", "place",
            ("what place is shown?", "where was this picture taken?", "what kind of place is this?"),
            {name: number for name, number in places.items() if number >= 2},
        )  # fmt: skip
    found: dict[tuple[str, str, str], list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        if event.verb not in _MOVES or not event.certain or not event.phrases:
            continue
        preposition, mention = event.phrases[0]
        name = scene.name(caption, event.subjects)
        ground = words.TERRAIN.get(mention.head, "")
        if name and ground and preposition in {"in", "on", "through", "across", "over", "into", "down", "along"}:
            side = {"into": "in", "across": "on", "along": "on"}.get(preposition, preposition)
            found[name, event.verb, side].append((caption, ground))
    for (name, verb, side), given in sorted(found.items()):
        answers = _per_caption(given)
        if answers:
            yield Candidate("place", f"{name} {verb} {side}", (f"what {_is(name)} the {name} {ing(verb)} {side}?",), answers)


_MOVES = {"run", "walk", "stand", "sit", "jump", "play", "ride", "swim", "lie", "slide", "climb", "leap", "splash", "wade", "hike", "ski"}


def _only_near(caption: Parsed, mention: Mention) -> bool:
    before = caption.tokens[max(0, mention.place - 1) : mention.place]
    return bool(before) and before[0] in _BESIDE | {"overlooking", "behind", "above", "towards", "toward", "watching", "to"}


# weather, time of day


def weather(scene: Scene) -> Iterator[Candidate]:
    """What the weather is, where a caption names it."""
    answers = _named(scene, words.WEATHER)
    if len(answers) == 1:
        yield Candidate("weather", "weather", ("what is the weather like?", "how is the weather?"), answers)


def time_of_day(scene: Scene) -> Iterator[Candidate]:
    """When it is, where a caption names it."""
    answers = _named(scene, words.TIMES)
    if len(answers) == 1:
        yield Candidate("time_of_day", "time", ("what time of day is it?", "when was this picture taken?"), answers)


def _named(scene: Scene, names: Mapping[str, str]) -> dict[str, float]:
    return _per_caption((caption, names[token]) for caption in scene.captions for token in caption.tokens if token in names)


# vehicle


def vehicle(scene: Scene) -> Iterator[Candidate]:
    """Which vehicle there is, and what somebody rides."""
    named = _specific(
        _per_caption(
            (caption, words.VEHICLES[mention.head])
            for caption in scene.captions
            for mention in caption.mentions
            if mention.head in words.VEHICLES
        )
    )
    if len(named) == 1 and max(named.values()) >= 2:
        yield Candidate(
            "vehicle", "vehicle",
            ("which vehicle is in the picture?", "what vehicle is this?", "what kind of vehicle is shown?"), named,
        )  # fmt: skip
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        if event.verb != "ride" or not event.certain:
            continue
        name = scene.name(caption, event.subjects)
        things = [*event.objects, *(noun for preposition, noun in event.phrases if preposition in {"on", "in", "down"})]
        for thing in things[:1]:
            ridden = words.VEHICLES.get(thing.head) or words.RIDDEN.get(thing.head)
            if ridden and name:
                found[name].append((caption, ridden))
    for name, given in sorted(found.items()):
        answers = _specific(_per_caption(given))
        if len(answers) == 1:
            yield Candidate("vehicle", f"{name} ride", (f"what {_is(name)} the {name} riding?",), answers)


def _specific(answers: Mapping[str, float]) -> dict[str, float]:
    """A bike beside a motorcycle is that motorcycle, a vehicle whatever else is named."""
    kept = {name: count for name, count in answers.items() if name != "vehicle"}
    if "motorcycle" in kept:
        kept.pop("bike", None)
    if "snowmobile" in kept or "atv" in kept:
        for general in ("bike", "car", "motorcycle"):
            kept.pop(general, None)
    for special in ("canoe", "kayak", "raft", "jet ski"):
        if special in kept:
            kept.pop("boat", None)
    return kept


# holding, wearing, doing


def holding(scene: Scene) -> Iterator[Candidate]:
    """What somebody holds, and what a dog has in its mouth."""
    found: dict[tuple[str, str], list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain else ""
        if not name:
            continue
        mouth = any(noun.head == "mouth" for _, noun in event.phrases)
        things: list[Mention] = []
        if event.verb in {"hold", "carry"}:
            things = list(event.objects)
        elif mouth and event.subjects[0].animal:
            things = [noun for preposition, noun in event.phrases if preposition == "with" and noun.head != "mouth"]
        for thing in things:
            answer = _thing(thing)
            if answer:
                found[name, "mouth" if mouth and event.subjects[0].animal else event.verb].append((caption, answer))
    for (name, verb), given in sorted(found.items()):
        answers = _merge(_per_caption(given))
        if verb == "mouth":
            templates: tuple[str, ...] = (f"what does the {name} have in its mouth?", f"what is in the {name}'s mouth?")
        else:
            templates = (f"what {_is(name)} the {name} {ing(verb)}?",)
        if answers and (verb != "mouth" or singular(name) == name):
            yield Candidate("holding", f"{name} {verb}", templates, answers)


_NOT_HELD = {
    "something", "object", "item", "hand", "arm", "mouth", "onto", "thing", "place", "air", "it", "each", "one", "other", "sun",
    "side", "piece", "kind", "edge", "end", "type", "top", "head", "face", "position", "pose", "lot", "front", "right", "left",
}  # fmt: skip


def _thing(mention: Mention) -> str:
    """The plain name of what is held; "" where the caption does not say."""
    if mention.head in _NOT_HELD or not mention.head.isalpha() and " " not in mention.head:
        return ""
    if mention.person:
        return mention.person if mention.person in words.IN_PLAIN_WORDS else ""
    if mention.animal:
        return mention.animal
    name = words.TOYS.get(mention.head) or words.THINGS.get(mention.head) or mention.head
    if mention.plural and mention.head not in words.PAIRS:
        return plural(name)
    return name


def _merge(answers: Mapping[str, float]) -> dict[str, float]:
    """A stuffed toy is a toy, a tennis ball a ball: the general name joins the special one."""
    if len(answers) > 1:
        answers = {name: count for name, count in answers.items() if name != "toy"} if "ball" in answers else dict(answers)
    return dict(answers)


def wearing(scene: Scene) -> Iterator[Candidate]:
    """What somebody wears, and what on the head or before the eyes."""
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        if len(event.subjects) != 1 or not event.certain:
            continue
        name = scene.name(caption, event.subjects)
        things = list(event.objects) if event.verb == "wear" else []
        if event.verb in {"", "wear"}:
            things += [noun for preposition, noun in event.phrases if preposition in {"in", "with"}]
        for thing in things:
            garment = words.GARMENTS.get(thing.head, "")
            if garment and name and (event.subjects[0].person or garment in words.WORN_BY_DOGS):
                found[name].append((caption, garment))
    for name, given in sorted(found.items()):
        answers = _per_caption(given)
        plain = {garment: number for garment, number in answers.items() if garment not in {"leash", "outfit"}}
        if plain:
            yield Candidate("wearing", name, (f"what {_is(name)} the {name} wearing?",), plain)
        for part, garments in (("head", words.WORN_ON_HEAD), ("eyes", words.WORN_ON_EYES)):
            there = {garment: number for garment, number in answers.items() if garment in garments}
            if there and singular(name) == name and name != "people":
                yield Candidate("wearing", f"{name} {part}", (_ON_PART[part].format(name),), agreed(there, 0.6))


_ON_PART = {"head": "what is on the {}'s head?", "eyes": "what is the {} wearing over the eyes?"}

_NO_DEED = {
    "", "have", "be", "wear", "seem", "get", "go", "do", "try", "appear", "hold", "look", "take", "make", "use", "put", "come",
    "carry", "prepare", "attempt", "start", "show", "like", "stick", "give", "leave", "set", "help", "perform", "pretend",
    "enjoy", "wait", "cross", "follow", "pass", "reach", "face", "lead", "move", "compete", "practice",
}  # fmt: skip
_WITH_OBJECT = {"play", "ride", "catch", "chase", "throw", "kick", "eat", "read", "climb", "fly", "push", "pull", "hug", "kiss", "hit"}


def doing(scene: Scene) -> Iterator[Candidate]:
    """What somebody is doing."""
    found: dict[str, list[tuple[Parsed, str]]] = defaultdict(list)
    for caption, event in scene.events():
        name = scene.name(caption, event.subjects) if event.certain else ""
        answer = _activity(event)
        if name and answer:
            found[name].append((caption, answer))
    for name, given in sorted(found.items()):
        answers = _without_contradictions(_per_caption(given))
        if answers and sum(answers.values()) >= 2:
            yield Candidate("doing", name, (f"what {_is(name)} the {name} doing?",), answers)


_SPORTS = {"soccer", "football", "tennis", "basketball", "baseball", "hockey", "volleyball", "rugby", "guitar", "frisbee", "cricket",
           "softball", "golf", "violin", "drum", "music", "fetch", "polo"}  # fmt: skip


def _activity(event: Event) -> str:
    if event.verb in _NO_DEED or event.verb.endswith("*"):
        return ""
    verb = ing(event.verb)
    if event.objects and event.verb in _WITH_OBJECT:
        thing = event.objects[0]
        if event.verb == "play":
            return f"{verb} {thing.head}" if thing.head in _SPORTS else verb
        ridden = words.VEHICLES.get(thing.head) or words.RIDDEN.get(thing.head)
        if event.verb == "ride":
            return f"{verb} {_article(ridden)} {ridden}" if ridden and not thing.plural else ""
        name = _thing(thing)
        if name and not thing.plural and " " not in name:
            return f"{verb} {_article(name)} {name}" if name not in {"food"} else f"{verb} {name}"
        return verb
    if event.objects and event.verb in {"jump", "swing", "walk"}:
        return "" if event.verb == "swing" else verb
    return verb


def _without_contradictions(answers: Mapping[str, float]) -> dict[str, float]:
    """Of postures and ways to move that exclude one another the one that most captions name; none on a tie."""
    postures = {ing(verb): kind for verb, kind in words.STATES.items()}
    named = {answer: number for answer, number in answers.items() if answer in postures}
    if len(named) < 2:
        return dict(answers)
    first, second = sorted(named.values(), reverse=True)[:2]
    if first == second:
        return {}
    best = max(named, key=lambda answer: named[answer])
    return {answer: number for answer, number in answers.items() if answer not in named or answer == best}
