"""Tagged words -> noun phrases: who and what a caption mentions, how many, of what colour, and where it says so. Knows
no verbs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from openblip.language import words
from openblip.language.forms import NOUNS, singular
from openblip.language.tagging import located, tag


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase as a caption has it, from character `start` to before `end`. head: its noun, singular."""

    text: str
    start: int
    end: int
    head: str


@dataclass(frozen=True)
class Mention:
    """One noun phrase.

    head: its noun, singular; written: as the caption has it. count: how many, None where that is left open. colours: by
    their plain names. modifiers: what else stands before the head. owner: whose it is ("a boy 's shirt"). place: of its
    first word among the caption's tokens.
    """

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
        """ "man", "child", ...; "" where it is nobody."""
        return words.PEOPLE.get(self.head, "")

    @property
    def animal(self) -> str:
        """ "dog", "horse", ...; "" where it is none."""
        return words.ANIMALS.get(self.head, "")

    @property
    def worn(self) -> bool:
        """Whether it is a garment, or hair."""
        return self.head in words.GARMENTS or self.head == "hair"

    @property
    def animate(self) -> bool:
        """Whether it is somebody who does things."""
        return bool(self.person or self.animal)


def noun_phrases(caption: str) -> tuple[Phrase, ...]:
    """ "a brown dog in the snow" -> "a brown dog", "the snow". Pronouns are none, and neither are colours that stand
    for clothes ("in red")."""
    located_tokens = located(caption)
    tokens = [token.text for token in located_tokens]
    tags, found, place = tag(tokens), list[Phrase](), 0
    while place < len(tokens):
        end = _phrase_end(tokens, tags, place)
        if end is not None:
            first, last = located_tokens[place].start, located_tokens[end - 1].end
            found.append(Phrase(caption[first:last], first, last, singular(tokens[end - 1])))
        place = end or place + 1
    return tuple(found)


def chunks(tokens: list[str], tags: list[str]) -> Iterator[Mention | tuple[str, str]]:
    """Noun phrases as mentions, all else as (token, tag)."""
    place = 0
    while place < len(tokens):
        end = _phrase_end(tokens, tags, place)
        clothes = _colours_alone(tokens, tags, place) if end is None else None
        if clothes:
            yield replace(
                _mention([*tokens[place:clothes], "clothes"], [*tags[place:clothes], "noun"], place), plural=False
            )
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
        tokens[end] in words.COLOURS
        or tokens[end] in {"all", "bright", "dark", "light"}
        or (tokens[end] in {"and", ","} and end + 1 < len(tokens) and tokens[end + 1] in words.COLOURS)
    ):
        end += 1
    return end if any(token in words.COLOURS for token in tokens[start:end]) else None


def _phrase_end(tokens: list[str], tags: list[str], start: int) -> int | None:
    """Where a noun phrase that starts here ends; None where none does."""
    noun = None
    for place in range(start, len(tokens)):
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
            if noun is not None or not _leads_on(tags, place):
                break
        elif kind == "adjective":
            if noun is not None and (tokens[place - 1] in NOUNS or noun != place):
                break
        elif not _joins_colours(tokens, tags, place) and not _joins_adjectives(tags, place):
            break
    return noun


def _leads_on(tags: list[str], place: int) -> bool:
    """Whether a participle stands before its noun: "a covered bridge"."""
    return place + 1 >= len(tags) or tags[place + 1] in {"noun", "adjective"}


def _joins_colours(tokens: list[str], tags: list[str], place: int) -> bool:
    following = place + 1
    while following < len(tokens) and (
        tags[following] in {"and", "comma"} or tokens[following] in {"light", "dark", "bright"}
    ):
        following += 1
    return (
        tags[place] in {"and", "comma"}
        and place > 0
        and following < len(tokens)
        and tokens[place - 1] in words.COLOURS
        and tokens[following] in words.COLOURS
        and following + 1 < len(tokens)
        and tags[following + 1] in {"noun", "adjective", "and", "comma"}
    )


def _joins_adjectives(tags: list[str], place: int) -> bool:
    """ "a tall , flat mountain"."""
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
        token
        for token in tokens[:-1]
        if token not in words.COLOURS and token not in skipped and token not in words.NUMBERS
    )
    return Mention(head, written, is_plural, count, colours, modifiers, None, determiner, place)
