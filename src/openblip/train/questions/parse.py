"""A caption -> who and what it mentions, and what it says of them. A shallow parser for the short, plain sentences of
captions; knows words and their order, no pictures and no questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from openblip.train.questions import words

_TOKEN = re.compile(r"[a-z0-9][a-z0-9'-]*|'s|,")
_SPELLINGS = {"gray": "grey", "blond": "blonde", "light-blue": "blue", "sun-glasses": "sunglasses", "dogs'": "dogs", "'s'": "'s"}
_IRREGULAR_PLURALS = {
    "men": "man", "women": "woman", "children": "child", "people": "people", "geese": "goose", "sheep": "sheep",
    "fish": "fish", "leaves": "leaf", "wolves": "wolf", "deer": "deer", "oxen": "ox", "mice": "mouse", "feet": "foot",
    "teeth": "tooth", "policemen": "policeman", "firemen": "fireman", "gentlemen": "gentleman", "cattle": "cattle",
    "businessmen": "businessman", "clothes": "clothes", "scarves": "scarf", "calves": "calf", "shelves": "shelf",
    "businesswomen": "businesswoman", "fishermen": "fisherman", "bus": "bus", "dress": "dress", "grass": "grass",
    "glass": "glass", "harness": "harness", "tennis": "tennis", "canvas": "canvas", "actress": "actress", "canoes": "canoe",
    "waitress": "waitress", "princess": "princess", "class": "class", "mattress": "mattress", "ties": "tie", "cowboys": "cowboy",
    "headdress": "headdress", "sundress": "sundress", "puppies": "puppy", "shoes": "shoe", "gas": "gas", "circus": "circus",
    "horses": "horse", "across": "across", "knives": "knife", "bows": "bow", "species": "species", "cross": "cross",
    "skis": "skis", "pants": "pants", "jeans": "jeans", "shorts": "shorts", "santa claus": "santa", "movies": "movie",
    "christmas": "christmas", "canvasses": "canvas", "walruses": "walrus", "lens": "lens", "moss": "moss", "toes": "toe",
    "hoodies": "hoodie", "sunglasses": "sunglasses", "glasses": "glasses", "axes": "axe", "birdies": "birdie",
    "wheelies": "wheelie", "cookies": "cookie", "hippies": "hippie", "lies": "lie", "zombies": "zombie",
}  # fmt: skip
TABLES = (
    words.ANIMALS, words.PEOPLE, words.VEHICLES, words.RIDDEN, words.GARMENTS, words.PLACES, words.TERRAIN, words.SEATS,
    words.TOYS, words.THINGS,
)  # fmt: skip
NOUNS = frozenset(word for table in TABLES for word in table)


BASES = frozenset(words.VERBS)


@dataclass(frozen=True)
class Mention:
    """One noun phrase. head: its noun, singular. count: how many, None where that is left open. definite: "the", "his".
    modifiers: what stands before the head, colours apart. owner: whose it is ("a boy 's shirt")."""

    head: str
    written: str
    plural: bool
    count: int | None
    colours: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    owner: Mention | None = None
    determiner: str = ""
    place: int = 0

    @property
    def person(self) -> str:
        """"man", "child", ...; "" where it is nobody."""
        return words.PEOPLE.get(self.head, "")

    @property
    def animal(self) -> str:
        """"dog", "horse", ...; "" where it is none."""
        return words.ANIMALS.get(self.head, "")

    @property
    def animate(self) -> bool:
        """Whether it is somebody who does things."""
        return bool(self.person or self.animal)


@dataclass(frozen=True)
class Event:
    """Somebody, what they do, to what, and where. verb: its base form, "" where a phrase alone is said of them ("a dog
    in the snow"), "wear" for all that is on them. certain: false where it might be said of somebody else."""

    subjects: tuple[Mention, ...]
    verb: str
    particle: str = ""
    objects: tuple[Mention, ...] = ()
    phrases: tuple[tuple[str, Mention], ...] = ()
    certain: bool = True


@dataclass(frozen=True)
class Parsed:
    """A caption read. tokens: its words, for looking up words alone."""

    tokens: tuple[str, ...]
    mentions: tuple[Mention, ...]
    events: tuple[Event, ...]


@cache
def singular(word: str) -> str:
    """The singular of a noun; of words that are named in the plural ("pants") the word."""
    first, _, last = word.rpartition(" ")
    if first:
        return f"{first} {singular(last)}"
    if word in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[word]
    if word in NOUNS or not word.endswith("s") or word.endswith(("ss", "us", "is")) or len(word) < 4:
        return word
    if word.endswith("ies") and word[:-1] not in NOUNS:
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1]


