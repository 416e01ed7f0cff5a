"""How engines split rows into runs, and the limits that they check first. Knows no runtime."""

from __future__ import annotations

import numpy as np

from openblip.config import ModelConfig, TextConfig
from openblip.engine import Floats, Ints, Relevance
from openblip.errors import OptionError, TextError

TEXT_ROWS = 256
"""Texts in one run."""

RELEVANCE_ROWS = 32
"""Texts in one run that keeps what a gradient needs (`base`, 16 tokens: 14 MB a text and attention in float32)."""

_MATCH_PICTURES = 16
"""Pictures in one matching run, whose keys and values are copied together (`base`: 42 MB a picture in float32)."""


def match_runs(
    picture: Ints, max_rows: int = TEXT_ROWS, max_pictures: int = _MATCH_PICTURES
) -> list[tuple[Ints, Ints]]:
    """Split texts, picture[row] being the picture a text is held against, into runs of (pictures [P], rows [P * n]).

    Every picture of a run has n consecutive rows, so that its keys and values are read once for all of them, and no run
    is padded with rows that nobody asked for. A picture with more than max_rows texts counts as several.
    """
    if len(picture) == 0:
        return []
    order = np.argsort(picture, kind="stable")
    sorted_picture = picture[order]
    ordinal = np.arange(len(order)) - np.searchsorted(sorted_picture, sorted_picture)
    keys = np.stack([sorted_picture, ordinal // max_rows])
    _, starts, counts = np.unique(keys, axis=1, return_index=True, return_counts=True)
    runs = []
    for count in np.unique(counts):
        firsts = starts[counts == count]
        step = max(1, min(max_pictures, max_rows // int(count)))
        for begin in range(0, len(firsts), step):
            chosen = firsts[begin : begin + step]
            runs.append((sorted_picture[chosen], order[(chosen[:, None] + np.arange(count)).reshape(-1)]))
    return runs


def check_text_lengths(lengths: Ints, text: TextConfig) -> None:
    """Raises TextError on a text that has more tokens than the model has positions."""
    longest = int(lengths.max(initial=0))
    if longest > text.max_positions:
        raise TextError(
            f"a text of {longest} tokens is longer than the {text.max_positions} positions of this model: shorten it"
        )


def blank_relevance(rows: int, length: int, config: ModelConfig) -> Relevance:
    """All zeros, to be written into."""
    shape = (rows, config.text.heads, length, config.vision.tokens)
    return Relevance(np.zeros((rows, 2), np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def unfold_rows(whole: Floats, part: Floats, rows: Ints, lengths: Ints) -> None:
    """Write what a run found into whole [rows in all, H, L, T], as far as each text goes.

    part: [P, H, Q, T], the texts of each picture after one another in the query axis, all padded to the same length;
    rows: which of all these texts are; lengths: of all.
    """
    pictures, heads, queries, tokens = part.shape
    texts = len(rows) // pictures
    apart = part.reshape(pictures, heads, texts, queries // texts, tokens)
    for place, row in enumerate(rows):
        length = int(lengths[row])
        whole[row, :, :length] = apart[place // texts, :, place % texts, :length]


def checked_layer(layer: int, text: TextConfig) -> int:
    """The text layer counted from 0, whichever end it was counted from. Raises OptionError."""
    if not -text.layers <= layer < text.layers:
        raise OptionError(
            f"layer={layer} is out of range: the text transformer of this model has {text.layers} layers: give "
            f"{-text.layers} to {text.layers - 1}"
        )
    return layer % text.layers


def check_max_length(max_length: int, prompts: Ints, text: TextConfig) -> None:
    """Raises OptionError on a decode, or TextError on a prompt, that would outgrow the model's positions."""
    if max_length > text.max_positions:
        raise OptionError(
            f"max_length={max_length} is more than the {text.max_positions} positions of this model: give at most that"
        )
    check_text_lengths(np.array(prompts.shape[1:]), text)
