"""Greedy, beam and nucleus search over the steps of any engine, in numpy.

Knows token ids, logits and GenerateOptions. Does not know strings, pictures, files or a framework. Pictures of a batch
are independent: what one gives depends on its own logits, prompt and seed alone, so a batch of n equals n singles.

The beam search ends with the texts of the one in transformers with `early_stopping=False`: 2 * beams candidates a step,
of which only the first `beams` may close a text; a closed text scores log-probability / generated tokens **
length_penalty, [SEP] counted; a picture is done when it has `beams` closed texts and its best open one, at its present
length, scores no higher than the worst of them; with `early_stopping`, when it has so many. `max_length` bounds [DEC],
prompt and generated tokens, a closing [SEP] among them; `min_length` is how many of them must stand before [SEP] may
follow. As there, the repetition penalty acts on log-probabilities in a beam search and on logits otherwise.

Reported log-probabilities are the model's own: log-softmax of the raw logits, before temperature, nucleus or penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.engine import Decode, Engine, Floats, ImageStates, Ints, QuestionStates
from openblip.errors import ModelError, OptionError
from openblip.types import GenerateOptions

Bools = NDArray[np.bool_]
Choose = Callable[[Floats, Ints, int], Ints]

_NUCLEUS_LOOKS = (64, 512)  # most nuclei of a caption model fit the first look; what fits neither sorts its whole row


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One generated text as ids.

    tokens: what follows the prompt, the closing [SEP] included where the text ended by itself.
    log_probabilities: the model's own, one a token.
    score: what hypotheses of a picture are ordered by; in a beam search penalties and length are in it, otherwise it is
        the sum of the log-probabilities.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    score: float

    @property
    def log_probability(self) -> float:
        """Sum over the tokens."""
        return float(sum(self.log_probabilities))


def generate(
    engine: Engine,
    states: ImageStates | QuestionStates,
    prompts: Ints,
    lengths: Ints,
    options: GenerateOptions,
    seeds: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """`options.num_return` texts for each picture, or question: best first from a beam search, in order of draw when
    sampling.

    prompts: [pictures, length], starting with [DEC], right-padded; lengths: [pictures].
    seeds: one a picture, mixed with options.seed when sampling, so that unlike pictures draw unlike numbers.
    Raises OptionError where a prompt leaves no room within max_length or max_length exceeds the model's positions.
    """
    pictures = len(lengths)
    if pictures == 0:
        return []
    check_room(lengths, options, engine.config.text.max_positions)
    rows = options.num_return if options.sample else options.num_beams
    decode, first = engine.decode(states, prompts, lengths, rows, options.max_length - 1)
    sep = engine.config.text.sep_id
    if rows > 1 and not options.sample:
        return _beam_search(decode, first, prompts, lengths, options, sep)
    choose = _NucleusChoice(options, seeds or [0] * pictures) if options.sample else _greedy_choice
    return _row_search(decode, first, prompts, lengths, options, sep, rows, choose)


def top_k(values: Floats, k: int) -> Ints:
    """Ids of the k largest entries of each row, largest first. [rows, size] -> [rows, k].

    The maxima of about sqrt(size * k) interleaved blocks tell which k blocks can hold the winners; only those are
    looked into. For 96 rows of 6,000 this is some ten times faster than a partition of the whole rows.
    """
    rows, size = values.shape
    side = max(1, isqrt(size // k))
    stride = size // side
    whole = side * stride
    # Block b holds b, b + stride, b + 2 * stride, ...: so the maximum runs over whole cache lines.
    maxima = values[:, :whole].reshape(rows, side, stride).max(axis=1)
    np.maximum(maxima[:, : size - whole], values[:, whole:], out=maxima[:, : size - whole])
    blocks = np.argpartition(maxima, stride - k, axis=1)[:, stride - k :]
    ids = (blocks[:, None, :] + stride * np.arange(side + 1)[None, :, None]).reshape(rows, -1)
    found = np.take_along_axis(values, np.minimum(ids, size - 1), axis=1)
    found[ids >= size] = -np.inf
    best = np.argpartition(found, found.shape[1] - k, axis=1)[:, found.shape[1] - k :]
    ids, found = pick(ids, best), pick(found, best)
    order = np.lexsort((ids, -found), axis=1)
    return pick(ids, order).astype(np.int64, copy=False)


def pick(values: NDArray[Any], ids: Ints) -> NDArray[Any]:
    """values[row, ids[row]] for every row; `take_along_axis` does the same in four times the time for few rows."""
    return values[np.arange(len(values))[:, None], ids]


def check_room(lengths: Ints, options: GenerateOptions, positions: int) -> None:
    """Raise OptionError where a prompt of these lengths leaves no room, or the model has fewer positions than asked."""
    if options.max_length > positions:
        raise OptionError(f"max_length={options.max_length} exceeds the model's {positions} positions: give less")
    longest = int(lengths.max())
    if longest >= options.max_length:
        raise OptionError(
            f"a prompt of {longest} tokens leaves no room within max_length={options.max_length}: "
            f"shorten it or give max_length > {longest}"
        )


def log_normaliser(logits: Floats) -> Floats:
    """Log of the sum of the exponentials. [rows, vocabulary] -> [rows, 1]."""
    peak = logits.max(axis=1, keepdims=True)
    powers = logits - peak
    np.exp(powers, out=powers)
    normaliser: Floats = peak + np.log(powers.sum(axis=1, keepdims=True))
    if not np.isfinite(normaliser).all():
        raise ModelError("the model returned logits that are not finite: load it with precision='f32'")
    return normaliser


def _penalise(values: Floats, history: Ints, lengths: Ints, penalty: float) -> Floats:
    """A copy of values [rows, vocabulary] in which the tokens of history [rows, length] are made less likely."""
    values = values.copy()
    row = np.arange(len(values))[:, None]
    # Behind its length a row holds padding, which must not be penalised: let its first token stand there.
    present = np.where(np.arange(history.shape[1])[None, :] < lengths[:, None], history, history[:, :1])
    seen = values[row, present]
    values[row, present] = np.where(seen < 0, seen * penalty, seen / penalty)
    return values


class _Prompts:
    """The prompts of the living pictures, and with what is generated their histories."""

    def __init__(self, prompts: Ints, lengths: Ints, options: GenerateOptions) -> None:
        self.prompts, self.lengths = prompts, lengths
        self.options = options

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these."""
        self.prompts, self.lengths = self.prompts[pictures], self.lengths[pictures]

    def sep_forbidden(self, generated: int) -> Bools:
        """[pictures]: whether a text with so many generated tokens is too short to be closed."""
        return np.asarray(self.lengths + generated < self.options.min_length)

    def full(self, generated: int) -> Bools:
        """[pictures]: whether a text with so many generated tokens is as long as it may be."""
        return np.asarray(self.lengths + generated >= self.options.max_length)

    def penalised(self, values: Floats, tokens: Ints) -> Floats:
        """Penalise prompts and tokens [pictures, rows, generated] in values [pictures * rows, vocabulary]."""
        if self.options.repetition_penalty == 1.0:
            return values
        pictures, rows, generated = tokens.shape
        # Generated tokens come first and the padded prompt last, so that one length says what is present.
        history = np.concatenate([tokens, np.repeat(self.prompts[:, None], rows, axis=1)], axis=2)
        lengths = np.repeat(self.lengths + generated, rows)
        return _penalise(values, history.reshape(pictures * rows, -1), lengths, self.options.repetition_penalty)


