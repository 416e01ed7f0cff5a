"""Runs `model.BlipModel` behind the Engine protocol, on CPU or CUDA. The same design as the OpenVINO engine: the
image's keys and values once, the beams in the query axis, one token tree a picture (`engines.tree`).

Knows tensors and devices. Does not know beams' scores, texts, files or training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from openblip.config import ModelConfig, Task
from openblip.engine import Floats, ImageStates, Ints, Logits, QuestionStates, Relevance
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
from openblip.engines.torch.gradient import relevance
from openblip.engines.torch.model import (
    BlipModel,
    KeysValues,
    LanguageModelHead,
    TextBlock,
    TextTransformer,
    merge_heads,
    take_images,
)
from openblip.engines.tree import Fed, TokenTree
from openblip.errors import ModelError, OptionError

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_SLOT_BLOCK = 64


@dataclass(frozen=True)
class TorchImageStates:
    """Encoded pictures on the device. states: [P, T, W]; embedding: [P, projection], float32, None where the model does
    not embed."""

    states: Tensor
    keys_values: KeysValues
    embedding: Tensor | None

    def __len__(self) -> int:
        return len(self.states)

    def take(self, indices: Ints) -> TorchImageStates:
        """The states of the chosen pictures, in that order."""
        if np.array_equal(indices, np.arange(len(self))):
            return self
        chosen = torch.as_tensor(indices, device=self.states.device)
        embedding = None if self.embedding is None else self.embedding[chosen]
        return TorchImageStates(self.states[chosen], take_images(self.keys_values, chosen), embedding)

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        embedding = 0 if self.embedding is None else self.embedding.nbytes
        return self.states.nbytes + sum(key.nbytes + value.nbytes for key, value in self.keys_values) + embedding

    def join(self, others: Sequence[ImageStates]) -> TorchImageStates:
        """These and then the others'."""
        every = [self, *map(_own, others)]
        layers = zip(*(each.keys_values for each in every), strict=True)
        embeddings = [each.embedding for each in every if each.embedding is not None]
        return TorchImageStates(
            torch.cat([each.states for each in every]),
            [(torch.cat([key for key, _ in layer]), torch.cat([value for _, value in layer])) for layer in layers],
            torch.cat(embeddings) if embeddings else None,
        )


@dataclass(frozen=True)
class TorchQuestionStates:
    """Questions as the answer decoder sees them. keys_values: a pair [R, H, L, D] a layer; mask: [R, 1, 1, L], True at
    the questions' own tokens."""

    keys_values: KeysValues
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)


@dataclass(frozen=True)
class _Stack:
    """A text transformer that writes: its output table and bias stay in float32, since logits of 8 significant bits
    would be off by some percent of probability."""

    text: TextTransformer
    head: LanguageModelHead
    table: Tensor
    bias: Tensor

    def logits(self, hidden: Tensor) -> Tensor:
        """Decoder states [..., W] -> float32 logits [..., V], whatever the precision of the rest."""
        return F.linear(self.head.norm(F.gelu(self.head.dense(hidden))).float(), self.table, self.bias)


class TorchRows:
    """Logits [rows, vocabulary] on the device; see `engine.LogitRows`. Equals may come in any order."""

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def top_k(self, k: int) -> Ints:
        """[rows, k], at most the vocabulary."""
        return _on_host(self._values.topk(min(k, self._values.shape[1]), dim=1).indices)

    def pick(self, ids: Ints) -> Floats:
        """ids: [rows, k]."""
        return _on_host(self._values.gather(1, torch.from_numpy(np.array(ids)).to(self._values.device)))

    def log_normaliser(self) -> Floats:
        """[rows, 1]."""
        return _on_host(self._values.logsumexp(dim=1, keepdim=True))

    def to_host(self) -> Floats:
        """[rows, vocabulary]."""
        return _on_host(self._values)


