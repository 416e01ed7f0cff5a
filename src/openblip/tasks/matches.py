"""How well texts describe encoded pictures, and the unit vectors of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openblip.engine import Floats, Ints
from openblip.parts import Part
from openblip.pictures import Clock
from openblip.tasks.encoded import Encoded
from openblip.types import Match


class Matcher:
    """Holds given texts against pictures. matching: gives the probability; embedding: the similarity, and may be the
    same checkpoint."""

    def __init__(self, matching: Part, embedding: Part, texts: Sequence[str], clock: Clock) -> None:
        self._matching, self._embedding, self._texts = matching, embedding, texts
        self.parts = (matching, embedding)
        self._grounded = matching.tokenizer.encode_grounded(texts, matching.config.text.max_positions)
        with clock.measure("encode_s"):
            self._vectors = text_vectors(embedding, texts)

    def matches(self, encoded: Encoded, picture: Ints, text: Ints) -> list[Match]:
        """picture, text: [pairs]."""
        image_vectors, states = encoded.vectors(self._embedding), encoded.states(self._matching)
        tokens, lengths = self._grounded.tokens[text], self._grounded.lengths[text]
        with encoded.clock.measure("search_s"):
            logits = self._matching.engine.match(states, picture, tokens, lengths)
        probabilities = np.exp(-np.logaddexp(0.0, logits[:, 0] - logits[:, 1]))
        similarities = (image_vectors[picture] * self._vectors[text]).sum(axis=1)
        return [
            Match(self._texts[index], float(probability), float(similarity), self._matching.name)
            for index, probability, similarity in zip(text, probabilities, similarities, strict=True)
        ]


def text_vectors(part: Part, texts: Sequence[str]) -> Floats:
    """Unit vectors [texts, projection]. A text longer than the model's positions is cut."""
    if not texts:
        return np.zeros((0, part.config.projection), np.float32)
    rows = part.tokenizer.encode_unimodal(texts, part.config.text.max_positions)
    return part.engine.embed_texts(rows.tokens, rows.lengths)
