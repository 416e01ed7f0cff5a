"""The family tree of a decode's tokens: what a row may look at. Knows no model and no hardware; both engines use it.

Instead of one cache a beam, a picture has one list of slots, a slot for every token that was ever fed, and every row a
mask of the slots it descends from. So a change of parents edits a mask and copies no keys or values, a prompt is stored
once for all its rows, and prompts of unequal length share a batch: padding is a slot that nobody descends from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openblip.engine import Ints

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Fed:
    """What one pass feeds. tokens, positions: [pictures, queries]; past: [pictures, queries, slots], the cached tokens
    that a query sees; new: [queries, queries], the tokens of this same pass that it sees."""

    tokens: Ints
    positions: Ints
    past: Bools
    new: Bools


class TokenTree:
    """Slots and ancestry of all pictures of one decode.

    Dropped pictures stay in the batch, fed with padding at position 0, until a quarter of it is dead: shrinking copies
    the caches, and every new batch size makes a runtime prepare its kernels again.
    """

    def __init__(self, prompts: Ints, lengths: Ints, beams: int, pad_id: int) -> None:
        """prompts: [pictures, length], right-padded; lengths: [pictures]."""
        self._prompts, self._lengths, self._pad_id = prompts, lengths.astype(np.int64), pad_id
        self._positions = self._lengths.copy()
        within = np.arange(prompts.shape[1]) < self._lengths[:, None]
        self._visible: Bools = np.repeat(within[:, None, :], beams, axis=1)
        self.live: Ints = np.arange(len(prompts))

    @property
    def pictures(self) -> int:
        """Pictures in the batch, dead ones included."""
        return len(self._visible)

    @property
    def slots(self) -> int:
        """Slots in use."""
        return int(self._visible.shape[2])

    def prompt(self) -> Fed:
        """The first pass. Padding comes after the text, so a causal mask hides it; what itself sees is never read."""
        length = self._prompts.shape[1]
        steps = np.arange(length)
        past = np.zeros((self.pictures, length, 0), np.bool_)
        return Fed(self._prompts, np.broadcast_to(steps, self._prompts.shape), past, steps[:, None] >= steps)

    def step(self, tokens: Ints, parents: Ints) -> Fed:
        """One more token a row. tokens, parents: [live pictures, beams]."""
        beams, live = self._visible.shape[1], self.live
        self._visible[live] = self._visible[live[:, None], parents]
        fed = np.full((self.pictures, beams), self._pad_id, np.int64)
        fed[live] = tokens
        positions = np.zeros_like(fed)
        positions[live] = self._positions[live, None]
        itself = np.eye(beams, dtype=np.bool_)
        result = Fed(fed, positions, self._visible, itself)
        own = np.broadcast_to(itself, (self.pictures, beams, beams))
        self._visible = np.concatenate([self._visible, own], axis=2)
        self._positions[live] += 1
        return result

    def keep(self, pictures: Ints) -> Ints | None:
        """Keep these of the live pictures. Returns the places that the caches must shrink to, or None if they stay."""
        self.live = self.live[pictures]
        if 4 * len(self.live) > 3 * self.pictures:
            return None
        chosen, self.live = self.live, np.arange(len(self.live))
        self._visible, self._positions = self._visible[chosen], self._positions[chosen]
        return chosen
