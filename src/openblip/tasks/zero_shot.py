"""How well given phrases, put into given templates, fit encoded pictures: by ITC to screen, by ITM to confirm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openblip.engine import Floats, Ints
from openblip.parts import Part
from openblip.pictures import Clock
from openblip.tasks.encoded import Encoded
from openblip.tasks.matches import text_vectors

_TEXTS_A_CALL, _PAIRS_A_CALL = 256, 512


class ZeroShot:
    """Holds phrases against pictures. matching, embedding: the checkpoints of ITM and of ITC, which may be the same.

    templates: texts with "{}" where the phrase goes. The vector of a phrase is the mean of those of its texts, of unit
    length again, and its ITM logit the mean of theirs.
    """

    def __init__(
        self, matching: Part, embedding: Part, phrases: Sequence[str], templates: Sequence[str], clock: Clock
    ) -> None:
        self._matching, self._embedding, self._templates = matching, embedding, len(templates)
        self.parts = (matching, embedding)
        texts = [template.replace("{}", phrase) for phrase in phrases for template in templates]
        with clock.measure("encode_s"):
            rows = [text_vectors(embedding, texts[start:end]) for start, end in _runs(len(texts), _TEXTS_A_CALL)]
        means = np.concatenate(rows).reshape(len(phrases), len(templates), -1).mean(axis=1)
        self._vectors: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
        self._grounded = matching.tokenizer.encode_grounded(texts, matching.config.text.max_positions)

    def similarities(self, encoded: Encoded) -> Floats:
        """Cosines, [pictures, phrases]."""
        return encoded.vectors(self._embedding) @ self._vectors.T

    def probabilities(self, encoded: Encoded, picture: Ints, phrase: Ints) -> Floats:
        """Of a match, of pairs: picture, phrase and the result are [pairs]."""
        states, each = encoded.states(self._matching), np.arange(self._templates)
        texts = (phrase[:, None] * self._templates + each).reshape(-1)
        pictures = picture.repeat(self._templates)
        margins = np.zeros(len(texts), np.float32)
        with encoded.clock.measure("search_s"):
            for start, end in _runs(len(texts), _PAIRS_A_CALL):
                rows = texts[start:end]
                lengths = self._grounded.lengths[rows]
                tokens = self._grounded.tokens[rows, : int(lengths.max())]
                logits = self._matching.engine.match(states, pictures[start:end], tokens, lengths)
                margins[start:end] = logits[:, 1] - logits[:, 0]
        logits = margins.reshape(-1, self._templates).mean(axis=1)
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)), np.float32)


def _runs(count: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, count)) for start in range(0, count, size)]
