"""A batch of pictures that all tasks share: read once, and encoded once by each checkpoint that is asked about it.

Knows parts and pixels. Does not know what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openblip.engine import Floats, ImageStates
from openblip.parts import Part
from openblip.pictures import Clock, Loaded


class Encoded:
    """Pictures as each part takes them in. parts: in the order of the inputs that the pictures were loaded for."""

    def __init__(self, batch: Sequence[Loaded], parts: Sequence[Part], clock: Clock) -> None:
        self.clock = clock
        self._batch, self._places = batch, {part: place for place, part in enumerate(parts)}
        self._pixels: dict[Part, Floats] = {}
        self._states: dict[Part, ImageStates] = {}
        self._vectors: dict[Part, Floats] = {}

    def __len__(self) -> int:
        return len(self._batch)

    def pixels(self, part: Part) -> Floats:
        """[pictures, 3, size, size], normalised as the part wants them."""
        if part not in self._pixels:
            place = self._places[part]
            self._pixels[part] = np.stack([loaded.pixels[place] for loaded in self._batch])
        return self._pixels[part]

    def states(self, part: Part) -> ImageStates:
        """What the part's image encoder makes of them."""
        if part not in self._states:
            pixels = self.pixels(part)
            with self.clock.measure("encode_s"):
                self._states[part] = part.engine.encode_images(pixels)
        return self._states[part]

    def vectors(self, part: Part) -> Floats:
        """Unit vectors [pictures, projection] of the ITC head."""
        if part not in self._vectors:
            states = self.states(part)
            with self.clock.measure("encode_s"):
                self._vectors[part] = part.engine.embed_images(states)
        return self._vectors[part]
