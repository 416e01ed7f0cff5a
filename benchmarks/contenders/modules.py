"""What OpenVINO's notebook and an export to ONNX have in common: three modules of transformers with flat inputs and
outputs, to be traced, and transformers' `generate` that drives the traced ones.

As in the notebook, the decoder is traced once with the keys and values of the past as inputs and outputs, and is given
the states that it looks at anew with every token. What differs, as transformers 5 asks for it: masks go in as what is
added to the scores, and position numbers are made from them, since their making does not survive tracing; the cache is
an object of transformers, filled from the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from benchmarks.contenders import Array, Setup
from benchmarks.contenders.huggingface import generate_fixed, load_model
from benchmarks.tasks import ANSWER_LENGTH, CAPTION_LENGTH, Kind, Task, Way

PARTS: dict[Kind, tuple[str, ...]] = {
    "caption": ("vision", "decoder"),
    "answer": ("vision", "reader", "decoder"),
    "match": ("vision", "reader"),
}
"""What a checkpoint of each kind is taken apart into. "reader": the image-grounded text encoder."""


class Runner(Protocol):
    """Runs the converted parts."""

    def run(self, part: str, inputs: Sequence[Array]) -> list[Array]:
        """The outputs of a part, in order."""
        ...

    def seen(self) -> Mapping[str, str]:
        """Versions, instruction sets."""
        ...


class Vision(torch.nn.Module):
    """pixels -> image states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.vision_model

    def forward(self, pixels: Any) -> Any:
        """pixels: [pictures, 3, size, size]. Returns [pictures, tokens, width]."""
        return self.model(pixel_values=pixels).last_hidden_state


class Reader(torch.nn.Module):
    """Texts with pictures before them -> their states, or ITM logits where the model has such a head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.head = model.text_encoder, getattr(model, "itm_head", None)

    def forward(self, tokens: Any, mask: Any, states: Any, states_mask: Any) -> Any:
        """tokens, mask: [rows, length]; states: [rows, tokens, width]; states_mask: [rows, tokens]."""
        read = self.encoder(
            input_ids=tokens, attention_mask=_added(mask), encoder_hidden_states=states,
            encoder_attention_mask=_added(states_mask),
        ).last_hidden_state  # fmt: skip
        return read if self.head is None else self.head(read[:, 0])


class Decoder(torch.nn.Module):
    """One token a row -> logits and the grown cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.text_decoder

    def forward(self, tokens: Any, mask: Any, states: Any, states_mask: Any, *past: Any) -> Any:
        """tokens: [rows, 1]; mask: [rows, past + 1]; past: keys and values [rows, heads, past, head width] of each
        layer. Returns logits [rows, 1, vocabulary] and what the next call gets as `past`."""
        cache = transformers.EncoderDecoderCache(_filled(past), _Uncached())
        found = self.decoder(
            input_ids=tokens, attention_mask=_added(mask), position_ids=mask.sum(1, keepdim=True) - 1,
            encoder_hidden_states=states, encoder_attention_mask=_added(states_mask), past_key_values=cache,
            use_cache=True,
        )  # fmt: skip
        layers = found.past_key_values.self_attention_cache.layers
        return (found.logits, *(array for layer in layers for array in (layer.keys, layer.values)))


class _Uncached(transformers.DynamicCache):
    """Keys and values of what is looked at: made anew with every token, as in the notebook."""

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *more: Any, **named: Any) -> tuple[Any, Any]:
        """Keeps nothing."""
        return key_states, value_states


def parts_of(kind: Kind, folder: Path, setup: Setup) -> dict[str, tuple[torch.nn.Module, tuple[Any, ...]]]:
    """Each part with example inputs to trace it with."""
    model = load_model(kind, folder, Setup("f32", "", setup.threads, setup.work))
    vision, text = model.config.vision_config, model.config.text_config
    looked_at = vision.hidden_size if kind != "answer" else text.hidden_size
    head_width = text.hidden_size // text.num_attention_heads
    ones = torch.ones(2, 5, dtype=torch.long)
    past = [torch.rand(2, text.num_attention_heads, 4, head_width) for _ in range(2 * text.num_hidden_layers)]
    wholes: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "vision": (Vision, (torch.rand(2, 3, vision.image_size, vision.image_size),)),
        "reader": (Reader, (ones, ones, torch.rand(2, 7, vision.hidden_size), torch.ones(2, 7, dtype=torch.long))),
        "decoder": (
            Decoder, (ones[:, :1], ones, torch.rand(2, 7, looked_at), torch.ones(2, 7, dtype=torch.long), *past),
        ),
    }  # fmt: skip
    return {part: (wholes[part][0](model).eval(), wholes[part][1]) for part in PARTS[kind]}