# --------------------------------------------------------------------------------------------------------- beam search


@dataclass(slots=True)
class _Beams:
    """Open texts of the living pictures. tokens, own: [pictures, beams, generated]; scores: [pictures, beams]."""

    tokens: Ints
    own: Floats
    scores: Floats

    def take(self, picture: Ints, beam: Ints) -> tuple[Ints, Floats]:
        """Tokens and log-probabilities of the chosen beams."""
        return self.tokens[picture, beam], self.own[picture, beam]


@dataclass(slots=True)
class _Candidates:
    """The best continuations of each picture, best first; every array [pictures, 2 * beams]."""

    scores: Floats
    parents: Ints
    tokens: Ints
    own: Floats


def _beam_search(
    decode: Decode, first: Floats, prompts: Ints, lengths: Ints, options: GenerateOptions, sep: int
) -> list[list[Hypothesis]]:
    pictures, beams = len(lengths), options.num_beams
    closed: list[list[Hypothesis]] = [[] for _ in range(pictures)]
    alive = np.arange(pictures)
    living = _Prompts(prompts, lengths, options)
    # All beams start equal, so the first step looks at one of them.
    nothing = np.zeros((pictures, 1, 0))
    open_ = _Beams(nothing.astype(np.int64), nothing.astype(np.float32), np.zeros((pictures, 1), np.float32))
    logits = first[:, None, :]
    for generated in count(1):
        found = _best_continuations(logits, open_, living, 2 * beams, sep)
        ends = (found.tokens == sep) | living.full(generated)[:, None]
        _close(closed, alive, open_, found, ends, generated, options)
        parents = _advance(open_, found, ends, beams)

        best_open = open_.scores[:, 0] / float(generated) ** options.length_penalty
        worst_closed = [
            (np.inf if options.early_stopping else closed[index][-1].score) if len(closed[index]) == beams else -np.inf
            for index in alive
        ]
        stay = np.flatnonzero((best_open > np.array(worst_closed)) & ~living.full(generated))
        if len(stay) == 0:
            break
        if len(stay) < len(alive):
            decode.keep(stay)
            living.keep(stay)
            alive, parents = alive[stay], parents[stay]
            open_ = _Beams(open_.tokens[stay], open_.own[stay], open_.scores[stay])
        logits = decode.step(np.ascontiguousarray(open_.tokens[:, :, -1]), parents)
    return [texts[: options.num_return] for texts in closed]