@cache
def plural(word: str) -> str:
    """The plural of a noun."""
    first, _, last = word.rpartition(" ")
    if first:
        return f"{first} {plural(last)}"
    if word == "person":
        return "people"
    for many, one in _IRREGULAR_PLURALS.items():
        if one == word:
            return many
    if word in words.PAIRS or word.endswith("s") and word not in {"bus", "dress"}:
        return word
    if word.endswith(("s", "sh", "ch", "x", "z")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


@cache
def ing(verb: str) -> str:
    """"run" -> "running"."""
    if verb.endswith("ing") and verb not in BASES:
        return verb
    if verb in words.IRREGULAR:
        return words.IRREGULAR[verb]
    if verb in words.DOUBLED:
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        return verb[:-1] + "ing"
    return verb + "ing"


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


ING = {ing(verb): verb for verb in words.VERBS} | {"laying": "lie", "trying": "try", "fishing": "fish"}
FINITE = {_third_person(verb): verb for verb in words.VERBS} | {"lays": "lie", "has": "have", "lies": "lie"}
_PHRASES: dict[tuple[str, ...], tuple[str, ...]] = {}


def _learn_phrases() -> None:
    for entry in filter(None, (part.strip() for line in words.PHRASES.splitlines() for part in line.split("|"))):
        phrase, found, meant = entry.partition("=")
        _PHRASES[tuple(phrase.split())] = tuple(meant.split()) if found else (phrase.replace("t - shirt", "t-shirt"),)
    for noun in NOUNS:
        if " " in noun:
            _PHRASES[tuple(noun.split())] = (noun,)
            _PHRASES[tuple(plural(noun).split())] = (plural(noun),)


_learn_phrases()
_LONGEST = max(map(len, _PHRASES))


def tokenise(caption: str) -> list[str]:
    """Lower-case words, those of several parts joined ("next to", "dirt bike"), with one spelling each."""
    text = caption.lower().replace("`", "'").replace("t - shirt", "t-shirt").replace(" - ", "-")
    tokens = []
    for token in _TOKEN.findall(text):
        token = _SPELLINGS.get(token, token)
        tokens += [token[:-2], "'s"] if token.endswith("'s") and len(token) > 2 else [token]
    joined: list[str] = []
    place = 0
    while place < len(tokens):
        for length in range(_LONGEST, 0, -1):
            phrase = tuple(tokens[place : place + length])
            if len(phrase) == length and phrase in _PHRASES:
                joined += _PHRASES[phrase]
                place += length
                break
        else:
            joined.append(tokens[place])
            place += 1
    return joined


_CLOSED = {
    **dict.fromkeys(words.ADVERBS, "adverb"), **dict.fromkeys(words.CLAUSES, "clause"), "and": "and", ",": "comma", "or": "and",
    **dict.fromkeys(words.RELATIVES, "relative"), **dict.fromkeys(words.PRONOUNS, "pronoun"), "to": "preposition",
    **dict.fromkeys(words.PREPOSITIONS, "preposition"), **dict.fromkeys(words.AUXILIARIES, "auxiliary"), "'s": "possessive",
    **dict.fromkeys(words.DETERMINERS, "determiner"), **dict.fromkeys(words.NUMBERS, "number"),
    **dict.fromkeys(words.MANY, "number"),
}  # fmt: skip
_BEFORE_NOUN = {"determiner", "adjective", "number", "possessive"}


def tag(tokens: Sequence[str]) -> list[str]:
    """The part of speech of each token: a closed class by its list, verbs by where they stand, all else a noun."""
    tags: list[str] = []
    for place, token in enumerate(tokens):
        before = tags[-1] if tags else ""
        after = tokens[place + 1] if place + 1 < len(tokens) else ""
        tags.append(_tag(token, before, tokens[place - 1] if place else "", after, tags))
    return tags


def _tag(token: str, before: str, last: str, after: str, tags: list[str]) -> str:  # noqa: C901, PLR0911
    if token in _CLOSED:
        return _CLOSED[token]
    if token in words.ADJECTIVES:
        return "adjective"
    if (token in ING or _unknown_ing(token, before)) and not (token in words.NOUNS_RATHER and before in _BEFORE_NOUN | {"noun"} | {"preposition"}):
        if before in _BEFORE_NOUN - {"number"} and before != "":
            return "adjective" if _may_follow_adjective(after) else "noun"
        return "ing"
    if before in _BEFORE_NOUN or token in words.NOUNS_RATHER:
        return "participle" if _participle(token) and after and after in _CLOSED else "noun"
    if last == "to" and token in BASES:
        return "infinitive"
    subject_seen = "noun" in tags or "pronoun" in tags
    if subject_seen and before in {"noun", "pronoun", "adverb", "relative", "and", "comma", "participle"}:
        if token in FINITE and _is_verb(token, last, before, after):
            return "finite"
        if token in BASES and _is_verb(token, last, before, after) and _plural_subject(last, before, token):
            return "finite"
    if _participle(token):
        return "participle"
    return "noun"


def _unknown_ing(token: str, before: str) -> bool:
    return token.endswith("ing") and len(token) > 5 and before == "noun" and token not in words.NOUNS_RATHER | NOUNS


def _may_follow_adjective(after: str) -> bool:
    return bool(after) and after not in _CLOSED and after not in FINITE


def _participle(token: str) -> bool:
    return (token.endswith("ed") and len(token) > 4 and token not in NOUNS) or token in {
        "held", "seen", "thrown", "caught", "worn", "made", "taken", "shown", "lit", "hung", "set_", "led", "driven", "ridden",
    }  # fmt: skip


def _is_verb(token: str, last: str, before: str, after: str) -> bool:
    if token not in words.VERBS_SELDOM or before in {"pronoun", "relative"}:
        return True
    head = singular(last)
    animate = head in words.PEOPLE or head in words.ANIMALS
    if before == "adverb" or token in words.VERBS_MOSTLY:
        return after in _CLOSED or not after
    return animate and (token in FINITE or last != head or last == "people")


def _plural_subject(last: str, before: str, token: str) -> bool:
    """Whether a base form may be a verb here: "two dogs run", "people at a beach play", but not "a soccer play"."""
    if before == "noun":
        return singular(last) != last or last in {"people", "sheep", "family", "couple"} or token not in NOUNS
    return before in {"pronoun", "and", "adverb"}


_NUMBERED = {"a": 1, "an": 1, "another": 1, "one": 1, "each": 1, "this": 1, "that": 1, "both": 2}


def _chunks(tokens: list[str], tags: list[str]) -> Iterator[Mention | tuple[str, str]]:
    """Noun phrases as mentions, all else as (token, tag)."""
    place = 0
    while place < len(tokens):
        end = _phrase_end(tokens, tags, place)
        clothes = _colours_alone(tokens, tags, place) if end is None else None
        if clothes:
            yield replace(_mention([*tokens[place:clothes], "clothes"], [*tags[place:clothes], "noun"], place), plural=False)
            place = clothes
        elif end is None:
            yield tokens[place], tags[place]
            place += 1
        else:
            yield _mention(tokens[place:end], tags[place:end], place)
            place = end


def _colours_alone(tokens: list[str], tags: list[str], start: int) -> int | None:
    """Where "in red" or "wearing black and white" ends: colours that stand for clothes; None where there are none."""
    if not start or tokens[start - 1] not in {"in", "wearing", "wears"}:
        return None
    end = start
    while end < len(tokens) and (
        tokens[end] in words.COLOURS or tokens[end] in {"all", "bright", "dark", "light"}
        or (tokens[end] in {"and", ","} and end + 1 < len(tokens) and tokens[end + 1] in words.COLOURS)
    ):
        end += 1
    return end if any(token in words.COLOURS for token in tokens[start:end]) else None


def _phrase_end(tokens: list[str], tags: list[str], start: int) -> int | None:
    """Where a noun phrase that starts here ends; None where none does."""
    place = start
    noun = None
    while place < len(tokens):
        kind = tags[place]
        if kind == "noun":
            noun = place + 1
        elif kind == "determiner":
            if place > start:
                break
        elif kind == "number":
            if noun is not None:
                break
        elif kind == "participle":
            if noun is not None or place + 1 < len(tags) and tags[place + 1] not in {"noun", "adjective"}:
                break
        elif kind in {"and", "comma"}:
            if not _joins_colours(tokens, tags, place) and not _joins_adjectives(tags, place):
                break
        elif kind == "adjective":
            if noun is not None and (tokens[place - 1] in NOUNS or noun != place):
                break
        else:
            break
        place += 1
    return noun


def _joins_colours(tokens: list[str], tags: list[str], place: int) -> bool:
    following = place + 1
    while following < len(tokens) and (tags[following] in {"and", "comma"} or tokens[following] in {"light", "dark", "bright"}):
        following += 1
    return (
        place > 0
        and following < len(tokens)
        and tokens[place - 1] in words.COLOURS
        and tokens[following] in words.COLOURS
        and following + 1 < len(tokens)
        and tags[following + 1] in {"noun", "adjective", "and", "comma"}
    )


def _joins_adjectives(tags: list[str], place: int) -> bool:
    """"a tall , flat mountain"."""
    around = tags[place - 1 : place] + tags[place + 1 : place + 2]
    return tags[place] == "comma" and around == ["adjective", "adjective"]


def _mention(tokens: list[str], tags: list[str], place: int) -> Mention:
    written = tokens[-1]
    head = singular(written)
    count: int | None = 1
    is_plural = head != written or written in words.PAIRS or written in words.MANY_PEOPLE
    if is_plural:
        count = None
    colours = tuple(dict.fromkeys(words.COLOURS[token] for token in tokens[:-1] if token in words.COLOURS))
    for token in tokens[:-1]:
        if token in words.NUMBERS:
            count = words.NUMBERS[token]
            is_plural = count > 1
        elif token in words.MANY:
            count, is_plural = None, True
        elif token == "both":
            count, is_plural = 2, True
    if written == "couple":
        head, count, is_plural = "adult couple", 2, True
    determiner = tokens[0] if tags[0] == "determiner" else ""
    skipped = {"and", ",", determiner}
    modifiers = tuple(
        token for token in tokens[:-1] if token not in words.COLOURS and token not in skipped and token not in words.NUMBERS
    )
    return Mention(head, written, is_plural, count, colours, modifiers, None, determiner, place)


def parse(caption: str) -> Parsed:
    """Read one caption."""
    tokens = tokenise(caption)
    items = _with_owners(list(_chunks(tokens, tag(tokens))))
    mentions = tuple(item for item in items if isinstance(item, Mention))
    reader = _Reader(items)
    reader.read()
    return Parsed(tuple(tokens), mentions, tuple(reader.events))


_Item = Mention | tuple[str, str]


def _with_owners(items: list[_Item]) -> list[_Item]:
    """Mention, 's, mention -> the owned mention, after its owner."""
    found: list[_Item] = []
    for item in items:
        if isinstance(item, Mention) and len(found) >= 2 and found[-1] == ("'s", "possessive"):
            owner = found[-2]
            if isinstance(owner, Mention):
                found.pop()
                item = replace(item, owner=owner)
                found.append(("of", "possessive"))
        found.append(item)
    return found


@dataclass
class _Reader:
    """Goes through the items of a caption and notes the events."""

    items: list[_Item]
    events: list[Event] = field(default_factory=list)
    subject: tuple[Mention, ...] = ()  # of the clause
    subject_open: bool = True  # before the clause's verb: what is joined by "and" belongs to the subject
    actor: tuple[Mention, ...] = ()  # who the next phrase or -ing is said of
    verb_actor: tuple[Mention, ...] = ()  # of the last verb
    certain: bool = True

    def read(self) -> None:
        place = 0
        while place < len(self.items):
            item = self.items[place]
            if isinstance(item, Mention):
                place = self._meet(item, place)
            elif item[1] == "clause":
                self.subject, self.subject_open = (), True
                place += 1
            elif item[1] in {"ing", "finite", "infinitive", "participle"}:
                place = self._verb(place)
            elif item[1] == "preposition" and self.actor:
                place = self._bare_phrase(place)
            elif item[1] == "auxiliary":
                place = self._auxiliary(place)
            else:
                place += 1

    def _kind(self, place: int) -> str:
        if not 0 <= place < len(self.items):
            return ""
        item = self.items[place]
        return "mention" if isinstance(item, Mention) else item[1]

    def _meet(self, mention: Mention, place: int) -> int:
        if self._kind(place + 1) == "possessive":
            return place + 1
        if not mention.animate:
            if self.subject_open and not self.subject:
                self.subject, self.actor = (mention,), (mention,)
                self.subject_open = True
            return place + 1
        joined = self._kind(place - 1) in {"and", "comma"} and self.subject_open and self.subject
        if joined and all(each.animate for each in self.subject):
            self.subject = (*self.subject, mention)
            self.actor = self.subject
        else:
            if not self.subject or not self.subject[0].animate and self.subject_open:
                self.subject = (mention,)
            self.actor = (mention,)
        return place + 1

    def _auxiliary(self, place: int) -> int:
        following = place + 1
        while self._kind(following) == "adverb":
            following += 1
        if self._kind(following) == "preposition" and self._who("finite", place):
            self.actor = self.verb_actor = self._who("finite", place)
            self.subject_open = False
            return following
        token = self.items[place]
        if token[0] in {"has", "have"} and self._kind(following) == "mention":
            return self._verb(place)
        return place + 1

    def _who(self, kind: str, place: int) -> tuple[Mention, ...]:
        before = place - 1
        while self._kind(before) in {"adverb", "auxiliary"}:
            if self._kind(before) == "auxiliary":
                kind = "finite"
            before -= 1
        if self._kind(before) == "relative":
            item = self.items[before - 1] if before else None
            return (item,) if isinstance(item, Mention) else ()
        if self._kind(before) == "pronoun":
            return ()
        if self._kind(before) == "and" and self.verb_actor:
            return self.verb_actor
        if kind in {"finite", "infinitive"} and self.subject:
            return self.subject
        item = self.items[before] if before >= 0 else None
        if isinstance(item, Mention):
            if item.animate:
                return self.actor
            if self._kind(before - 1) not in {"preposition", "ing", "finite", "participle", "adverb", "and"}:
                return (item,)
        if self._kind(before) == "clause":
            return self.verb_actor or self.actor
        if self._kind(before) == "comma":
            return self.subject or self.actor
        return self.actor

    def _verb(self, place: int) -> int:
        token, kind = self.items[place]  # type: ignore[misc]
        who = self._who(kind, place)
        verb = ING.get(token) or FINITE.get(token) or token
        others = {id(each) for event in self.events for each in event.objects if each.animate}
        certain = not (kind == "ing" and self._kind(place - 1) in {"comma", "mention"} and any(id(each) in others for each in who))
        if kind == "finite" or self._kind(place - 1) == "auxiliary":
            self.subject_open = False
        elif kind == "ing":
            self.subject_open = False
        if kind == "participle" and token not in {"dressed", "clothed"}:
            verb = f"{token}*"
        following, particle = place + 1, ""
        while self._kind(following) == "adverb":
            particle = particle or self.items[following][0]  # type: ignore[index]
            following += 1
        objects, following = self._list(following)
        phrases = []
        while self._kind(following) == "preposition" or (
            self._kind(following) == "adverb" and self._kind(following + 1) == "preposition"
        ):
            if self._kind(following) == "adverb":
                following += 1
            preposition = self.items[following][0]  # type: ignore[index]
            nouns, after = self._list(following + 1)
            if not nouns:
                break
            phrases += [(preposition, noun) for noun in nouns]
            following = after
        if token in {"dressed", "clothed"}:
            verb, objects = "wear", [noun for preposition, noun in phrases if preposition == "in"]
        if who:
            self.events.append(Event(who, verb, particle, tuple(objects), tuple(phrases), certain))
            self.verb_actor = who
        last = [noun for noun in objects if noun.animate] or [noun for _, noun in phrases if noun.animate]
        if last:
            self.actor = (last[-1],)
        elif who:
            self.actor = who
        return following

    def _bare_phrase(self, place: int) -> int:
        preposition = self.items[place][0]  # type: ignore[index]
        nouns, following = self._list(place + 1)
        if not nouns:
            return place + 1
        self.events.append(Event(self.actor, "", "", (), tuple((preposition, noun) for noun in nouns)))
        return following

    def _list(self, place: int) -> tuple[list[Mention], int]:
        """Mentions joined by "and" and commas, as long as they are of one sort."""
        found: list[Mention] = []
        while self._kind(place) == "mention":
            item = self.items[place]
            assert isinstance(item, Mention)
            if self._kind(place + 1) == "possessive":
                place += 2
                continue
            found.append(item)
            place += 1
            step = place
            while self._kind(step) in {"comma", "and"}:
                step += 1
            if step == place or self._kind(step) != "mention" or not _same_sort(found[-1], self.items[step]):
                break
            place = step
        return found, place


def _same_sort(one: Mention, other: _Item) -> bool:
    assert isinstance(other, Mention)
    if one.animate or other.animate:
        return False
    worn = one.head in words.GARMENTS
    return worn == (other.head in words.GARMENTS)
