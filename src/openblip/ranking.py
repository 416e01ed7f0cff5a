"""Which of given texts a decoder finds most probable: BLIP's answer ranking (paper, section 4.3; `rank_answer` of its
VQA model). Knows token ids and logits. Does not know strings, pictures or a framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openblip.engine import Engine, Floats, ImageStates, Ints, Logits, QuestionStates
from openblip.search.logits import finite, pick, rows_of


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate: its place in the list, and the log-probability of each of its tokens."""

    index: int
    log_probabilities: tuple[float, ...]

    @property
    def log_probability(self) -> float:
        """Sum over the tokens."""
        return float(sum(self.log_probabilities))


def rank(
    engine: Engine, states: ImageStates | QuestionStates, candidates: Sequence[Sequence[int]], keep: int
) -> list[list[Ranked]]:
    """For each picture or question its `keep` likeliest candidates by their first token, ordered by their whole
    log-likelihood, best first; equals stay in the candidates' order.

    candidates: token ids behind [DEC], each closed with [SEP].
    """
    keep, rows, text = min(keep, len(candidates)), len(states), engine.config.text
    longest = max(map(len, candidates))
    tokens = np.full((len(candidates), longest), text.sep_id, np.int64)
    for row, candidate in enumerate(candidates):
        tokens[row, : len(candidate)] = candidate
    lengths = np.array([len(candidate) for candidate in candidates])

    start = np.full((rows, 1), text.dec_id, np.int64)
    decode, logits = engine.decode(states, start, np.ones(rows, np.int64), keep, longest + 1)
    first = _log_probabilities(logits, np.broadcast_to(tokens[:, 0], (rows, len(tokens))))
    chosen = np.sort(np.argsort(-first, axis=1, kind="stable")[:, :keep], axis=1)
    found = [pick(first, chosen)]
    own = np.broadcast_to(np.arange(keep), (rows, keep)).copy()
    for place in range(1, int(lengths[chosen].max())):
        following = decode.step(np.ascontiguousarray(tokens[chosen, place - 1]), own)
        found.append(_log_probabilities(following, tokens[chosen, place].reshape(-1, 1)).reshape(rows, keep))
    return [
        _best_first(chosen[row], lengths, np.stack([values[row] for values in found], axis=1)) for row in range(rows)
    ]


def _log_probabilities(logits: Logits, tokens: Ints) -> Floats:
    """Of tokens [rows, n] by logits of as many rows."""
    own = rows_of(logits)
    return own.pick(tokens) - finite(own.log_normaliser())


def _best_first(chosen: Ints, lengths: Ints, values: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> list[Ranked]:
    """values: [candidates, longest], what stands behind a candidate's end is not its own."""
    ranked = [
        Ranked(int(index), tuple(np.minimum(row[: lengths[index]], 0.0).tolist()))
        for index, row in zip(chosen, values, strict=True)
    ]
    return sorted(ranked, key=lambda each: -each.log_probability)
