"""Encoded pictures kept in memory, so that the next question about one costs its text alone. Knows bytes and order of
use; does not know what an encoding is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from openblip.engine import ImageStates
from openblip.parts import Part


class Encodings:
    """What checkpoints made of pictures, by the hash of the picture; at most `max_bytes` of it, what was used longest
    ago goes first. For any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[tuple[str, Part], ImageStates] = OrderedDict()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """What is held."""
        return self._bytes

    def find(self, digest: str, parts: Sequence[Part]) -> dict[Part, ImageStates]:
        """Of one picture, what is kept of these parts."""
        found = {}
        with self._lock:
            for part in parts:
                if (digest, part) in self._kept:
                    self._kept.move_to_end((digest, part))
                    found[part] = self._kept[digest, part]
        return found

    def keep(self, digest: str, part: Part, states: ImageStates) -> None:
        """Keep the states of one picture, unless they alone are more than may be kept."""
        size = states.nbytes
        if size > self._max_bytes:
            return
        with self._lock:
            before = self._kept.pop((digest, part), None)
            self._bytes += size - (before.nbytes if before is not None else 0)
            self._kept[digest, part] = states
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
