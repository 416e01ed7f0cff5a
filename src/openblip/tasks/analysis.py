"""Several tasks over the same encoded pictures: every question and every text goes with every picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from openblip.engine import Ints
from openblip.parts import Part
from openblip.pictures import WHOLE, Windows
from openblip.tasks.answers import Answerer
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.tasks.grounding import Grounder, phrases_of
from openblip.tasks.matches import Matcher
from openblip.types import Analysis, Answer, Caption, Embedding, Grounding, Match

T = TypeVar("T")


class Analyzer:
    """What is asked of every picture. embedding: the checkpoint that gives the embedding, where that is asked."""

    def __init__(self, embedding: Part | None) -> None:
        self._embedding = embedding
        self._captioning: tuple[Captioner, list[int]] | None = None
        self._answering: tuple[Answerer, list[str]] | None = None
        self._matching: tuple[Matcher, int] | None = None
        self._grounding: tuple[Grounder, list[str]] | None = None
        self._naming: tuple[Captioner, list[int]] | None = None
        self.parts: list[Part] = [] if embedding is None else [embedding]

    def caption(self, captioner: Captioner, prompt: str) -> None:
        """Ask for captions. Raises TextError or OptionError where the prompt does not suit."""
        [prompt_ids] = captioner.encode_prompts([prompt])
        self._captioning = captioner, prompt_ids
        self.parts += captioner.parts

    def answer(self, answerer: Answerer, questions: Sequence[str]) -> None:
        """Ask questions."""
        self._answering = answerer, list(questions)
        self.parts += answerer.parts

    def match(self, matcher: Matcher, texts: int) -> None:
        """Ask how well the matcher's texts, so many, describe the pictures."""
        self._matching = matcher, texts
        self.parts += matcher.parts

    def ground(self, grounder: Grounder, phrases: Sequence[str], naming: Captioner | None) -> None:
        """Ask where phrases are; where there are none, the noun phrases of the captions, or of `naming`'s."""
        self._grounding = grounder, list(phrases)
        self.parts += grounder.parts
        if naming is not None:
            [prompt_ids] = naming.encode_prompts([""])
            self._naming = naming, prompt_ids
            self.parts += naming.parts

    @property
    def windows(self) -> Windows:
        """That pictures must be read with."""
        return WHOLE if self._grounding is None else self._grounding[0].windows

    def analyses(self, encoded: Encoded) -> list[Analysis]:
        """One a picture."""
        captions, answers, matches = self._captions(encoded), self._answers(encoded), self._matches(encoded)
        embeddings, groundings = self._embeddings(encoded), self._groundings(encoded, captions)
        found = zip(captions, answers, matches, embeddings, groundings, strict=True)
        return [Analysis(*each) for each in found]

    def _captions(self, encoded: Encoded) -> list[tuple[Caption, ...]]:
        return [()] * len(encoded) if self._captioning is None else _captioned(encoded, *self._captioning)

    def _groundings(self, encoded: Encoded, captions: Sequence[tuple[Caption, ...]]) -> Sequence[tuple[Grounding, ...]]:
        if self._grounding is None:
            return [()] * len(encoded)
        grounder, phrases = self._grounding
        if phrases:
            return grounder.groundings(encoded, [phrases] * len(encoded))
        named = captions if self._naming is None else _captioned(encoded, *self._naming)
        return grounder.groundings(encoded, [phrases_of(each) for each in named])

    def _answers(self, encoded: Encoded) -> list[tuple[Answer, ...]]:
        if self._answering is None:
            return [()] * len(encoded)
        answerer, questions = self._answering
        picture, _ = _all_pairs(len(encoded), len(questions))
        found = answerer.answers(encoded, picture, questions * len(encoded))
        return _rows(found, len(questions))

    def _matches(self, encoded: Encoded) -> list[tuple[Match, ...]]:
        if self._matching is None:
            return [()] * len(encoded)
        matcher, texts = self._matching
        return _rows(matcher.matches(encoded, *_all_pairs(len(encoded), texts)), texts)

    def _embeddings(self, encoded: Encoded) -> list[Embedding | None]:
        if self._embedding is None:
            return [None] * len(encoded)
        return [Embedding(tuple(row.tolist()), self._embedding.name) for row in encoded.vectors(self._embedding)]


def _captioned(encoded: Encoded, captioner: Captioner, prompt: list[int]) -> list[tuple[Caption, ...]]:
    return [tuple(row) for row in captioner.captions(encoded, [prompt] * len(encoded))]


def _rows(found: Sequence[T], width: int) -> list[tuple[T, ...]]:
    return [tuple(found[start : start + width]) for start in range(0, len(found), width)]


def _all_pairs(pictures: int, texts: int) -> tuple[Ints, Ints]:
    """Picture and text of each pair, [pictures * texts]."""
    return np.repeat(np.arange(pictures), texts), np.tile(np.arange(texts), pictures)
