"""The forms of words: one dog, two dogs; run, runs, running. Knows the words of captions, and no sentences."""

from __future__ import annotations

from functools import cache

from openblip.language import words

_IRREGULAR_PLURALS = {
    "men": "man", "women": "woman", "children": "child", "people": "people", "geese": "goose", "sheep": "sheep",
    "fish": "fish", "leaves": "leaf", "wolves": "wolf", "deer": "deer", "oxen": "ox", "mice": "mouse", "feet": "foot",
    "teeth": "tooth", "policemen": "policeman", "firemen": "fireman", "gentlemen": "gentleman", "cattle": "cattle",
    "businessmen": "businessman", "clothes": "clothes", "scarves": "scarf", "calves": "calf", "shelves": "shelf",
    "businesswomen": "businesswoman", "fishermen": "fisherman", "bus": "bus", "buses": "bus", "dress": "dress",
    "grass": "grass", "glass": "glass", "harness": "harness", "tennis": "tennis", "canvas": "canvas",
    "actress": "actress", "canoes": "canoe", "waitress": "waitress", "princess": "princess", "class": "class",
    "mattress": "mattress", "ties": "tie", "cowboys": "cowboy", "headdress": "headdress", "sundress": "sundress",
    "puppies": "puppy", "shoes": "shoe", "gas": "gas", "circus": "circus", "horses": "horse", "across": "across",
    "knives": "knife", "bows": "bow", "species": "species", "cross": "cross", "skis": "skis", "pants": "pants",
    "jeans": "jeans", "shorts": "shorts", "santa claus": "santa", "movies": "movie", "christmas": "christmas",
    "canvasses": "canvas", "walruses": "walrus", "lens": "lens", "moss": "moss", "toes": "toe", "hoodies": "hoodie",
    "sunglasses": "sunglasses", "glasses": "glasses", "axes": "axe", "birdies": "birdie", "wheelies": "wheelie",
    "cookies": "cookie", "hippies": "hippie", "lies": "lie", "zombies": "zombie",
}  # fmt: skip
TABLES = (
    words.ANIMALS, words.PEOPLE, words.VEHICLES, words.RIDDEN, words.GARMENTS, words.PLACES, words.TERRAIN, words.SEATS,
    words.TOYS, words.THINGS,
)  # fmt: skip
NOUNS = frozenset(word for table in TABLES for word in table)


BASES = frozenset(words.VERBS)


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
        if one == word and (many != one or not one.endswith("s") or one in words.PAIRS):
            return many
    if word in words.PAIRS or (word.endswith("s") and word not in {"bus", "dress"}):
        return word
    if word.endswith(("s", "sh", "ch", "x", "z")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


@cache
def ing(verb: str) -> str:
    """ "run" -> "running"."""
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