def _best_continuations(logits: Floats, open_: _Beams, living: _Prompts, wanted: int, sep: int) -> _Candidates:
    """logits: [pictures, rows, vocabulary], rows being 1 in the first step and the beams afterwards."""
    pictures, rows, vocabulary = logits.shape
    flat = np.ascontiguousarray(logits.reshape(pictures * rows, vocabulary), dtype=np.float32)
    normaliser = log_normaliser(flat)
    if living.options.repetition_penalty == 1.0:
        values, shift = flat, normaliser
    else:
        values, shift = living.penalised(flat - normaliser, open_.tokens), np.zeros_like(normaliser)
    # One more than wanted: a forbidden [SEP] may be among them.
    ids = top_k(values, min(wanted + 1, vocabulary))
    gains = pick(values, ids) - shift
    own = np.minimum(pick(flat, ids) - normaliser, 0)  # rounding may leave a little above
    forbidden = np.repeat(living.sep_forbidden(open_.tokens.shape[2]), rows)[:, None]
    gains[forbidden & (ids == sep)] = -np.inf

    scores = (gains + open_.scores.reshape(-1, 1)).reshape(pictures, -1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :wanted]
    if order.shape[1] < wanted:  # a vocabulary smaller than the candidates: fill up with dead ones
        order = np.pad(order, ((0, 0), (0, wanted - order.shape[1])), constant_values=-1)
    chosen = pick(scores, order)
    chosen[order < 0] = -np.inf
    return _Candidates(
        scores=chosen,
        parents=np.maximum(order, 0) // ids.shape[1],
        tokens=pick(ids.reshape(pictures, -1), order),
        own=pick(own.reshape(pictures, -1), order),
    )


def _close(
    closed: list[list[Hypothesis]],
    alive: Ints,
    open_: _Beams,
    found: _Candidates,
    ends: Bools,
    generated: int,
    options: GenerateOptions,
) -> None:
    """Move the candidates that end, and are among the first `beams`, to the closed texts of their pictures."""
    beams = options.num_beams
    picture, rank = np.nonzero(ends[:, :beams] & np.isfinite(found.scores[:, :beams]))
    if len(picture) == 0:
        return
    tokens, own = open_.take(picture, found.parents[picture, rank])
    tokens = np.concatenate([tokens, found.tokens[picture, rank][:, None]], axis=1)
    own = np.concatenate([own, found.own[picture, rank][:, None]], axis=1)
    scores = found.scores[picture, rank] / float(generated) ** options.length_penalty
    touched = alive[picture]
    for index, row_tokens, row_own, score in zip(touched, tokens.tolist(), own.tolist(), scores.tolist(), strict=True):
        closed[index].append(Hypothesis(tuple(row_tokens), tuple(row_own), score))
    for index in set(touched.tolist()):
        closed[index].sort(key=lambda text: -text.score)  # stable: the earlier one stays ahead among equals
        del closed[index][beams:]


