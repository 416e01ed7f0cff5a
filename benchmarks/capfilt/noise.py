"""Clean captions -> what the web says of pictures: a text of another picture, the first words of one, or alt text that
tells nothing. Plain functions of strings and a random generator; every draw follows from the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["clean", "swapped", "truncated", "alt"]
KINDS: tuple[Kind, ...] = ("swapped", "truncated", "alt")

_ALT = (
    "IMG_{number}.jpg",
    "DSC{number}",
    "image {small} of {large}",
    "photo {number}",
    "{word} | free stock photo download",
    "{word} wallpaper hd 1920x1080",
    "buy {word} online, free shipping",
    "click to enlarge {word} photo",
    "picture of the day {small}/{large}",
    "{word} - best deals {year}",
    "untitled by user{number} on flickr",
    "{word} stock vector royalty free id {number}",
    "posted {small} days ago by admin",
    "{word} blog archive {year}",
)
_SMALL_WORDS = frozenset("a an the in on of at to with and is are two some his her its their by for from".split())


@dataclass(frozen=True, slots=True)
class NoisyTexts:
    """The texts of a picture after noise. clean: what people said of it."""

    texts: tuple[str, ...]
    kind: Kind
    clean: tuple[str, ...]


def corrupt(captions: Sequence[Sequence[str]], share: float, seed: int, texts: int = 1) -> list[NoisyTexts]:
    """So many texts a picture, those of this share of the pictures made noisy; each kind of noise takes a third of
    them.

    captions: of each picture, at least one. Swapped pictures exchange their texts among each other in a ring, so that
    nobody keeps its own. The same seed gives the same noise.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share={share} is out of range: give 0 to 1")
    random = np.random.default_rng((seed, 0))
    order = random.permutation(len(captions))
    noisy = order[: round(share * len(captions))]
    kinds: dict[int, Kind] = {int(picture): KINDS[place % len(KINDS)] for place, picture in enumerate(noisy)}
    swapped = [picture for picture, kind in kinds.items() if kind == "swapped"]
    if len(swapped) == 1:  # alone it has nobody to exchange with
        kinds[swapped.pop()] = "truncated"
    donors = dict(zip(swapped, [*swapped[1:], *swapped[:1]], strict=True))
    return [
        _noisy(captions, picture, kinds.get(picture, "clean"), donors.get(picture, picture), seed, texts)
        for picture in range(len(captions))
    ]


def truncate(caption: str, random: np.random.Generator) -> str:
    """Its first one to three words, and fewer than it has."""
    words = caption.split()
    return " ".join(words[: max(1, min(int(random.integers(1, 4)), len(words) - 1))])


def alt_text(caption: str, random: np.random.Generator) -> str:
    """What a page may have in its alt attribute: a file name, an advertisement, at best one word of the caption."""
    words = [word for word in caption.lower().replace(".", " ").split() if word not in _SMALL_WORDS]
    small = int(random.integers(1, 20))
    return _ALT[int(random.integers(len(_ALT)))].format(
        number=int(random.integers(100, 9999)),
        small=small,
        large=small + int(random.integers(1, 30)),
        year=int(random.integers(2008, 2021)),
        word=words[int(random.integers(len(words)))] if words else "photo",
    )


def split_clean(keys: Sequence[str], count: int, seed: int) -> set[str]:
    """So many of the keys, drawn by their names, so that the order of the shards does not matter."""
    if count > len(keys):
        raise ValueError(f"{count} clean pictures are more than the {len(keys)} that there are")
    ranked = sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    return set(ranked[:count])


def _noisy(
    captions: Sequence[Sequence[str]], picture: int, kind: Kind, donor: int, seed: int, texts: int
) -> NoisyTexts:
    random = np.random.default_rng((seed, 1, picture))
    source = captions[donor]
    chosen = [source[int(place)] for place in random.permutation(len(source))[:texts]]
    if kind == "truncated":
        chosen = [truncate(text, random) for text in chosen]
    if kind == "alt":
        chosen = [alt_text(text, random) for text in chosen]
    return NoisyTexts(tuple(chosen), kind, tuple(captions[picture]))
