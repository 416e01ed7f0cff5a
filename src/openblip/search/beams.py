"""Beam search, and diverse beam search over groups of beams.

The beam search ends with the texts of the one in transformers: 2 * beams candidates a step,
of which only the first `beams` may close a text; a closed text scores log-probability / generated tokens **
length_penalty, [SEP] counted; a picture is done when it has `beams` closed texts and its best open one, at its present
length, scores no higher than the worst of them; with `early_stopping`, when it has so many.

Diverse beam search (Vijayakumar et al. 2016) is that search once a group, `num_beams / num_beam_groups` beams each,
over logits of one and the same engine step. The groups take turns: a token costs a group `diversity_penalty` for every
beam of the groups before it that went on with this token in this step (Hamming diversity). The penalty is part of the
score, by which the texts of all groups are ordered in the end, as in transformers 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, count

import numpy as np

from openblip.engine import Decode, Floats, Ints, LogitRows, Logits
from openblip.search.logits import HostRows, finite, pick, rows_of
from openblip.search.texts import Bools, Hypothesis, Prompts
from openblip.types import GenerateOptions


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The best continuations of each picture, best first; every array [pictures, 2 * beams]."""

    scores: Floats
    parents: Ints
    tokens: Ints
    own: Floats


@dataclass(frozen=True, slots=True)
class _Said:
    """What a group went on with. tokens: [pictures, beams]; costs: [pictures, beams], what each costs later groups."""

    tokens: Ints
    costs: Floats


def beam_search(
    decode: Decode, first: Logits, prompts: Ints, lengths: Ints, options: GenerateOptions, sep: int
) -> list[list[Hypothesis]]:
    """`options.num_return` texts a picture, best first. first: the logits after the prompts, a row a picture."""
    beams = options.num_beams // options.num_beam_groups
    groups = [_Group(len(lengths), beams, options, sep) for _ in range(options.num_beam_groups)]
    living = Prompts(prompts, lengths, options)
    # All beams start equal, so the first step looks at one of them.
    logits = [rows_of(first)] * len(groups)
    for generated in count(1):
        said: list[_Said] = []
        for group, own_logits in zip(groups, logits, strict=True):
            said.append(group.advance(own_logits, living, said))
        goes_on = np.any([group.goes_on(living, generated) for group in groups], axis=0)
        stay = np.flatnonzero(goes_on)
        if len(stay) == 0:
            break
        if len(stay) < len(goes_on):
            decode.keep(stay)
            living.keep(stay)
            for group in groups:
                group.keep(stay)
        tokens = np.concatenate([group.tokens[:, :, -1] for group in groups], axis=1)
        parents = np.concatenate([group.parents + place * beams for place, group in enumerate(groups)], axis=1)
        logits = _of_groups(rows_of(decode.step(tokens, parents)), len(groups), beams)
    return [_best_of([group.closed[index] for group in groups], options.num_return) for index in range(len(lengths))]


def _of_groups(logits: LogitRows, groups: int, beams: int) -> list[LogitRows]:
    """The rows of each group; a picture's lie together, those of its first group first."""
    if groups == 1:
        return [logits]
    values = logits.to_host()
    each = values.reshape(-1, groups, beams, values.shape[-1])
    return [rows_of(each[:, group]) for group in range(groups)]


def _best_of(closed: list[list[Hypothesis]], wanted: int) -> list[Hypothesis]:
    """The best texts of all groups; an earlier group's stays ahead among equals."""
    return sorted(chain.from_iterable(closed), key=lambda text: -text.score)[:wanted]


