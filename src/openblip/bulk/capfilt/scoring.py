"""A captioner and a filter over samples: each picture is read once, and encoded once by each checkpoint, so once where
captioner and filter are the same one. Knows models and batches, no files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from openblip.bulk.capfilt.records import ScoredPicture, ScoredText
from openblip.bulk.capfilt.samples import WebSample
from openblip.bulk.capfilt.settings import Scoring
from openblip.image import DEFAULT_LIMITS, ImageLimits
from openblip.parts import Part
from openblip.pictures import Clock, Loaded, read_batches
from openblip.pipeline import Blip
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.tasks.matches import Matcher
from openblip.text import clean_caption
from openblip.types import Match

_DIGITS = 8  # of stored scores: a probability next to 1 keeps all that float32 tells


class Scorer:
    """Writes and scores the texts of any number of samples.

    captioner, filter: may be the same Blip; None leaves that half out. A sampled caption follows from the picture and
    the seed alone. What a picture gets does not depend on where it stands, up to the rounding of a batch.
    """

    def __init__(
        self, captioner: Blip | None, filter_: Blip | None, scoring: Scoring, limits: ImageLimits = DEFAULT_LIMITS
    ) -> None:
        self._limits, self._clock = limits, Clock()
        self._captioning, self._captioner = None, None
        self._matching = self._embedding = None
        if captioner is not None:
            self._captioning = captioner.part("caption")
            self._captioner = Captioner(self._captioning, scoring.captions)
            [self._prompt] = self._captioner.encode_prompts([scoring.prompt])
        if filter_ is not None:
            self._matching, self._embedding = filter_.part("match"), filter_.part("embed")
        parts = (self._captioning, self._matching, self._embedding)
        self._parts: list[Part] = list(dict.fromkeys(part for part in parts if part is not None))
        rows = scoring.captions.rows if self._captioner else 1
        self.pictures_a_batch = min(part.pictures_a_call(rows) for part in self._parts)

    def scored(self, samples: Iterable[WebSample]) -> Iterator[ScoredPicture]:
        """One for each sample, in order. A picture that cannot be used comes with its error; at most two batches are
        read ahead."""
        waiting = deque[WebSample]()

        def images() -> Iterator[bytes]:
            for sample in samples:
                waiting.append(sample)
                yield b"" if sample.image is None else sample.image.content

        inputs = [part.config.vision for part in self._parts]
        for batch in read_batches(images(), self.pictures_a_batch, inputs, self._limits, self._clock):
            yield from self._score([waiting.popleft() for _ in batch], batch)

    def _score(self, samples: Sequence[WebSample], batch: Sequence[Loaded]) -> Iterator[ScoredPicture]:
        usable = [place for place, loaded in enumerate(batch) if loaded.error is None]
        texts: list[list[ScoredText]] = []
        if usable:
            encoded = Encoded([batch[place] for place in usable], self._parts, self._clock)
            texts = [[ScoredText(text, "web") for text in samples[place].texts] for place in usable]
            for own, written in zip(texts, self._written(encoded), strict=True):
                own += [ScoredText(text, "synthetic") for text in written]
            texts = self._matched(encoded, texts)
        found = dict(zip(usable, texts, strict=True))
        for place, (sample, loaded) in enumerate(zip(samples, batch, strict=True)):
            if place in found:
                yield ScoredPicture(sample.key, tuple(found[place]))
            else:
                yield ScoredPicture(sample.key, error=sample.error or _reason(sample, loaded))

    def _written(self, encoded: Encoded) -> list[list[str]]:
        """The synthetic texts of each picture, without the prompt."""
        if self._captioner is None or self._captioning is None:
            return [[]] * len(encoded)
        prompt = self._captioning.tokenizer.decode(self._prompt)
        rows = self._captioner.captions(encoded, [self._prompt] * len(encoded))
        return [[caption.text.removeprefix(prompt).strip() for caption in row] for row in rows]

    def _matched(self, encoded: Encoded, texts: list[list[ScoredText]]) -> list[list[ScoredText]]:
        """The same texts with their scores, each as it would be cleaned for training."""
        if self._matching is None or self._embedding is None:
            return texts
        cleaned = [[_for_model(text.text) for text in row] for row in texts]
        places = [(picture, place) for picture, row in enumerate(cleaned) for place, text in enumerate(row) if text]
        if not places:
            return texts
        matcher = Matcher(
            self._matching, self._embedding, [cleaned[picture][place] for picture, place in places], self._clock
        )
        matches = matcher.matches(encoded, np.array([picture for picture, _ in places]), np.arange(len(places)))
        scores = dict(zip(places, matches, strict=True))
        return [
            [_with_score(text, scores.get((picture, place))) for place, text in enumerate(row)]
            for picture, row in enumerate(texts)
        ]


def _with_score(text: ScoredText, match: Match | None) -> ScoredText:
    if match is None:
        return text
    return ScoredText(text.text, text.source, round(match.probability, _DIGITS), round(match.similarity, _DIGITS))


def _for_model(text: str) -> str:
    """Cleaned as for training; what is no Unicode (half a character of a broken json) is replaced."""
    return clean_caption(text.encode("utf-8", "replace").decode())


def _reason(sample: WebSample, loaded: Loaded) -> str:
    name = "the picture" if sample.image is None else sample.image.name
    return str(loaded.error).replace("the picture", name, 1)
