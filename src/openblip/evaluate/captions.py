"""Captions of a data set, scored against its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from openblip.bulk.shards import Sample
from openblip.errors import DataError, MissingExtra
from openblip.evaluate.progress import Progress, at_hand, tell
from openblip.metrics import CaptionScores, ReferenceScores, caption_scores, reference_scores
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip


@dataclass(frozen=True, slots=True)
class CaptionEvaluation:
    """The scores of a model's captions, and how they were made.

    seconds: for all images, loading them included, scoring left out. references: those of each image. reference: what
    the field's own tools say, where they were asked.
    """

    model: str
    scores: CaptionScores
    keys: tuple[str, ...]
    options: GenerateOptions
    seconds: float
    references: tuple[tuple[str, ...], ...] = ()
    reference: ReferenceScores | None = None

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with each image's key, caption and CIDEr, and with what tells whether
        another run was scored against the same references."""
        values = {"task": "caption", "model": self.model, **self.scores.to_dict()}
        values |= {"options": asdict(self.options), "seconds": self.seconds}
        if self.reference is not None:
            values["reference"] = self.reference.to_dict()
        if by_image:
            values["data"] = fingerprint(self.keys, self.references)
            rows = zip(self.keys, self.scores.captions, self.scores.cider_by_image, strict=True)
            values["captions"] = [{"key": key, "caption": text, "cider": cider} for key, text, cider in rows]
        return values


def evaluate_captions(
    blip: Blip,
    samples: Iterable[Sample],
    options: GenerateOptions | None = None,
    prompt: str = "",
    progress: Progress | None = None,
) -> CaptionEvaluation:
    """Caption every sample and score the captions against its own.

    Raises DataError that names a picture which cannot be read, or where there are no samples.
    """
    samples, options = at_hand(samples), options or GenerateOptions()
    start = time.perf_counter()
    texts: list[str] = []
    outcomes = blip.caption_each((sample.image_bytes for sample in samples), prompt, options)
    for sample, outcome in zip(samples, outcomes, strict=True):
        if outcome.error is not None:
            raise DataError(f"{sample.key}: {outcome.error}") from outcome.error
        texts.append(outcome.captions[0].text)
        tell(progress, "captions", len(texts), len(samples))
    seconds = time.perf_counter() - start
    references = tuple(sample.captions for sample in samples)
    keys = tuple(sample.key for sample in samples)
    return CaptionEvaluation(blip.name, caption_scores(texts, references), keys, options, seconds, references)


def with_reference(result: CaptionEvaluation, *, fetch_spice: bool = False) -> CaptionEvaluation:
    """The same with what pycocoevalcap says, or with the reason why it says nothing."""
    try:
        found = reference_scores(result.scores.captions, result.references, fetch_spice=fetch_spice)
    except MissingExtra as error:
        found = ReferenceScores(left_out={"pycocoevalcap": str(error)})
    return replace(result, reference=found)


def fingerprint(keys: Sequence[str], truths: Sequence[object]) -> str:
    """Changes with the pictures' keys, or what they are scored against; the order does not matter."""
    return sha256(repr(sorted(zip(keys, map(repr, truths), strict=True))).encode()).hexdigest()[:16]