class TorchDecode:
    """One running decode; see `engine.Decode`. P: pictures, or questions. The cache is a pair [P, H, slots, D] a text
    layer."""

    def __init__(self, engine: TorchEngine, states: TorchImageStates | TorchQuestionStates, tree: TokenTree) -> None:
        self._engine, self._tree, self._looked_at = engine, tree, states.keys_values
        self._mask = states.mask if isinstance(states, TorchQuestionStates) else None
        self._stack = engine.stacks["caption" if self._mask is None else "answer"]
        self._cache: KeysValues = [(key[:, :, :0], value[:, :, :0]) for key, value in self._looked_at]
        self._used = 0

    @torch.inference_mode()
    def feed_prompts(self, lengths: Ints) -> Logits:
        """Returns the logits after each prompt, a row a picture."""
        hidden = self._run(self._tree.prompt())
        return self._logits(hidden[self._to_device(np.arange(len(lengths))), self._to_device(lengths - 1)])

    @torch.inference_mode()
    def step(self, tokens: Ints, parents: Ints) -> Logits:
        """tokens, parents: [live pictures, beams]. Returns logits of as many rows."""
        hidden = self._run(self._tree.step(tokens, parents))
        return self._logits(hidden[self._to_device(self._tree.live)])

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these (indices into the present batch)."""
        chosen = self._tree.keep(pictures)
        if chosen is not None:
            places = self._to_device(chosen)
            self._looked_at, self._cache = take_images(self._looked_at, places), take_images(self._cache, places)
            self._mask = None if self._mask is None else self._mask[places]

    def _run(self, fed: Fed) -> Tensor:
        """One pass over new tokens [P, Q], whose keys and values go into the next slots. Returns states [P, Q, W]."""
        text = self._stack.text
        queries = fed.tokens.shape[1]
        self._make_room(self._used + queries)
        new = np.broadcast_to(fed.new, (len(fed.tokens), queries, queries))
        mask = self._to_device(np.concatenate([fed.past, new], axis=2))[:, None]
        window = slice(self._used, self._used + queries)
        x = text.embed(self._to_device(fed.tokens), self._to_device(fed.positions))
        for module, looked_at, (keys, values) in zip(text.blocks, self._looked_at, self._cache, strict=True):
            block = cast(TextBlock, module)
            query, keys[:, :, window], values[:, :, window] = block.decoder_attention.project(x)
            attended = F.scaled_dot_product_attention(
                query, keys[:, :, : window.stop], values[:, :, : window.stop], attn_mask=mask
            )
            attended = block.decoder_attention.out(merge_heads(attended))
            x = block.after_attention(x, block.decoder_attention, attended, looked_at, self._mask)
        self._used = window.stop
        return x

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self._engine.device)

    def _logits(self, hidden: Tensor) -> Logits:
        logits = self._stack.logits(hidden)
        return TorchRows(logits.flatten(0, -2)) if self._engine.keeps_logits else _on_host(logits)

    def _make_room(self, slots: int) -> None:
        held = self._cache[0][0].shape[2]
        if slots > held:
            more = -(-slots // _SLOT_BLOCK) * _SLOT_BLOCK - held
            self._cache = [(F.pad(key, (0, 0, 0, more)), F.pad(value, (0, 0, 0, more))) for key, value in self._cache]


class TorchEngine:
    """A model on a torch device; see `engine.Engine`.

    precision: "f32" (the default on the CPU), "bf16" (the default on CUDA where it has it) or "f16" (CUDA alone).
    threads: torch's own setting, for the whole process.
    """

    lanes = 1

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, NDArray[np.float32]],
        device: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.config = config
        self.device = _checked_device(device)
        self.precision = _checked_precision(precision, self.device)
        self.dtype = _TYPES[self.precision]
        if threads is not None:
            if threads < 1:
                raise OptionError(f"threads={threads} is out of range: give 1 or more")
            torch.set_num_threads(threads)
        with torch.device("meta"):
            model = BlipModel(config)
        state = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in tensors.items()}
        model.load_state_dict(state, assign=True)
        self.model = model.to(self.device, self.dtype).eval().requires_grad_(False)
        self.stacks = _stacks(self.model, state)

    @classmethod
    def around(cls, model: BlipModel) -> TorchEngine:
        """An engine over a float32 model as it stands, sharing its parameters: for a model that is being trained."""
        engine = cls.__new__(cls)
        engine.config, engine.model = model.config, model
        engine.device, engine.precision, engine.dtype = next(model.parameters()).device, "f32", torch.float32
        engine.stacks = _stacks(model, dict(model.named_parameters()))
        return engine

    @property
    def keeps_logits(self) -> bool:
        """Whether logits stay on the device, which then looks for the best of them: on a GPU. On a CPU numpy finds
        them sooner."""
        return self.device.type != "cpu"

    @torch.inference_mode()
    def encode_images(self, pixels: Floats) -> TorchImageStates:
        """pixels: [P, 3, size, size], normalised."""
        states = self.model.vision(torch.as_tensor(pixels).to(self.device, self.dtype))
        pairs = self.model.text.keys_values(states) if self.config.grounded else []
        keys_values = [(key.contiguous(), value.contiguous()) for key, value in pairs]
        embedding = self.model.embed_image(states) if "embed" in self.config.tasks else None
        return TorchImageStates(states, keys_values, embedding)

    def embed_images(self, images: ImageStates) -> Floats:
        """Unit vectors [P, projection]."""
        self.config.require("embed")
        embedding = _own(images).embedding
        assert embedding is not None
        vectors: Floats = embedding.cpu().numpy()
        return vectors

    @torch.inference_mode()
    def embed_texts(self, tokens: Ints, lengths: Ints) -> Floats:
        """tokens: [R, L], starting with [CLS], right-padded. Unit vectors [R, projection]."""
        self.config.require("embed")
        check_text_lengths(lengths, self.config.text)
        result = np.empty((len(tokens), self.config.projection), np.float32)
        for start in range(0, len(tokens), TEXT_ROWS):
            rows = slice(start, start + TEXT_ROWS)
            result[rows] = self.model.embed_text(*self._texts(tokens[rows], lengths[rows])).cpu().numpy()
        return result

    @torch.inference_mode()
    def match(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> Floats:
        """picture: [R]; tokens: [R, L], starting with [ENC]. ITM logits [R, 2]. Rows are grouped by picture."""
        self.config.require("match")
        check_text_lengths(lengths, self.config.text)
        own = _own(images)
        result = np.empty((len(tokens), 2), np.float32)
        for pictures, rows in match_runs(picture):
            keys_values = own.take(pictures).keys_values
            logits = self.model.match(*self._texts(tokens[rows], lengths[rows]), keys_values)
            result[rows] = logits.float().cpu().numpy()
        return result

    def relevance(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints, layer: int) -> Relevance:
        """As `Engine.relevance`. Rows are grouped by picture."""
        self.config.require("match")
        check_text_lengths(lengths, self.config.text)
        chosen, own = checked_layer(layer, self.config.text), _own(images)
        result = blank_relevance(len(tokens), tokens.shape[1], self.config)
        for pictures, rows in match_runs(picture, RELEVANCE_ROWS):
            texts = self._texts(tokens[rows], lengths[rows])
            logits, attention, cam = relevance(self.model, *texts, own.take(pictures).keys_values, chosen)
            result.logits[rows] = _on_host(logits.float())
            unfold_rows(result.attention, _on_host(attention.float()), rows, lengths)
            unfold_rows(result.cam, _on_host(cam.float()), rows, lengths)
        return result

    @torch.inference_mode()
    def encode_questions(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> TorchQuestionStates:
        """picture: [R]; tokens: [R, L], starting with [ENC], right-padded. Rows are grouped by picture."""
        self.config.require("answer")
        check_text_lengths(lengths, self.config.text)
        own, (rows_in_all, width) = _own(images), (len(tokens), int(lengths.max()))
        states = torch.zeros(rows_in_all, width, self.config.text.width, dtype=self.dtype, device=self.device)
        for pictures, rows in match_runs(picture):
            question, length = self._texts(tokens[rows], lengths[rows])
            hidden = self.model.text(question, length, "encoder", own.take(pictures).keys_values)
            states[torch.as_tensor(rows, device=self.device), : hidden.shape[1]] = hidden
        pairs = self.model.answer.keys_values(states)
        mask = torch.arange(width, device=self.device) < torch.as_tensor(lengths, device=self.device)[:, None]
        return TorchQuestionStates(
            [(key.contiguous(), value.contiguous()) for key, value in pairs], mask[:, None, None]
        )

    @torch.inference_mode()
    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[TorchDecode, Logits]:
        """prompts: [P, L], starting with [DEC], right-padded. Returns the decode and its first logits, a row a
        picture."""
        if not isinstance(states, TorchQuestionStates):
            self.config.require("caption")
            states = _own(states)
        check_max_length(max_length, prompts, self.config.text)
        decode = TorchDecode(self, states, TokenTree(prompts, lengths, beams, self.config.text.pad_id))
        return decode, decode.feed_prompts(lengths)

    def _texts(self, tokens: Ints, lengths: Ints) -> tuple[Tensor, Tensor]:
        """Texts cut to the longest, on the device."""
        longest = int(lengths.max())
        return (
            torch.as_tensor(np.ascontiguousarray(tokens[:, :longest]), device=self.device),
            torch.as_tensor(lengths, device=self.device),
        )


def _stacks(model: BlipModel, tensors: Mapping[str, Tensor]) -> dict[Task, _Stack]:
    """What writes captions and what writes answers, where the model does. tensors: its own in float32."""
    stacks, device = dict[Task, _Stack](), next(model.parameters()).device
    for task, text, head in (("caption", "text", "lm"), ("answer", "answer", "answer_lm")):
        if task in model.config.tasks:
            stacks[task] = _Stack(
                getattr(model, text),
                getattr(model, head),
                tensors[f"{text}.tokens.weight"].to(device),
                tensors[f"{head}.bias"].to(device),
            )
    return stacks


def _on_host(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array


def _own(images: ImageStates | QuestionStates) -> TorchImageStates:
    if not isinstance(images, TorchImageStates):
        raise ModelError(f"image states of another engine ({type(images).__name__}): encode the pictures with this one")
    return images


def _checked_device(device: str | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise OptionError(f"device={device!r} is not a torch device: give 'cpu' or 'cuda'") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device={device!r} needs a CUDA device, and torch sees none: use 'cpu'")
    return chosen


def _checked_precision(precision: str | None, device: torch.device) -> str:
    if precision is None:
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "f32"
    if precision not in _TYPES:
        raise OptionError(f"precision={precision!r} is not for the torch engine: give 'f32', 'bf16' or 'f16'")
    if precision == "f16" and device.type == "cpu":
        raise OptionError("precision='f16' is for CUDA: use 'bf16' or 'f32' on a CPU")
    return precision
