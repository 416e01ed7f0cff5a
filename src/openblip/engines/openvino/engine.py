"""Runs the graphs of `graph` and `gradient` behind the Engine protocol; shares image states among them.

Knows arrays, precisions and processors. Does not know beams' scores, texts, files or torch.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from openblip.config import ModelConfig, Task, is_large
from openblip.engine import Floats, ImageStates, Ints, QuestionStates, Relevance
from openblip.engines.openvino.compile import Compiler, checked_precision
from openblip.engines.openvino.decode import OpenVinoDecode
from openblip.engines.openvino.gradient import GradientGraphs, graphs_revision
from openblip.engines.openvino.graph import Graphs
from openblip.engines.openvino.processor import checked_threads, has_bfloat16, rounds_activations
from openblip.engines.openvino.states import (
    HIDDEN,
    Border,
    OpenVinoImageStates,
    OpenVinoQuestionStates,
    bits,
    borrowed,
    own_images,
    slots_of,
)
from openblip.engines.runs import (
    RELEVANCE_ROWS,
    TEXT_ROWS,
    blank_relevance,
    check_max_length,
    check_text_lengths,
    checked_layer,
    match_runs,
    unfold_rows,
)
from openblip.engines.tree import TokenTree
from openblip.weights import StoredTensors

GraphName = Literal["image_encoder", "decoder", "text_encoder", "matcher", "question_encoder", "answer_decoder"]
_DECODERS: tuple[GraphName, ...] = ("decoder", "answer_decoder")
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
            request.set_input_tensor(0, borrowed(held))
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
        return OpenVinoImageStates(states, tuple(bits(array) for array in others), embedding)

    def embed_images(self, images: ImageStates) -> Floats:
        """Unit vectors [P, projection]."""
        self.config.require("embed")
        embedding = own_images(images).embedding
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
        for rows, outputs in self._read_with_images(self._request("matcher"), images, picture, tokens, lengths):
            result[rows] = outputs[0]
        return result

    def relevance(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints, layer: int) -> Relevance:
        """As `Engine.relevance`. Rows are grouped as in `match`. An int8 engine does this in bf16: turned for the
        way back, weights would have their scales, one an output channel, across the sums."""
        self.config.require("match")
        check_text_lengths(lengths, self.config.text)
        request = self._relevance_request(checked_layer(layer, self.config.text))
        result = blank_relevance(len(tokens), tokens.shape[1], self.config)
        runs = self._read_with_images(request, images, picture, tokens, lengths, RELEVANCE_ROWS)
        for rows, (logits, attention, cam) in runs:
            result.logits[rows] = logits
            unfold_rows(result.attention, attention, rows, lengths)
            unfold_rows(result.cam, cam, rows, lengths)
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
        for rows, outputs in self._read_with_images(
            self._request("question_encoder"), images, picture, tokens, lengths
        ):
            for index, (whole, output) in enumerate(zip(joined, outputs, strict=True)):
                part = bits(output)
                slots_of(whole, index, 0, part.shape[3 - index % 2])[rows] = part
        mask = np.where(np.arange(width) < lengths[:, None], np.float32(0.0), HIDDEN)
        return OpenVinoQuestionStates(joined, np.ascontiguousarray(mask[:, None, None]))

    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[OpenVinoDecode, Floats]:
        """prompts: [P, L], starting with [DEC], right-padded. Returns the decode and its first logits [P, V]."""
        graph: GraphName = "answer_decoder"
        text = self.config.answer_text
        if not isinstance(states, OpenVinoQuestionStates):
            self.config.require("caption")
            graph, states, text = "decoder", own_images(states), self.config.text
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
        self,
        request: ov.InferRequest,
        images: ImageStates,
        picture: Ints,
        tokens: Ints,
        lengths: Ints,
        max_rows: int = TEXT_ROWS,
    ) -> Iterator[tuple[Ints, list[NDArray[Any]]]]:
        """Texts [R, L] through the image-grounded encoder, each with its picture: some rows, and the graph's outputs
        for them, valid until the next."""
        own = own_images(images)
        for pictures, rows in match_runs(picture, max_rows):
            self._set_texts(request, tokens[rows], lengths[rows])
            chosen = own.take(pictures)  # held until the pass is over: the request only borrows its arrays
            for index, array in enumerate(chosen.keys_values):
                request.set_input_tensor(2 + index, borrowed(array))
            request.infer()
            yield rows, [output.data for output in request.output_tensors]

    def _set_texts(self, request: ov.InferRequest, tokens: Ints, lengths: Ints) -> None:
        """Hand over texts [R, L], cut to the longest and padded to a round length: fewer shapes to prepare."""
        longest, width = int(lengths.max()), self._text_width(lengths)
        padded = np.full((len(tokens), width), self.config.text.pad_id, np.int32)
        padded[:, :longest] = tokens[:, :longest]
        mask = np.where(np.arange(width) < lengths[:, None], np.float32(0.0), HIDDEN)[:, None, None, :]
        request.set_input_tensor(0, ov.Tensor(padded))
        request.set_input_tensor(1, ov.Tensor(np.ascontiguousarray(mask)))

    def _text_width(self, lengths: Ints) -> int:
        """The round length that texts of these lengths are padded to."""
        return min(-(-int(lengths.max()) // _LENGTH_BLOCK) * _LENGTH_BLOCK, self.config.text.max_positions)

    def _request(self, name: GraphName) -> ov.InferRequest:
        return self._compiler.request(name, partial(self._write, name))

    def _relevance_request(self, layer: int) -> ov.InferRequest:
        """A large model's tensors are let go of again, as far as the graph could be kept."""
        name = f"relevance_{layer}"
        request = self._compiler.request(name, partial(self._write_relevance, layer))
        if isinstance(self._tensors, StoredTensors) and is_large(self.config) and self._compiler.keeps(name):
            self._tensors.release()
        return request

    def _write_relevance(self, layer: int) -> ov.Model:
        needed = {name: self._tensors[name] for name in self._tensors if name.startswith(("text.", "itm."))}
        return GradientGraphs(self.config, needed, bfloat16=self._bfloat16, int8=False).relevance(layer)

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
