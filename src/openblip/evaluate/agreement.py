"""How far a model's image-text scores order pairs as people rated them: Kendall's tau of ITM and ITC."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openblip.bulk.rows import read_rows
from openblip.errors import DataError
from openblip.evaluate.progress import Progress, at_hand, tell
from openblip.metrics.agreement import Agreement, kendall_tau
from openblip.pictures import Clock, read_batches
from openblip.tasks.encoded import Encoded
from openblip.tasks.matches import Matcher
from openblip.types import Match

if TYPE_CHECKING:
    from openblip.pipeline import Blip

COLUMNS = ("image", "text", "rating")


@dataclass(frozen=True, slots=True)
class RatedPair:
    """A picture, a text about it, and how well people found that it fits; higher is better."""

    image: Path
    text: str
    rating: float


@dataclass(frozen=True, slots=True)
class AgreementEvaluation:
    """The agreement of both scores with the ratings. itm: of the matching head's probability; itc: of the cosine.
    seconds: for all pairs, loading the pictures included."""

    model: str
    itm: Agreement
    itc: Agreement
    pairs: tuple[RatedPair, ...]
    matches: tuple[Match, ...]
    seconds: float

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with every pair and its scores."""
        values: dict[str, Any] = {"task": "agreement", "model": self.model, "pairs": len(self.pairs)}
        values |= {"itm": self.itm.to_dict(), "itc": self.itc.to_dict(), "seconds": self.seconds}
        if by_image:
            values["rated"] = [
                {
                    "image": str(pair.image), "text": pair.text, "rating": pair.rating,
                    "probability": match.probability, "similarity": match.similarity,
                }
                for pair, match in zip(self.pairs, self.matches, strict=True)
            ]  # fmt: skip
        return values


def read_ratings(path: Path) -> list[RatedPair]:
    """Rows with the columns image, text and rating, of any table that `read_rows` reads. A relative path of a picture
    counts from the file's folder. Raises DataError that names the line."""
    pairs = []
    for where, row in read_rows(path, '{"image": "dog.jpg", "text": "a dog", "rating": 4}'):
        try:
            pair = RatedPair(path.parent / row["image"], str(row["text"]), float(row["rating"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where} is not a rated pair: give {', '.join(COLUMNS)}, the rating as a number"
            ) from error
        if not isfinite(pair.rating):
            raise DataError(f"{where}: the rating {pair.rating} is no number: drop the row")
        pairs.append(pair)
    return at_hand(pairs, "rated pairs")


def evaluate_agreement(blip: Blip, pairs: Iterable[RatedPair], progress: Progress | None = None) -> AgreementEvaluation:
    """Score every pair and hold the order of the scores against that of the ratings. Each picture is encoded once.

    Raises ModelError where the model cannot match and embed, DataError that names a picture which cannot be read, or
    where all ratings or all scores are alike.
    """
    rated, start = at_hand(pairs, "rated pairs"), time.perf_counter()
    matches = _matches(blip, rated, progress)
    ratings = [pair.rating for pair in rated]
    return AgreementEvaluation(
        model=blip.part("match").name,
        itm=kendall_tau([match.probability for match in matches], ratings),
        itc=kendall_tau([match.similarity for match in matches], ratings),
        pairs=tuple(rated),
        matches=tuple(matches),
        seconds=time.perf_counter() - start,
    )


def _matches(blip: Blip, pairs: Sequence[RatedPair], progress: Progress | None) -> list[Match]:
    """In the order of the pairs."""
    matching, embedding, clock = blip.part("match"), blip.part("embed"), Clock()
    parts = [matching, embedding]
    images = list(dict.fromkeys(pair.image for pair in pairs))
    places = {image: place for place, image in enumerate(images)}
    owners = np.array([places[pair.image] for pair in pairs])
    found: dict[int, Match] = {}
    first, size = 0, min(part.pictures_a_call() for part in parts)
    for loaded in read_batches(images, size, [part.config.vision for part in parts], blip.limits, clock):
        for picture, image in zip(loaded, images[first:], strict=False):
            if picture.error is not None:
                raise DataError(f"{image}: {picture.error}") from picture.error
        here = np.flatnonzero((owners >= first) & (owners < first + len(loaded)))
        matcher = Matcher(matching, embedding, [pairs[place].text for place in here.tolist()], clock)
        scored = matcher.matches(Encoded(loaded, parts, clock), owners[here] - first, np.arange(len(here)))
        found |= zip(here.tolist(), scored, strict=True)
        first += len(loaded)
        tell(progress, "pairs", len(found), len(pairs))
    return [found[place] for place in range(len(pairs))]
