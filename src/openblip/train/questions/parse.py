"""A caption -> what it says of whom it mentions. A shallow parser for the short, plain sentences of
captions; knows parts of speech and their order, no pictures and no questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from openblip.language import words
from openblip.language.forms import BASES, FINITE, ING
from openblip.language.phrases import Mention, chunks
from openblip.language.tagging import tag, tokenise


@dataclass(frozen=True)
class Event:
    """Somebody, what they do, to what, and where.

    verb: its base form, "" where a phrase alone is said of them ("a dog in the snow"); with a star it is something done
    to them ("parked*"). certain: false where it might be said of somebody else.
    """

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


def parse(caption: str) -> Parsed:
    """Read one caption."""
    tokens = tokenise(caption)
    items = _with_owners(list(chunks(tokens, tag(tokens))))
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

    def _word(self, place: int) -> str:
        item = self.items[place]
        return item.written if isinstance(item, Mention) else item[0]

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
            if not self.subject or (not self.subject[0].animate and self.subject_open):
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
        if self._word(place) in {"has", "have"} and self._kind(following) == "mention":
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
            return self._seen_to(place) or self.subject
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
        token, kind = self._word(place), self._kind(place)
        who = self._who(kind, place)
        certain = not (kind == "ing" and self._kind(place - 1) in {"comma", "mention"} and self._was_object(who))
        if kind in {"finite", "ing"} or self._kind(place - 1) == "auxiliary":
            self.subject_open = False
        following = place + 1
        while self._kind(following) == "adverb":
            following += 1
        particle = self._word(place + 1) if following > place + 1 else ""
        objects, following = self._list(following)
        phrases, following = self._phrases(following, bool(objects and objects[-1].animate))
        verb = ING.get(token) or FINITE.get(token) or token
        if token in {"dressed", "clothed"}:
            verb, objects = "wear", [noun for preposition, noun in phrases if preposition == "in"]
        elif kind == "participle":
            verb = f"{token}*"
        if who:
            self.events.append(Event(who, verb, particle, tuple(objects), tuple(phrases), certain))
            self.verb_actor = who
        others = [noun for noun in objects if noun.animate] or [noun for _, noun in phrases if noun.animate]
        self.actor = (others[-1],) if others else who or self.actor
        return following

    def _seen_to(self, place: int) -> tuple[Mention, ...]:
        """Whom somebody sees or makes do it: "a man watches a dog catch a ball"."""
        item = self.items[place - 1] if place else None
        if isinstance(item, Mention) and item.animate and self.events and item in self.events[-1].objects:
            return (item,) if self._word(place) in BASES else ()
        return ()

    def _was_object(self, who: tuple[Mention, ...]) -> bool:
        """Whether something was done to one of them before: "a man chases a boy , wearing a hat"."""
        return any(each in event.objects for event in self.events for each in who)

    def _phrases(self, place: int, somebody: bool) -> tuple[list[tuple[str, Mention]], int]:
        """Prepositional phrases in a row, with the adverbs between them passed over.

        somebody: whether a person or animal stands before them. What they wear is theirs: "sits by a woman in a hat".
        """
        found: list[tuple[str, Mention]] = []
        while True:
            start = place + (self._kind(place) == "adverb")
            if self._kind(start) != "preposition":
                return found, place
            nouns, after = self._list(start + 1)
            if not nouns:
                return found, start
            if somebody and nouns[0].worn:
                return found, place
            somebody = nouns[-1].animate
            found += [(self._word(start), noun) for noun in nouns]
            place = after

    def _bare_phrase(self, place: int) -> int:
        preposition = self._word(place)
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
