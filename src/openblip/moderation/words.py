"""Words of a policy in a text: whole words, whatever their case, width or Unicode form. Knows no model and no
pictures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts whose words are not set apart by spaces, as Unicode names their letters."""


@dataclass(frozen=True, slots=True)
class Found:
    """Words of the policy, and from which character of the text to before which."""

    words: str
    start: int
    end: int


class WordList:
    """Looks for the same words in any text.

    Compared are NFKC forms without case and without characters that are not shown (zero-width spaces, soft hyphens);
    any run of spaces and line ends is one space. Accents count. A word is found only as a whole: "gun" is not in
    "begun"; in scripts without spaces it is found anywhere.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._patterns = [(each, _pattern(normalised(each))) for each in words]

    def find(self, text: str) -> Iterator[Found]:
        """All places, word by word."""
        plain, places = _plain(text)
        for words, pattern in self._patterns:
            for found in pattern.finditer(plain):
                yield Found(words, places[found.start()][0], places[found.end() - 1][1])


def normalised(text: str) -> str:
    """As it is compared."""
    return " ".join(_plain(text)[0].split())


def _plain(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text as it is compared, and for each of its characters what of the text it comes from: a letter and the
    marks behind it are normalised together."""
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    for start, cluster in _clusters(text):
        for letter in _folded(cluster):
            letters.append(" " if letter.isspace() else letter)
            places.append((start, start + len(cluster)))
    return "".join(letters), places


def _folded(cluster: str) -> str:
    """Case folding may undo the normal form, and normalising the folding: twice is stable."""
    shown = "".join(letter for letter in cluster if unicodedata.category(letter) != "Cf")
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", shown).casefold())
    return unicodedata.normalize("NFKC", once.casefold())


def _clusters(text: str) -> Iterator[tuple[int, str]]:
    """Letters with the marks that follow them, each with its place."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or not _joins(text[place]):
            if start < place:
                yield start, text[start:place]
            start = place


def _joins(letter: str) -> bool:
    """Whether it is part of the letter before: a mark, a hidden character, or a part of a Hangul syllable."""
    return unicodedata.category(letter) in ("Mn", "Mc", "Me", "Cf") or "\u1160" <= letter <= "\u11ff"


def _pattern(words: str) -> re.Pattern[str]:
    parts = r"\s+".join(re.escape(part) for part in words.split())
    before = r"(?<!\w)" if _stands_apart(words[:1]) else ""
    after = r"(?!\w)" if _stands_apart(words[-1:]) else ""
    return re.compile(f"{before}{parts}{after}" if parts else r"(?!)")


def _stands_apart(letter: str) -> bool:
    return (
        bool(letter) and (letter.isalnum() or letter == "_") and not unicodedata.name(letter, "").startswith(_UNSPACED)
    )
