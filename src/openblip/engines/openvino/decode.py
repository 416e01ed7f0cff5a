"""One running decode of the OpenVINO engine: its token tree, its cache and the request that it owns.

A decode keeps one token tree a picture (`engines.tree`), and its beams lie in the query axis: a picture's keys and
values, of the image and of its tokens, are read once a step, whatever the number of beams. Knows no beams' scores.
"""

from __future__ import annotations

import numpy as np
import openvino as ov

from openblip.config import TextConfig
from openblip.engine import Floats, Ints
from openblip.engines.openvino.states import (
    HIDDEN,
    Border,
    OpenVinoImageStates,
    OpenVinoQuestionStates,
    bits,
    borrowed,
    slots_of,
)
from openblip.engines.tree import Fed, TokenTree

_SLOT_BLOCK = 32


class OpenVinoDecode:
    """One running decode; see `engine.Decode`. P: pictures, or questions. Owns its infer request, so decodes may run in
    different threads."""

    def __init__(
        self,
        request: ov.InferRequest,
        text: TextConfig,
        states: OpenVinoImageStates | OpenVinoQuestionStates,
        tree: TokenTree,
    ) -> None:
        self._request, self._text, self._images, self._tree = request, text, states.keys_values, tree
        self._mask = states.mask if isinstance(states, OpenVinoQuestionStates) else None
        self._used = 0
        self._cache: tuple[Border, ...] = ()
        self._allocate(_SLOT_BLOCK)

    def feed_prompts(self, lengths: Ints) -> Floats:
        """Returns the logits after each prompt, [P, V]."""
        logits = self._run(self._tree.prompt(), (lengths - 1)[:, None])
        return logits[:, 0].copy()

    def step(self, tokens: Ints, parents: Ints) -> Floats:
        """tokens, parents: [live pictures, beams]. Returns logits [live pictures, beams, V]."""
        fed = self._tree.step(tokens, parents)
        logits = self._run(fed, np.broadcast_to(np.arange(fed.tokens.shape[1]), fed.tokens.shape))
        return logits[self._tree.live]

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these (indices into the present batch)."""
        places = self._tree.keep(pictures)
        if places is not None:
            self._images = tuple(array[places] for array in self._images)
            self._cache = tuple(array[places] for array in self._cache)
            self._mask = None if self._mask is None else self._mask[places]
            self._bind()

    def _run(self, fed: Fed, read: Ints) -> Floats:
        """One pass over new tokens [P, Q]; their keys and values go into the next slots. read: [P, N], the queries
        whose logits are wanted. Returns logits [P, N, V], valid until the next pass."""
        pictures, queries = fed.tokens.shape
        stop = self._used + queries
        if stop > self._slots:
            self._allocate(-(-stop // _SLOT_BLOCK) * _SLOT_BLOCK)
        mask = np.full((pictures, 1, queries, self._slots + queries), HIDDEN, np.float32)
        mask[:, 0, :, : self._used][fed.past] = 0.0
        mask[:, 0, :, self._slots :][:, fed.new] = 0.0
        for index, array in enumerate((fed.tokens, fed.positions, read)):
            self._request.set_input_tensor(index, ov.Tensor(np.ascontiguousarray(array, dtype=np.int32)))
        self._request.set_input_tensor(3, ov.Tensor(mask))
        self._request.infer()
        for index, cache in enumerate(self._cache):
            slots_of(cache, index, self._used, stop)[...] = bits(self._request.get_output_tensor(1 + index).data)
        self._used = stop
        logits: Floats = self._request.get_output_tensor(0).data
        return logits

    def _allocate(self, slots: int) -> None:
        """Make the cache this large, keeping what it holds."""
        heads, head_width = self._text.heads, self._text.width // self._text.heads
        pictures = self._tree.pictures
        shapes = ((pictures, heads, head_width, slots), (pictures, heads, slots, head_width))
        past = self._cache
        # Zeros, not garbage: a hidden slot has weight 0, and 0 times NaN is NaN.
        self._cache = tuple(np.zeros(shapes[index % 2], image.dtype) for index, image in enumerate(self._images))
        for index, array in enumerate(past):
            slots_of(self._cache[index], index, 0, self._used)[...] = slots_of(array, index, 0, self._used)
        self._slots = slots
        self._bind()

    def _bind(self) -> None:
        """Hand the image's and the cache's arrays to the request; it reads them in place."""
        for layer in range(self._text.layers):
            pair = slice(2 * layer, 2 * layer + 2)
            for place, array in enumerate((*self._images[pair], *self._cache[pair])):
                self._request.set_input_tensor(4 + 4 * layer + place, borrowed(array))
        if self._mask is not None:
            self._request.set_input_tensor(4 + 4 * self._text.layers, borrowed(self._mask))
