"""The best of a search looked at again by ITM: their pictures read and encoded anew, as many as a time allows.

A library keeps one small vector a picture; what ITM reads is a hundred times that, so that it is computed again. Knows
a `Blip` and places, no table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openblip.engine import ImageStates
from openblip.errors import OpenBlipError
from openblip.library.encode import TEXT_TOKENS
from openblip.library.records import Record
from openblip.library.scan import read_place
from openblip.parts import Part
from openblip.pictures import Clock, Loaded, read_batches
from openblip.pipeline import Blip
from openblip.tasks.encoded import Encoded
from openblip.text import clean_caption

MAX_DEPTH = 64  # by a budget; more hardly changes what comes first
_FIRST = 4  # pictures from which the machine's speed is taken


@dataclass(frozen=True, slots=True)
class Judgement:
    """What ITM says of a picture. logit: by which BLIP orders, the cosine added; probability: of a match."""

    logit: float
    probability: float


def judge(
    blip: Blip,
    words: str,
    records: Sequence[Record],
    depth: int | None,
    budget_ms: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Judgement]:
    """Of the first `depth` records by their ids, or of as many as the budget allows: a few are timed, and then as many
    follow as should fit in what is left. A picture that cannot be read has no judgement."""
    part = blip.part("match")
    wanted = min(len(records), MAX_DEPTH if depth is None else depth)
    found: dict[str, Judgement] = {}
    start, done = clock(), 0
    while done < wanted:
        size = min(wanted - done, part.pictures_a_call() if depth is not None else _FIRST)
        if depth is None:
            size = min(wanted - done, _affordable(done, clock() - start, budget_ms / 1000))
            if size < 1:
                break
        found |= _judged(blip, part, words, records[done : done + size])
        done += size
    return found


def _affordable(done: int, spent_s: float, budget_s: float) -> int:
    """How many more pictures should fit, by what those before them took."""
    if not done:
        return _FIRST if budget_s > 0 else 0
    return min(2 * _FIRST, int((budget_s - spent_s) / (spent_s / done)))


def _judged(blip: Blip, part: Part, words: str, records: Sequence[Record]) -> dict[str, Judgement]:
    readable: list[Record] = []
    contents: list[bytes] = []
    for record in records:
        try:
            contents.append(read_place(record.place, blip.limits.max_bytes))
            readable.append(record)
        except OpenBlipError:
            continue
    loaded: list[Loaded] = []
    for batch in read_batches(contents, max(1, len(contents)), [part.config.vision], blip.limits, Clock()):
        loaded += batch
    usable = [place for place, each in enumerate(loaded) if each.error is None]
    if not usable:
        return {}
    states = Encoded([loaded[place] for place in usable], [part], Clock()).states(part)
    logits = _logits(part, states, words)
    probabilities = np.exp(-np.logaddexp(0.0, logits[:, 0] - logits[:, 1]))
    return {
        readable[place].id: Judgement(float(row[1]), float(probability))
        for place, row, probability in zip(usable, logits, probabilities, strict=True)
    }


def _logits(part: Part, states: ImageStates, words: str) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """[pictures, 2] of one text against every picture."""
    length = min(TEXT_TOKENS, part.config.text.max_positions)
    text = part.tokenizer.encode_grounded([clean_caption(words) or words], length)
    rows = np.zeros(len(states), np.int64)
    logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] = part.engine.match(
        states, np.arange(len(states)), text.tokens[rows], text.lengths[rows]
    )
    return logits
