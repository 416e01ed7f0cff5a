"""A batch of pictures that all tasks share: read once, and encoded once by each checkpoint that is asked about it.

Knows parts and pixels. Does not know what is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from openblip.engine import Floats, ImageStates
from openblip.parts import Part
from openblip.pictures import Clock, Loaded


class Encoded:
    """Pictures as each part takes them in. parts: in the order of the inputs that the pictures were loaded for. known:
    of each picture what some parts made of it before; it needs no pixels for those."""

    def __init__(
        self,
        batch: Sequence[Loaded],
        parts: Sequence[Part],
        clock: Clock,
        known: Sequence[Mapping[Part, ImageStates]] = (),
    ) -> None:
        self.clock = clock
        self._batch, self._places = batch, {part: place for place, part in enumerate(parts)}
        self._known = known or [{}] * len(batch)
        self._pixels: dict[Part, Floats] = {}
        self._states: dict[Part, ImageStates] = {}
        self._vectors: dict[Part, Floats] = {}
        self._windows: dict[Part, ImageStates] = {}

    def __len__(self) -> int:
        return len(self._batch)

    def take(self, places: Sequence[int]) -> Encoded:
        """The chosen pictures in that order; what was encoded of them already is not encoded again."""
        if list(places) == list(range(len(self))):
            return self
        known = [self._known[place] for place in places]
        chosen = Encoded([self._batch[place] for place in places], list(self._places), self.clock, known)
        rows = np.array(places, dtype=np.int64)
        chosen._pixels = {part: pixels[rows] for part, pixels in self._pixels.items()}
        chosen._states = {part: states.take(rows) for part, states in self._states.items()}
        chosen._vectors = {part: vectors[rows] for part, vectors in self._vectors.items()}
        return chosen

    @property
    def full_sizes(self) -> list[tuple[int, int]]:
        """Width and height of each picture as it is shown."""
        return [loaded.full_size for loaded in self._batch]

    def pixels(self, part: Part) -> Floats:
        """[pictures, 3, size, size], normalised as the part wants them."""
        if part not in self._pixels:
            self._pixels[part] = self._stacked(part, range(len(self)))
        return self._pixels[part]

    def states(self, part: Part) -> ImageStates:
        """What the part's image encoder makes of them."""
        if part not in self._states:
            self._states[part] = self._encode(part)
        return self._states[part]

    def _encode(self, part: Part) -> ImageStates:
        unknown = [place for place, known in enumerate(self._known) if part not in known]
        if len(unknown) == len(self):
            pixels = self.pixels(part)
            with self.clock.measure("encode_s"):
                return part.engine.encode_images(pixels)
        states = {place: known[part] for place, known in enumerate(self._known) if part in known}
        if unknown:
            pixels = self._stacked(part, unknown)
            with self.clock.measure("encode_s"):
                new = part.engine.encode_images(pixels)
            states |= {place: new.take(np.array([row])) for row, place in enumerate(unknown)}
        first, *others = (states[place] for place in range(len(self)))
        return first.join(others) if others else first

    def windows(self, part: Part) -> ImageStates:
        """What the part's image encoder makes of the windows of all pictures: those of the first, then of the second,
        and so on. The pictures must have been read with windows."""
        if part not in self._windows:
            own = self._places[part]
            pixels = np.concatenate([loaded.windows[own] for loaded in self._batch])
            with self.clock.measure("encode_s"):
                self._windows[part] = part.engine.encode_images(pixels)
        return self._windows[part]

    def _stacked(self, part: Part, places: Iterable[int]) -> Floats:
        own = self._places[part]
        return np.stack([self._batch[place].pixels[own] for place in places])

    def vectors(self, part: Part) -> Floats:
        """Unit vectors [pictures, projection] of the ITC head."""
        if part not in self._vectors:
            states = self.states(part)
            with self.clock.measure("encode_s"):
                self._vectors[part] = part.engine.embed_images(states)
        return self._vectors[part]