def _advance(open_: _Beams, found: _Candidates, ends: Bools, beams: int) -> Ints:
    """Make the best candidates that do not end the open texts. Returns their parents [pictures, beams]."""
    goes_on = np.argsort(ends, axis=1, kind="stable")[:, :beams]
    parents = np.take_along_axis(found.parents, goes_on, axis=1)
    picture = np.arange(len(parents))[:, None]
    tokens, own = open_.take(picture, parents)
    open_.tokens = np.concatenate([tokens, found.tokens[picture, goes_on][..., None]], axis=2)
    open_.own = np.concatenate([own, found.own[picture, goes_on][..., None]], axis=2)
    open_.scores = np.where(ends[picture, goes_on], np.float32(-np.inf), found.scores[picture, goes_on])
    return parents


# ------------------------------------------------------------------------------------------- greedy and nucleus search


def _row_search(
    decode: Decode,
    first: Floats,
    prompts: Ints,
    lengths: Ints,
    options: GenerateOptions,
    sep: int,
    rows: int,
    choose: Choose,
) -> list[list[Hypothesis]]:
    """Rows that know nothing of each other; a picture leaves when all its rows have ended."""
    pictures = len(lengths)
    results: list[list[Hypothesis]] = [[] for _ in range(pictures)]
    alive = np.arange(pictures)
    living = _Prompts(prompts, lengths, options)
    tokens = np.zeros((pictures, rows, 0), np.int64)
    own = np.zeros((pictures, rows, 0), np.float32)
    logits = np.repeat(first[:, None, :], rows, axis=1)
    for generated in count(1):
        flat = np.ascontiguousarray(logits.reshape(len(alive) * rows, -1), dtype=np.float32)
        values = living.penalised(flat, tokens)
        forbidden = np.repeat(living.sep_forbidden(generated - 1), rows)
        if forbidden.any():
            values = values.copy() if values is flat else values
            values[forbidden, sep] = -np.inf
        chosen = choose(values, alive, generated - 1)[:, None]
        probability = np.minimum(pick(flat, chosen) - log_normaliser(flat), 0)
        tokens = np.concatenate([tokens, chosen.reshape(-1, rows, 1)], axis=2)
        own = np.concatenate([own, probability.reshape(-1, rows, 1)], axis=2)

        done = (tokens == sep).any(axis=2).all(axis=1) | living.full(generated)
        for index in np.flatnonzero(done):
            results[alive[index]] = [_cut(row, own[index, place], sep) for place, row in enumerate(tokens[index])]
        stay = np.flatnonzero(~done)
        if len(stay) == 0:
            break
        if len(stay) < len(alive):
            decode.keep(stay)
            living.keep(stay)
            alive, tokens, own = alive[stay], tokens[stay], own[stay]
        parents = np.broadcast_to(np.arange(rows), (len(alive), rows)).copy()
        logits = decode.step(np.ascontiguousarray(tokens[:, :, -1]), parents)
    return results


def _cut(tokens: Ints, own: Floats, sep: int) -> Hypothesis:
    """A row up to its first [SEP]; what was fed after it, while its siblings went on, is not part of the text."""
    ends = np.flatnonzero(tokens == sep)
    length = int(ends[0]) + 1 if len(ends) else len(tokens)
    probabilities = tuple(own[:length].tolist())
    return Hypothesis(tuple(tokens[:length].tolist()), probabilities, float(sum(probabilities)))


def _greedy_choice(values: Floats, alive: Ints, step: int) -> Ints:
    return np.asarray(values.argmax(axis=1), np.int64)


class _NucleusChoice:
    """Draws from the smallest set of tokens that reaches top_p. Every picture and return has its own random numbers."""

    def __init__(self, options: GenerateOptions, seeds: Sequence[int]) -> None:
        self._options = options
        places = range(options.num_return)
        # [pictures, returns, steps], drawn at once: which number a step uses depends on nothing but the seeds.
        self._uniforms = np.array(
            [
                [np.random.default_rng([options.seed, seed, place]).random(options.max_length) for place in places]
                for seed in seeds
            ]
        )

    def __call__(self, values: Floats, alive: Ints, step: int) -> Ints:
        """values: [pictures * returns, vocabulary], -inf where a token is forbidden. Returns [pictures * returns]."""
        scaled = values / np.float32(self._options.temperature)
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
