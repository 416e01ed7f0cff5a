"""How engines split rows into runs, and the limits that they check first. Knows no runtime."""

from __future__ import annotations

import numpy as np

from openblip.config import TextConfig
from openblip.engine import Ints
from openblip.errors import OptionError, TextError

TEXT_ROWS = 256
"""Texts in one run."""

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


def check_max_length(max_length: int, prompts: Ints, text: TextConfig) -> None:
    """Raises OptionError on a decode, or TextError on a prompt, that would outgrow the model's positions."""
    if max_length > text.max_positions:
        raise OptionError(
            f"max_length={max_length} is more than the {text.max_positions} positions of this model: give at most that"
        )
    check_text_lengths(np.array(prompts.shape[1:]), text)