class _Group:
    """The beams of one group: open texts of the living pictures, closed ones of all.

    tokens, own: [living, beams, generated]; scores, parents: [living, beams]; beams being 1 before the first step.
    """

    def __init__(self, pictures: int, beams: int, options: GenerateOptions, sep: int) -> None:
        self._beams, self._options, self._sep = beams, options, sep
        self._alive = np.arange(pictures)
        self._own = np.zeros((pictures, 1, 0), np.float32)
        self._scores = np.zeros((pictures, 1), np.float32)
        self.tokens = np.zeros((pictures, 1, 0), np.int64)
        self.parents = np.zeros((pictures, 1), np.int64)
        self.closed: list[list[Hypothesis]] = [[] for _ in range(pictures)]

    def advance(self, logits: LogitRows, living: Prompts, said: list[_Said]) -> _Said:
        """Close the texts that end and make the best candidates that do not the open ones. said: of the groups before.
        logits: a row a living picture in the first step, as many as beams afterwards."""
        found = self._best_continuations(logits, living, said)
        is_sep = found.tokens == self._sep
        ends = is_sep | living.full(self.tokens.shape[2] + 1)[:, None]
        self._close(found, ends)
        on = np.argsort(is_sep, axis=1, kind="stable")[:, : self._beams]
        picture = np.arange(len(on))[:, None]
        self.parents = found.parents[picture, on]
        tokens, own = self.tokens[picture, self.parents], self._own[picture, self.parents]
        self.tokens = np.concatenate([tokens, found.tokens[picture, on][..., None]], axis=2)
        self._own = np.concatenate([own, found.own[picture, on][..., None]], axis=2)
        self._scores = np.where(ends[picture, on], np.float32(-np.inf), found.scores[picture, on])
        spoke = np.isfinite(found.scores[picture, on]) & ~is_sep[picture, on]
        return _Said(self.tokens[:, :, -1], spoke.astype(np.float32) * np.float32(self._options.diversity_penalty))

    def goes_on(self, living: Prompts, generated: int) -> Bools:
        """[living]: whether an open text may still beat the closed ones. Where none may, the group is over: no score
        of it is finite from here on."""
        best_open = self._scores[:, 0] / float(generated) ** self._options.length_penalty
        closed = [self.closed[index] for index in self._alive]
        worst_closed = np.array([self._bar(texts) for texts in closed])
        open_: Bools = (best_open > worst_closed) & ~living.full(generated)
        self._scores[~open_] = -np.inf
        return open_

    def _bar(self, closed: list[Hypothesis]) -> float:
        """What an open text must score more than, given its picture's closed ones."""
        if len(closed) < self._beams:
            return -np.inf
        return np.inf if self._options.early_stopping else closed[-1].score

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these."""
        self._alive, self._own, self._scores = self._alive[pictures], self._own[pictures], self._scores[pictures]
        self.tokens, self.parents = self.tokens[pictures], self.parents[pictures]

    def _best_continuations(self, logits: LogitRows, living: Prompts, said: list[_Said]) -> _Candidates:
        wanted, pictures = 2 * self._beams, len(living.lengths)
        rows, normaliser = len(logits) // pictures, finite(logits.log_normaliser())
        values, shift = _less_said(logits, rows, said), normaliser
        if self._options.repetition_penalty != 1.0:
            values = HostRows(living.penalised(values.to_host() - normaliser, self.tokens))
            shift = np.zeros_like(normaliser)
        # One more than wanted: a forbidden [SEP] may be among them.
        ids = values.top_k(wanted + 1)
        gains = values.pick(ids) - shift
        own = np.minimum(logits.pick(ids) - normaliser, 0)  # rounding may leave a little above
        forbidden = np.repeat(living.sep_forbidden(self.tokens.shape[2]), rows)[:, None]
        gains[forbidden & (ids == self._sep)] = -np.inf

        scores = (gains + self._scores.reshape(-1, 1)).reshape(pictures, -1)
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

    def _close(self, found: _Candidates, ends: Bools) -> None:
        """Move the candidates that end, and are among the first `beams`, to the closed texts of their pictures."""
        beams, generated = self._beams, self.tokens.shape[2] + 1
        picture, rank = np.nonzero(ends[:, :beams] & np.isfinite(found.scores[:, :beams]))
        if len(picture) == 0:
            return
        parents = found.parents[picture, rank]
        tokens = np.concatenate([self.tokens[picture, parents], found.tokens[picture, rank][:, None]], axis=1)
        own = np.concatenate([self._own[picture, parents], found.own[picture, rank][:, None]], axis=1)
        scores = found.scores[picture, rank] / float(generated) ** self._options.length_penalty
        touched = self._alive[picture]
        for index, text, text_own, score in zip(touched, tokens.tolist(), own.tolist(), scores.tolist(), strict=True):
            self.closed[index].append(Hypothesis(tuple(text), tuple(text_own), score))
        for index in set(touched.tolist()):
            self.closed[index].sort(key=lambda text: -text.score)  # stable: the earlier one stays ahead among equals
            del self.closed[index][beams:]


def _less_said(logits: LogitRows, rows: int, said: list[_Said]) -> LogitRows:
    """Logits of pictures * rows less the costs of what other groups said."""
    if not any(each.costs.any() for each in said):
        return logits
    tokens, costs = (np.concatenate(arrays, axis=1) for arrays in ([s.tokens for s in said], [s.costs for s in said]))
    values, picture = logits.to_host().copy(), np.arange(len(tokens))[:, None, None]
    places = (picture * rows + np.arange(rows)[:, None]) * values.shape[1] + tokens[:, None, :]  # pictures, rows, said
    np.subtract.at(values.reshape(-1), places, np.broadcast_to(costs[:, None, :], places.shape))
    return HostRows(values)
