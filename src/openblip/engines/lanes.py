"""Several engines over the same tensors as one, for callers in several threads. Knows no tensor and no hardware."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from openblip.engine import Decode, Engine, Floats, ImageStates, Ints, Logits, QuestionStates, Relevance


class Lanes:
    """An Engine. A call that comes while no other runs is done by `wide`, with all threads; one that comes while others
    run is done by one of `narrow`, with its share of them.

    Two batches of a small model, each on a core of its own, take less time than one after the other on both: no core
    waits for another in each of a step's many small products, nor while Python orders the beams. States that one engine
    made may be given to another.
    """

    def __init__(self, wide: Engine, narrow: Sequence[Engine]) -> None:
        self._wide, self._free, self._running, self._lock = wide, list(narrow), 0, Lock()
        self.config, self.lanes = wide.config, len(narrow)

    @property
    def precision(self) -> str:
        """That of all."""
        return self._wide.precision

    def encode_images(self, pixels: Floats) -> ImageStates:
        """As `Engine.encode_images`."""
        with self._lane() as engine:
            return engine.encode_images(pixels)

    def embed_images(self, images: ImageStates) -> Floats:
        """As `Engine.embed_images`."""
        with self._lane() as engine:
            return engine.embed_images(images)

    def embed_texts(self, tokens: Ints, lengths: Ints) -> Floats:
        """As `Engine.embed_texts`."""
        with self._lane() as engine:
            return engine.embed_texts(tokens, lengths)

    def match(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> Floats:
        """As `Engine.match`."""
        with self._lane() as engine:
            return engine.match(images, picture, tokens, lengths)

    def relevance(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints, layer: int) -> Relevance:
        """As `Engine.relevance`."""
        with self._lane() as engine:
            return engine.relevance(images, picture, tokens, lengths, layer)

    def encode_questions(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> QuestionStates:
        """As `Engine.encode_questions`."""
        with self._lane() as engine:
            return engine.encode_questions(images, picture, tokens, lengths)

    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[Decode, Logits]:
        """As `Engine.decode`. A lane is taken until the decode is dropped."""
        engine = self._take()
        try:
            decode, logits = engine.decode(states, prompts, lengths, beams, max_length)
        except BaseException:
            self._give_back(engine)
            raise
        weakref.finalize(decode, self._give_back, engine)
        return decode, logits

    @contextmanager
    def _lane(self) -> Iterator[Engine]:
        engine = self._take()
        try:
            yield engine
        finally:
            self._give_back(engine)

    def _take(self) -> Engine:
        """One for a call; where there are more calls than lanes, those beyond share `wide`."""
        with self._lock:
            self._running += 1
            return self._free.pop() if self._running > 1 and self._free else self._wide

    def _give_back(self, engine: Engine) -> None:
        with self._lock:
            self._running -= 1
            if engine is not self._wide:
                self._free.append(engine)
