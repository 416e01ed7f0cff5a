"""A caption -> its words and their parts of speech. Knows lists of words and what stands beside a word; no phrases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from openblip.language import words
from openblip.language.forms import BASES, FINITE, ING, NOUNS, plural, singular

_TOKEN = re.compile(r"[a-z0-9][a-z0-9'-]*|'s|,")
_SPACED_HYPHEN = re.compile(" - ")
_SPELLINGS = {
    "gray": "grey",
    "blond": "blonde",
    "light-blue": "blue",
    "sun-glasses": "sunglasses",
    "dogs'": "dogs",
    "'s'": "'s",
}


def _phrases() -> dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """First word -> phrases that start with it and what they become, the longest first."""
    meanings: dict[tuple[str, ...], tuple[str, ...]] = {}
    for entry in filter(None, (part.strip() for line in words.PHRASES.splitlines() for part in line.split("|"))):
        phrase, found, meant = entry.partition("=")
        meanings[tuple(phrase.split())] = tuple(meant.split()) if found else (phrase,)
    for noun in NOUNS:
        if " " in noun:
            meanings[tuple(noun.split())] = (noun,)
            meanings[tuple(plural(noun).split())] = (plural(noun),)
    by_first: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for phrase_words in sorted(meanings, key=len, reverse=True):
        by_first.setdefault(phrase_words[0], []).append((phrase_words, meanings[phrase_words]))
    return by_first


_PHRASES = _phrases()


@dataclass(frozen=True, slots=True)
class Token:
    """A word, and where in the caption it stands: from character `start` to before `end`."""

    text: str
    start: int
    end: int


def tokenise(caption: str) -> list[str]:
    """Lower-case words, those of several parts joined ("next to", "dirt bike"), with one spelling each."""
    return [token.text for token in located(caption)]


def located(caption: str) -> list[Token]:
    """The words of `tokenise`, each with its place. What stands for several words ("a group of" for "many") has the
    place of them all."""
    tokens = _words(caption)
    joined: list[Token] = []
    place = 0
    while place < len(tokens):
        for phrase, meant in _PHRASES.get(tokens[place].text, ()):
            found = tokens[place : place + len(phrase)]
            if tuple(token.text for token in found) == phrase:
                joined += [Token(text, found[0].start, found[-1].end) for text in meant]
                place += len(phrase)
                break
        else:
            joined.append(tokens[place])
            place += 1
    return joined


def _words(caption: str) -> list[Token]:
    text, places = _plain(caption)
    tokens = []
    for found in _TOKEN.finditer(text):
        token, start, end = _SPELLINGS.get(found[0], found[0]), places[found.start()], places[found.end() - 1] + 1
        if token.endswith("'s") and len(token) > 2:
            tokens += [Token(token[:-2], start, end - 2), Token("'s", end - 2, end)]
        else:
            tokens.append(Token(token, start, end))
    return tokens


def _plain(caption: str) -> tuple[str, list[int]]:
    """In lower case and "t - shirt" as "t-shirt"; and for each character its place in the caption."""
    text = caption.lower()
    places = [place for place, letter in enumerate(caption) for _ in letter.lower()]
    spaces = {found.start() + side for found in _SPACED_HYPHEN.finditer(text) for side in (0, 2)}
    kept = [place for place in range(len(text)) if place not in spaces]
    return "".join(text[place] for place in kept).replace("`", "'"), [places[place] for place in kept]


CLOSED = {
    **dict.fromkeys(words.ADVERBS, "adverb"), **dict.fromkeys(words.CLAUSES, "clause"), "and": "and", ",": "comma",
    "or": "and",
    **dict.fromkeys(words.RELATIVES, "relative"), **dict.fromkeys(words.PRONOUNS, "pronoun"), "to": "preposition",
    **dict.fromkeys(words.PREPOSITIONS, "preposition"), **dict.fromkeys(words.AUXILIARIES, "auxiliary"),
    "'s": "possessive",
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


def _tag(token: str, before: str, last: str, after: str, tags: list[str]) -> str:
    if token in CLOSED:
        return CLOSED[token]
    if token in words.ADJECTIVES:
        return "adjective"
    if (token in ING or _unknown_ing(token, before)) and not (
        token in words.NOUNS_RATHER and before in _BEFORE_NOUN | {"noun"} | {"preposition"}
    ):
        if before in _BEFORE_NOUN - {"number"} and before != "":
            return "adjective" if _may_follow_adjective(after) else "noun"
        return "ing"
    if before in _BEFORE_NOUN or token in words.NOUNS_RATHER:
        return "participle" if _participle(token) and after and after in CLOSED else "noun"
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
    return bool(after) and after not in CLOSED and after not in FINITE


def _participle(token: str) -> bool:
    return (token.endswith("ed") and len(token) > 4 and token not in NOUNS) or token in {
        "held", "seen", "thrown", "caught", "worn", "made", "taken", "shown", "lit", "hung", "set_", "led",
        "driven", "ridden",
    }  # fmt: skip


def _is_verb(token: str, last: str, before: str, after: str) -> bool:
    if token not in words.VERBS_SELDOM or before in {"pronoun", "relative"}:
        return True
    head = singular(last)
    animate = head in words.PEOPLE or head in words.ANIMALS
    if before == "adverb" or token in words.VERBS_MOSTLY:
        return after in CLOSED or not after
    return animate and (token in FINITE or last != head or last == "people")


def _plural_subject(last: str, before: str, token: str) -> bool:
    """Whether a base form may be a verb here: "two dogs run", "people at a beach play", but not "a soccer play"."""
    if before == "noun":
        return singular(last) != last or last in {"people", "sheep", "family", "couple"} or token not in NOUNS
    return before in {"pronoun", "and", "adverb"}