class Driven:
    """Converted parts, driven as the notebook drives them; see `Contender`."""

    def __init__(self, kind: Kind, folder: Path, runner: Runner) -> None:
        self._runner = runner
        self._config: Any = transformers.BlipConfig.from_pretrained(folder)
        self._decoder = None if kind == "match" else _generating(self._config.text_config, self._step)

    def ways(self, task: Task) -> tuple[Way, ...]:
        """A call a question as in the notebook; which also shows how to share, as its parts are apart."""
        if task.texts == 0:
            return ("batch",)
        if task.texts == 1:
            return ("calls",)
        return ("shared",) if task.does == "match" else ("calls", "shared")

    def encode(self, pixels: NDArray[np.float32]) -> Array:
        """Image states [pictures, tokens, width]."""
        return self._runner.run("vision", [pixels])[0]

    def caption(self, pixels: NDArray[np.float32], beams: int) -> Array:
        """Token ids [pictures, CAPTION_LENGTH]."""
        return self._generate(self.encode(pixels), CAPTION_LENGTH, beams)

    def answer(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """Token ids [texts, ANSWER_LENGTH]."""
        if way == "shared":
            return self._generate(self._read(self.encode(pixels), tokens), ANSWER_LENGTH, 1)
        calls = [self._generate(self._read(self.encode(pixels), row[None]), ANSWER_LENGTH, 1) for row in tokens]
        return np.concatenate(calls)

    def match(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """ITM logits [texts, 2]."""
        if way == "shared":
            return self._read(self.encode(pixels), tokens)
        return np.concatenate([self._read(self.encode(pixels), row[None]) for row in tokens])

    def seen(self) -> Mapping[str, str]:
        """What the runner says."""
        return self._runner.seen()

    def _read(self, states: Array, tokens: NDArray[np.int64]) -> Array:
        shared = np.ascontiguousarray(np.broadcast_to(states, (len(tokens), *states.shape[1:])))
        mask = np.ones(shared.shape[:2], np.int64)
        return self._runner.run("reader", [tokens, np.ones_like(tokens), shared, mask])[0]

    def _generate(self, states: Array, length: int, beams: int) -> Array:
        assert self._decoder is not None
        text = self._config.text_config
        return generate_fixed(
            self._decoder.generate, length, beams, input_ids=torch.full((len(states), 1), text.bos_token_id),
            eos_token_id=text.sep_token_id, pad_token_id=text.pad_token_id,
            encoder_hidden_states=torch.from_numpy(states),
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
        )  # fmt: skip

    def _step(
        self, input_ids: Any, encoder_hidden_states: Any, encoder_attention_mask: Any, past_key_values: Any,
        attention_mask: Any = None, use_cache: bool = True, is_decoder: bool = True, return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """What `generate` calls in place of the decoder's forward."""
        text, rows = self._config.text_config, len(input_ids)
        empty = np.empty((rows, text.num_attention_heads, 0, text.hidden_size // text.num_attention_heads), np.float32)
        layers = past_key_values.layers if past_key_values.get_seq_length() else []
        past = [array.numpy() for layer in layers for array in (layer.keys, layer.values)]
        if attention_mask is None:
            attention_mask = torch.ones(rows, past_key_values.get_seq_length() + 1, dtype=torch.long)
        given = (input_ids, attention_mask, encoder_hidden_states, encoder_attention_mask)
        inputs = [tensor.numpy() for tensor in given] + (past or [empty] * (2 * text.num_hidden_layers))
        logits, *present = self._runner.run("decoder", inputs)
        cache = _filled([torch.from_numpy(array) for array in present])
        return CausalLMOutputWithCrossAttentions(logits=torch.from_numpy(logits), past_key_values=cache)


def _generating(config: Any, step: Any) -> Any:
    """A decoder of transformers for the sake of its `generate`: no weights, and `step` for its forward."""
    with torch.device("meta"):
        decoder: Any = transformers.models.blip.modeling_blip_text.BlipTextLMHeadModel(config)
    for module in decoder.modules():
        for name in list(module._parameters):
            if module._parameters[name] is not None:
                module._parameters[name] = torch.nn.Parameter(torch.empty(0))
    decoder.forward = step
    return decoder.eval()


def _filled(past: Sequence[Any]) -> Any:
    """keys, values, keys, values ... of the layers, as a cache. Not by its own `update`, which joins them to something
    empty: OpenVINO cannot convert that."""
    cache, new_layer = transformers.DynamicCache(), cast(Any, DynamicLayer)
    for keys, values in zip(past[::2], past[1::2], strict=True):
        layer: Any = new_layer()
        layer.keys, layer.values, layer.dtype, layer.device = keys, values, keys.dtype, keys.device
        layer.is_initialized = True
        cache.layers.append(layer)
    return cache


def _added(mask: Any) -> Any:
    """mask: [rows, keys], 1 where a key is seen. What is added to the scores, [rows, 1, 1, keys]."""
    return (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
