"""Greedy and nucleus search: rows that know nothing of each other. A picture leaves when all its rows have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from openblip.engine import Decode, Floats, Ints, LogitRows, Logits
from openblip.search.logits import HostRows, finite, log_normaliser, pick, rows_of, top_k
from openblip.search.texts import Bools, Hypothesis, Prompts
from openblip.types import GenerateOptions

Choose = Callable[[LogitRows, Bools, Ints, int], Ints]
"""Given logits, to which rows [SEP] is forbidden, the living pictures and the step: a token a row."""

_NUCLEUS_LOOKS = (64, 512)  # most nuclei of a caption model fit the first look; what fits neither sorts its whole row


@dataclass(frozen=True, slots=True)
class Step:
    """One more token of every row that goes on. pictures: [living], their places in the batch; tokens and
    log_probabilities: [living, rows]."""

    pictures: Ints
    tokens: Ints
    log_probabilities: Floats


def row_search(
    decode: Decode,
    first: Logits,
    prompts: Ints,
    lengths: Ints,
    options: GenerateOptions,
    sep: int,
    seeds: Sequence[int],
) -> list[list[Hypothesis]]:
    """The texts of all rows, `options.rows` a picture."""
    pictures, longest = len(lengths), options.max_length - int(lengths.min())
    tokens = np.full((pictures, options.rows, longest), sep, np.int64)
    own = np.zeros((pictures, options.rows, longest), np.float32)
    steps = np.zeros(pictures, np.int64)
    for place, step in enumerate(row_steps(decode, first, prompts, lengths, options, sep, seeds)):
        tokens[step.pictures, :, place], own[step.pictures, :, place] = step.tokens, step.log_probabilities
        steps[step.pictures] += 1
    return [
        [_cut(tokens[picture, row, :length], own[picture, row], sep) for row in range(options.rows)]
        for picture, length in enumerate(steps)
    ]


def row_steps(
    decode: Decode,
    first: Logits,
    prompts: Ints,
    lengths: Ints,
    options: GenerateOptions,
    sep: int,
    seeds: Sequence[int],
) -> Iterator[Step]:
    """The search step by step; the engine runs when the next step is asked for."""
    rows, alive, living = options.rows, np.arange(len(lengths)), Prompts(prompts, lengths, options)
    choose: Choose = _NucleusChoice(options, seeds, sep) if options.sample else _GreedyChoice(sep)
    tokens = np.zeros((len(alive), rows, 0), np.int64)
    logits = rows_of(first)
    if rows > 1:
        logits = HostRows(np.repeat(logits.to_host(), rows, axis=0))
    for generated in count(1):
        values = logits
        if options.repetition_penalty != 1.0:
            values = HostRows(living.penalised(logits.to_host(), tokens))
        forbidden = np.repeat(living.sep_forbidden(generated - 1), rows)
        chosen = choose(values, forbidden, alive, generated - 1)[:, None]
        own = logits.pick(chosen) - finite(logits.log_normaliser())
        own = np.minimum(own, 0)  # rounding may leave a little above
        tokens = np.concatenate([tokens, chosen.reshape(-1, rows, 1)], axis=2)
        yield Step(alive, tokens[:, :, -1], own.reshape(-1, rows))

        stay = np.flatnonzero(~((tokens == sep).any(axis=2).all(axis=1) | living.full(generated)))
        if len(stay) == 0:
            return
        if len(stay) < len(alive):
            decode.keep(stay)
            living.keep(stay)
            alive, tokens = alive[stay], tokens[stay]
        parents = np.broadcast_to(np.arange(rows), (len(alive), rows)).copy()
        logits = rows_of(decode.step(np.ascontiguousarray(tokens[:, :, -1]), parents))


def _cut(tokens: Ints, own: Floats, sep: int) -> Hypothesis:
    """A row up to its first [SEP]; what was fed after it, while its siblings went on, is not part of the text."""
    ends = np.flatnonzero(tokens == sep)
    length = int(ends[0]) + 1 if len(ends) else len(tokens)
    probabilities = tuple(own[:length].tolist())
    return Hypothesis(tuple(tokens[:length].tolist()), probabilities, float(sum(probabilities)))


class _GreedyChoice:
    """Takes the likeliest token, the next one where that is a forbidden [SEP]."""

    def __init__(self, sep: int) -> None:
        self._sep = sep

    def __call__(self, logits: LogitRows, forbidden: Bools, alive: Ints, step: int) -> Ints:
        """Returns [pictures * rows]."""
        best = logits.top_k(2 if forbidden.any() else 1)
        return np.where(forbidden & (best[:, 0] == self._sep), best[:, -1], best[:, 0])


class _NucleusChoice:
    """Draws from the smallest set of tokens that reaches top_p. Every picture and return has its own random numbers."""

    def __init__(self, options: GenerateOptions, seeds: Sequence[int], sep: int) -> None:
        self._options, self._sep = options, sep
        places = range(options.num_return)
        # [pictures, returns, steps], drawn at once: which number a step uses depends on nothing but the seeds.
        self._uniforms = np.array(
            [
                [np.random.default_rng([options.seed, seed, place]).random(options.max_length) for place in places]
                for seed in seeds
            ]
        )

    def __call__(self, logits: LogitRows, forbidden: Bools, alive: Ints, step: int) -> Ints:
        """Returns [pictures * returns]."""
        scaled = logits.to_host() / np.float32(self._options.temperature)
        scaled[forbidden, self._sep] = -np.inf
        scaled -= log_normaliser(scaled)
        uniforms = self._uniforms[alive, :, step].reshape(-1)
        chosen = np.zeros(len(scaled), np.int64)
        vocabulary = scaled.shape[1]
        waiting = np.arange(len(scaled))
        for k in (*_NUCLEUS_LOOKS, vocabulary):
            rows = scaled[waiting] if len(waiting) < len(scaled) else scaled
            ids = top_k(rows, k) if k < vocabulary else np.argsort(-rows, axis=1)
            mass = np.cumsum(np.exp(pick(rows, ids).astype(np.float64)), axis=1)
            whole = (mass[:, -1] >= self._options.top_p) | (k >= vocabulary)
            chosen[waiting[whole]] = self._draw(ids[whole], mass[whole], uniforms[waiting[whole]])
            waiting = waiting[~whole]
            if len(waiting) == 0:
                break
        return chosen

    def _draw(self, ids: Ints, mass: NDArray[np.float64], uniforms: NDArray[np.float64]) -> Ints:
        """ids: [rows, k], most probable first; mass: their running sums."""
        last = np.minimum((mass < self._options.top_p).sum(axis=1), mass.shape[1] - 1)
        target = uniforms * np.take_along_axis(mass, last[:, None], axis=1)[:, 0]
        place = np.minimum((mass <= target[:, None]).sum(axis=1), last)
        return np.take_along_axis(ids, place[:, None], axis=1)[:, 0]
