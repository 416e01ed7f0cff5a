"""The least time that a task can take on a machine: what it must compute and read, over what the machine can do.

Counted from a model's config alone: matrix products (a multiplication and an addition are two operations) and, in the
text transformer, the bytes that each pass must read: its weights, and the keys and values of the pictures or questions,
once for all beams. Layer norms, softmax, GELU, searching and writing are not counted: a floor, not a forecast. Knows no
engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tasks import ANSWER_LENGTH, CAPTION_LENGTH, QUESTION_LENGTH, TEXT_LENGTH, Task
from openblip.config import ModelConfig, TextConfig

WEIGHT_BYTES = {"f32": 4, "bf16": 2, "int8": 1}
STATE_BYTES = {"f32": 4, "bf16": 2, "int8": 2}
"""Of a key or value: beside 8-bit weights those are bfloat16, where the processor has it."""


@dataclass(frozen=True)
class Pass:
    """One run of a graph: operations of its matrix products, weights and states (numbers, not bytes) that it reads."""

    operations: float
    weights: float = 0.0
    states: float = 0.0


@dataclass(frozen=True)
class Rates:
    """What was measured: operations a second of matrix products in a precision, bytes a second read from memory."""

    operations_per_s: float
    bytes_per_s: float


def passes(config: ModelConfig, task: Task) -> list[Pass]:
    """The passes that a task consists of."""
    found = [image_pass(config, task.pictures)]
    if task.does == "encode":
        return found
    found.append(image_keys_values(config, task.pictures))
    if task.does == "caption":
        return found + _decoding(config.text, task.pictures, task.beams, CAPTION_LENGTH, config.vision.tokens)
    length = QUESTION_LENGTH if task.does == "answer" else TEXT_LENGTH
    found.append(_reading(config, task.texts, length))
    if task.does == "answer":
        width, layers = config.text.width, config.text.layers
        found.append(Pass(task.texts * length * layers * 4.0 * width * width, layers * 2.0 * width * width))
        found += _decoding(config.text, task.texts, 1, ANSWER_LENGTH, length)
    return found


def floor_s(config: ModelConfig, task: Task, precision: str, rates: Rates, *, state_bytes: int | None = None) -> float:
    """Seconds: for each pass the longer of computing and reading."""
    return _seconds(passes(config, task), precision, rates, state_bytes or STATE_BYTES[precision])


def image_pass(config: ModelConfig, pictures: int) -> Pass:
    """The ViT on a batch of pictures. Its weights are read once for all of them."""
    vision = config.vision
    patch = 3.0 * vision.patch_size**2 * vision.width
    layer = 4.0 * vision.width**2 + 2.0 * vision.width * vision.mlp_width
    attention = 4.0 * vision.tokens**2 * vision.width
    operations = 2 * vision.grid**2 * patch + vision.layers * (2 * vision.tokens * layer + attention)
    return Pass(pictures * operations, patch + vision.layers * layer)


def image_keys_values(config: ModelConfig, pictures: int) -> Pass:
    """Keys and values of the pictures for every text layer: once, whatever is asked afterwards."""
    weights = config.text.layers * 2.0 * config.vision.width * config.text.width
    return Pass(pictures * 2 * config.vision.tokens * weights, weights)


def _reading(config: ModelConfig, texts: int, length: int) -> Pass:
    """Texts about one picture through the image-grounded encoder."""
    text, rows = config.text, texts * length
    weights = text.layers * _layer_weights(text)
    attention = text.layers * 4.0 * rows * (length + config.vision.tokens) * text.width
    return Pass(2 * rows * weights + attention, weights, text.layers * 2.0 * config.vision.tokens * text.width)


def _decoding(text: TextConfig, sources: int, beams: int, length: int, looked_at: int) -> list[Pass]:
    """A decode of `sources` pictures or questions to `length` tokens, the first of them given. All but the last are
    fed; the first is fed once for all beams."""
    weights = text.layers * _layer_weights(text) + text.width**2 + text.width * text.vocab_size
    found = []
    for step in range(1, length):
        rows = sources * (1 if step == 1 else beams)
        attention = text.layers * 4.0 * rows * (step + looked_at) * text.width
        states = text.layers * 2.0 * text.width * (sources * looked_at + rows * (step - 1))
        found.append(Pass(2 * rows * weights + attention, weights, states))
    return found


def _layer_weights(text: TextConfig) -> float:
    """Of self-attention, the cross-attention's query and output, and the MLP."""
    return 6.0 * text.width**2 + 2.0 * text.width * text.mlp_width


def _seconds(found: Sequence[Pass], precision: str, rates: Rates, state_bytes: int) -> float:
    return sum(
        max(
            each.operations / rates.operations_per_s,
            (each.weights * WEIGHT_BYTES[precision] + each.states * state_bytes) / rates.bytes_per_s,
        )
        for each in found
    )
