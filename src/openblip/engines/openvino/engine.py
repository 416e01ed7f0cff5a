"""Runs the graphs of `graph` behind the Engine protocol: holds the caches of a decode, shares image states.

Knows arrays, precisions and processors. Does not know beams' scores, texts, files or torch.

A decode keeps one token tree a picture (`engines.tree`), and its beams lie in the query axis: a picture's keys and
values, of the image and of its tokens, are read once a step, whatever the number of beams.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from openblip.config import ModelConfig, Task, TextConfig, is_large
from openblip.engine import Floats, ImageStates, Ints, QuestionStates
from openblip.engines.openvino.compile import Compiler, checked_precision
from openblip.engines.openvino.graph import Graphs, graphs_revision
from openblip.engines.openvino.processor import checked_threads, has_bfloat16, rounds_activations
from openblip.engines.runs import TEXT_ROWS, check_max_length, check_text_lengths, match_runs
from openblip.engines.tree import Fed, TokenTree
from openblip.errors import ModelError
from openblip.weights import StoredTensors

GraphName = Literal["image_encoder", "decoder", "text_encoder", "matcher", "question_encoder", "answer_decoder"]
_DECODERS: tuple[GraphName, ...] = ("decoder", "answer_decoder")
Border = NDArray[np.float32] | NDArray[np.uint16]
"""What crosses between graphs: float32, or the bits of bfloat16, which numpy has no type for."""

_HIDDEN = np.float32(-1e9)
_SLOT_BLOCK = 32
_LENGTH_BLOCK = 8
_IDLE_DECODERS = 8
_PICTURES = 4
"""Encoded at a time. Of 1 to 32 this is as fast as any for a ViT-B, and the fastest for `mini` (3.8 ms a picture on two
cores, 5.6 with 32): what lies between two layers stays in the processor's cache. And it takes an eighth of the memory
that 32 do, 3 GB of a ViT-B's in float32."""
_GRAPHS: dict[Task, tuple[GraphName, ...]] = {
    "caption": ("decoder",),
    "match": ("matcher",),
    "embed": ("text_encoder",),
    "answer": ("question_encoder", "answer_decoder"),
}


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
        every = [self, *map(_own, others)]
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
        mask = np.full((pictures, 1, queries, self._slots + queries), _HIDDEN, np.float32)
        mask[:, 0, :, : self._used][fed.past] = 0.0
        mask[:, 0, :, self._slots :][:, fed.new] = 0.0
        for index, array in enumerate((fed.tokens, fed.positions, read)):
            self._request.set_input_tensor(index, ov.Tensor(np.ascontiguousarray(array, dtype=np.int32)))
        self._request.set_input_tensor(3, ov.Tensor(mask))
        self._request.infer()
        for index, cache in enumerate(self._cache):
            _slots(cache, index, self._used, stop)[...] = _bits(self._request.get_output_tensor(1 + index).data)
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
            _slots(self._cache[index], index, 0, self._used)[...] = _slots(array, index, 0, self._used)
        self._slots = slots
        self._bind()

    def _bind(self) -> None:
        """Hand the image's and the cache's arrays to the request; it reads them in place."""
        for layer in range(self._text.layers):
            pair = slice(2 * layer, 2 * layer + 2)
            for place, array in enumerate((*self._images[pair], *self._cache[pair])):
                self._request.set_input_tensor(4 + 4 * layer + place, _tensor(array))
        if self._mask is not None:
            self._request.set_input_tensor(4 + 4 * self._text.layers, _tensor(self._mask))


