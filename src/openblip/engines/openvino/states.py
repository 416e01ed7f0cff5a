"""What the OpenVINO engine keeps of pictures and questions, and how arrays of two types cross to OpenVINO and back.

Knows arrays. Does not know graphs, nor who runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from openblip.engine import Floats, ImageStates, Ints, QuestionStates
from openblip.errors import ModelError

Border = NDArray[np.float32] | NDArray[np.uint16]
"""What crosses between graphs: float32, or the bits of bfloat16, which numpy has no type for."""

HIDDEN = np.float32(-1e9)
"""What is added to a score that nobody may look at."""


@dataclass(frozen=True)
class OpenVinoImageStates:
    """Encoded pictures. states: [P, T, W]; keys_values: keys [P, H, D, T] and values [P, H, T, D] of text layer 0, then
    of layer 1, and so on; embedding: [P, projection], None where the model does not embed."""

    states: Floats
    keys_values: tuple[Border, ...]
    embedding: Floats | None

    def __len__(self) -> int:
        return len(self.states)

    def take(self, indices: Ints) -> OpenVinoImageStates:
        """The states of the chosen pictures, in that order."""
        if np.array_equal(indices, np.arange(len(self))):
            return self
        embedding = None if self.embedding is None else self.embedding[indices]
        return OpenVinoImageStates(self.states[indices], tuple(array[indices] for array in self.keys_values), embedding)

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        embedding = 0 if self.embedding is None else self.embedding.nbytes
        return self.states.nbytes + sum(array.nbytes for array in self.keys_values) + embedding

    def join(self, others: Sequence[ImageStates]) -> OpenVinoImageStates:
        """These and then the others'."""
        every = [self, *map(own_images, others)]
        embeddings = [each.embedding for each in every if each.embedding is not None]
        return OpenVinoImageStates(
            np.concatenate([each.states for each in every]),
            tuple(np.concatenate(arrays) for arrays in zip(*(each.keys_values for each in every), strict=True)),
            np.concatenate(embeddings) if embeddings else None,
        )


@dataclass(frozen=True)
class OpenVinoQuestionStates:
    """Questions as the answer decoder sees them. keys_values: keys [R, H, D, L] and values [R, H, L, D] of layer 0,
    then of layer 1, and so on; mask: [R, 1, 1, L], 0 at the questions' own tokens and very negative elsewhere."""

    keys_values: tuple[Border, ...]
    mask: Floats

    def __len__(self) -> int:
        return len(self.mask)


def own_images(images: ImageStates | QuestionStates) -> OpenVinoImageStates:
    """They as what this engine keeps. Raises ModelError on another's."""
    if not isinstance(images, OpenVinoImageStates):
        raise ModelError(f"image states of another engine ({type(images).__name__}): encode the pictures with this one")
    return images


def bits(array: NDArray[Any]) -> Border:
    """float32 as it is; bfloat16, which OpenVINO shows to numpy under another 16-bit type, as its bits."""
    return array if array.dtype == np.float32 else array.view(np.uint16)


def slots_of(cache: Border, index: int, first: int, last: int) -> Border:
    """A view of some slots of a cache array: at even indices keys [P, H, D, slots], at odd values [P, H, slots, D]."""
    return cache[:, :, :, first:last] if index % 2 == 0 else cache[:, :, first:last]


def borrowed(array: Border) -> ov.Tensor:
    """A tensor that borrows the array's memory: the caller must hold the array until the pass is over."""
    if array.dtype == np.uint16:
        return ov.Tensor(array, ov.Shape(list(array.shape)), ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)