class OpenVinoEngine:
    """A model on the CPU; see `engine.Engine`. Graphs are compiled when first needed. Safe to share between threads.

    precision: "f32"; "bf16" (the default where the processor has it); "int8": big matrices stored in 8 bits, products
    in bf16 or f32. threads: for one request; default: the physical cores this process may use. cache_dir: where
    compiled graphs are kept for the next start; used only with `revision`, which must change when the tensors do.
    """

    lanes = 1

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, NDArray[np.float32]],
        precision: str | None = None,
        threads: int | None = None,
        cache_dir: Path | None = None,
        revision: str | None = None,
    ) -> None:
        self.config = config
        self.precision = checked_precision(precision)
        self.threads = checked_threads(threads)
        self._bfloat16 = self.precision != "f32" and has_bfloat16()
        self._tensors = tensors
        self._idle_decoders: dict[GraphName, deque[ov.InferRequest]] = {
            name: deque(maxlen=_IDLE_DECODERS) for name in ("decoder", "answer_decoder")
        }
        key = repr((config, self.precision, revision, graphs_revision()))
        self._compiler = Compiler(self.precision, self.threads, cache_dir if revision is not None else None, key)
        if isinstance(tensors, StoredTensors):
            self._prepare(tensors)

    def _prepare(self, tensors: StoredTensors) -> None:
        """Refuse bad tensors now rather than at the first picture; but graphs that were kept once had good ones.

        A large model's graphs are compiled at once and its tensors let go of, provided that they can be kept: else they
        would lie in memory twice.
        """
        names: list[GraphName] = ["image_encoder", *(name for task in self.config.tasks for name in _GRAPHS[task])]
        missing = [name for name in names if not self._compiler.keeps(name)]
        if len(missing) == len(names):
            tensors.hold()
        if is_large(self.config):
            for name in missing:
                self._compiler.prepare(name, partial(self._write, name))
            if all(self._compiler.keeps(name) for name in names):
                tensors.release()

    def encode_images(self, pixels: Floats) -> OpenVinoImageStates:
        """pixels: [P, 3, size, size], normalised."""
        # A request of its own: the states of a few pictures are its output tensors, not copies.
        request, whole = self._request("image_encoder"), list[NDArray[Any]]()
        for start in range(0, len(pixels), _PICTURES):
            some = slice(start, start + _PICTURES)
            held = np.ascontiguousarray(pixels[some], dtype=np.float32)
            request.set_input_tensor(0, _tensor(held))
            request.infer()
            outputs = [output.data for output in request.output_tensors]
            if len(pixels) <= _PICTURES:
                whole = outputs
                break
            whole = whole or [np.empty((len(pixels), *array.shape[1:]), array.dtype) for array in outputs]
            for array, part in zip(whole, outputs, strict=True):
                array[some] = part
        states, *others = whole
        embedding = others.pop() if "embed" in self.config.tasks else None
        return OpenVinoImageStates(states, tuple(_bits(array) for array in others), embedding)

    def embed_images(self, images: ImageStates) -> Floats:
        """Unit vectors [P, projection]."""
        self.config.require("embed")
        embedding = _own(images).embedding
        assert embedding is not None
        return embedding

    def embed_texts(self, tokens: Ints, lengths: Ints) -> Floats:
        """tokens: [R, L], starting with [CLS], right-padded. Unit vectors [R, projection]."""
        self.config.require("embed")
        check_text_lengths(lengths, self.config.text)
        result = np.empty((len(tokens), self.config.projection), np.float32)
        request = self._request("text_encoder")
        for start in range(0, len(tokens), TEXT_ROWS):
            rows = slice(start, start + TEXT_ROWS)
            self._set_texts(request, tokens[rows], lengths[rows])
            request.infer()
            result[rows] = request.get_output_tensor(0).data
        return result

    def match(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> Floats:
        """picture: [R]; tokens: [R, L], starting with [ENC]. ITM logits [R, 2].

        Rows are grouped by picture, so that each picture's keys and values are read once for all its texts. Pictures
        with the same number of texts share a run; nothing is padded but the texts.
        """
        self.config.require("match")
        check_text_lengths(lengths, self.config.text)
        result = np.empty((len(tokens), 2), np.float32)
        for rows, outputs in self._read_with_images("matcher", images, picture, tokens, lengths):
            result[rows] = outputs[0]
        return result

    def encode_questions(
        self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints
    ) -> OpenVinoQuestionStates:
        """picture: [R]; tokens: [R, L], starting with [ENC], right-padded. Rows are grouped as in `match`."""
        self.config.require("answer")
        check_text_lengths(lengths, self.config.text)
        questions, width = len(tokens), self._text_width(lengths)
        heads, head_width = self.config.text.heads, self.config.text.width // self.config.text.heads
        shapes = ((questions, heads, head_width, width), (questions, heads, width, head_width))
        # Zeros, not garbage: a hidden place has weight 0, and 0 times NaN is NaN.
        kind: np.dtype[Any] = np.dtype(np.uint16 if self._bfloat16 else np.float32)
        joined: tuple[Border, ...] = tuple(
            np.zeros(shapes[index % 2], kind) for index in range(2 * self.config.answer_text.layers)
        )
        for rows, outputs in self._read_with_images("question_encoder", images, picture, tokens, lengths):
            for index, (whole, output) in enumerate(zip(joined, outputs, strict=True)):
                part = _bits(output)
                _slots(whole, index, 0, part.shape[3 - index % 2])[rows] = part
        mask = np.where(np.arange(width) < lengths[:, None], np.float32(0.0), _HIDDEN)
        return OpenVinoQuestionStates(joined, np.ascontiguousarray(mask[:, None, None]))

    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[OpenVinoDecode, Floats]:
        """prompts: [P, L], starting with [DEC], right-padded. Returns the decode and its first logits [P, V]."""
        graph: GraphName = "answer_decoder"
        text = self.config.answer_text
        if not isinstance(states, OpenVinoQuestionStates):
            self.config.require("caption")
            graph, states, text = "decoder", _own(states), self.config.text
        check_max_length(max_length, prompts, text)
        tree = TokenTree(prompts, lengths, beams, text.pad_id)
        try:
            request = self._idle_decoders[graph].pop()
        except IndexError:
            request = self._request(graph)
        decode = OpenVinoDecode(request, text, states, tree)
        # A request that has run has its kernels at hand: a new one costs some 3 ms in its first steps.
        # Bound to the engine, which so outlives the decode: its compiler holds the file that the weights lie in.
        weakref.finalize(decode, self._put_back, graph, request)
        return decode, decode.feed_prompts(lengths)

    def _put_back(self, graph: GraphName, request: ov.InferRequest) -> None:
        self._idle_decoders[graph].append(request)

    def _read_with_images(
        self, graph: GraphName, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints
    ) -> Iterator[tuple[Ints, list[NDArray[Any]]]]:
        """Texts [R, L] through the image-grounded encoder, each with its picture: some rows, and the graph's outputs
        for them, valid until the next."""
        request, own = self._request(graph), _own(images)
        for pictures, rows in match_runs(picture):
            self._set_texts(request, tokens[rows], lengths[rows])
            chosen = own.take(pictures)  # held until the pass is over: the request only borrows its arrays
            for index, array in enumerate(chosen.keys_values):
                request.set_input_tensor(2 + index, _tensor(array))
            request.infer()
            yield rows, [output.data for output in request.output_tensors]

    def _set_texts(self, request: ov.InferRequest, tokens: Ints, lengths: Ints) -> None:
        """Hand over texts [R, L], cut to the longest and padded to a round length: fewer shapes to prepare."""
        longest, width = int(lengths.max()), self._text_width(lengths)
        padded = np.full((len(tokens), width), self.config.text.pad_id, np.int32)
        padded[:, :longest] = tokens[:, :longest]
        mask = np.where(np.arange(width) < lengths[:, None], np.float32(0.0), _HIDDEN)[:, None, None, :]
        request.set_input_tensor(0, ov.Tensor(padded))
        request.set_input_tensor(1, ov.Tensor(np.ascontiguousarray(mask)))

    def _text_width(self, lengths: Ints) -> int:
        """The round length that texts of these lengths are padded to."""
        return min(-(-int(lengths.max()) // _LENGTH_BLOCK) * _LENGTH_BLOCK, self.config.text.max_positions)

    def _request(self, name: GraphName) -> ov.InferRequest:
        return self._compiler.request(name, partial(self._write, name))

    def _write(self, name: GraphName) -> ov.Model:
        # Eight bits pay where they are all that is read, in a decoder's few rows, and where products take them as they
        # are. Unpacked for many rows they are slower than float32: with AVX2 16 against 10 s for 8 photos of ViT-B.
        int8 = self.precision == "int8" and (rounds_activations() or name in _DECODERS)
        graphs = Graphs(self.config, self._tensors, bfloat16=self._bfloat16, int8=int8)
        writers: dict[GraphName, Callable[[], ov.Model]] = {
            "image_encoder": graphs.image_encoder,
            "decoder": graphs.decoder,
            "text_encoder": graphs.text_encoder,
            "matcher": graphs.matcher,
            "question_encoder": graphs.question_encoder,
            "answer_decoder": graphs.answer_decoder,
        }
        return writers[name]()


def _own(images: ImageStates | QuestionStates) -> OpenVinoImageStates:
    if not isinstance(images, OpenVinoImageStates):
        raise ModelError(f"image states of another engine ({type(images).__name__}): encode the pictures with this one")
    return images


def _bits(array: NDArray[Any]) -> Border:
    """float32 as it is; bfloat16, which OpenVINO shows to numpy under another 16-bit type, as its bits."""
    return array if array.dtype == np.float32 else array.view(np.uint16)


def _slots(cache: Border, index: int, first: int, last: int) -> Border:
    """A view of some slots of a cache array: at even indices keys [P, H, D, slots], at odd values [P, H, slots, D]."""
    return cache[:, :, :, first:last] if index % 2 == 0 else cache[:, :, first:last]


def _tensor(array: Border) -> ov.Tensor:
    """A tensor that borrows the array's memory: the caller must hold the array until the pass is over."""
    if array.dtype == np.uint16:
        return ov.Tensor(array, ov.Shape(list(array.shape)), ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)
