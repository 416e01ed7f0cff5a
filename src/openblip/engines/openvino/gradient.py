"""Where matching looks: the matcher with the weights of one cross-attention and the gradient of its logit by them.

OpenVINO differentiates nothing, so each piece of a layer above is written with its way back: a function from the
gradient by its output to the gradient by its input. Below the chosen layer the pieces of `graph` do as they are. Knows
no device and no runs; axes in shape comments as in `graph`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import pi
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openvino as ov
import openvino.opset16 as op

from openblip.engines.openvino import graph
from openblip.engines.openvino.graph import Graphs, Value

Backward = Callable[[Value], Value]
"""Gradient by what a piece gives -> gradient by what it takes; both [R, L, W]."""


class _Look(NamedTuple):
    """A cross-attention. states: what it gives, [R, L, W]; weights: [P, H, Q, T]; by_weights: the gradient by `states`
    -> those by the residual stream [R, L, W] and by the weights; backward: through both."""

    states: Value
    weights: Value
    by_weights: Callable[[Value], tuple[Value, Value]]
    backward: Backward


class GradientGraphs(Graphs):
    """The graphs that have a gradient in them, one a text layer."""

    def relevance(self, layer: int) -> ov.Model:
        """Inputs as `matcher`, -> logits [R, 2], then of the cross-attention of that layer its weights and the gradient
        of the matching logit by them, clamped at 0, times them: [P, H, Q, T] each, Q = R / P * L."""
        tokens, mask = op.parameter([-1, -1], np.int32), op.parameter([-1, 1, 1, -1], np.float32)
        images = [self._keys_values() for _ in range(self._config.text.layers)]
        x = self._embed(tokens, self._positions(tokens))
        for index in range(layer):
            block = f"text.blocks.{index}"
            x = self._encoder_attention(x, mask, block)
            x = self._text_mlp(self._cross_attention(x, images[index], block, fold=True), block)
        chosen = self._look(self._encoder_attention(x, mask, f"text.blocks.{layer}"), images[layer], layer)
        x, backward = self._with_gradient_mlp(chosen.states, layer)
        way_back = [backward]
        for index in range(layer + 1, self._config.text.layers):
            x, through_tokens = self._read(x, mask, index)
            look = self._look(x, images[index], index)
            x, through_mlp = self._with_gradient_mlp(look.states, index)
            way_back += [through_tokens, look.backward, through_mlp]
        gradient = self._gradient_of_match(tokens)
        for backward in reversed(way_back):
            gradient = backward(gradient)
        cam = op.multiply(op.relu(chosen.by_weights(gradient)[1]), chosen.weights)
        logits = self._linear(op.gather(x, graph.integer(0), graph.integer(1)), "itm")
        parameters = [tokens, mask, *(value for image in images for value in image)]
        outputs = [op.result(value) for value in (logits, chosen.weights, cam)]
        return ov.Model(outputs, parameters, f"relevance_{layer}")

    def _gradient_of_match(self, tokens: Value) -> Value:
        """Of the matching logit by the last states, [L, W]: the head reads the first token alone."""
        first = op.convert(op.equal(self._positions(tokens), graph.integer(0)), "f32")
        return op.multiply(op.unsqueeze(first, graph.integer(1)), op.constant(self._tensors["itm.weight"][1:2]))

    def _read(self, x: Value, mask: Value, index: int) -> tuple[Value, Backward]:
        """Self-attention of the text, and its way back."""
        text, name = self._config.text, f"text.blocks.{index}.encoder_attention"
        query, key, value, weights = self._encoder_weights(x, mask, f"text.blocks.{index}")
        attended = self._merge_heads(op.matmul(weights, value, False, False), text.width)
        states, through_norm = self._with_gradient_post_norm(x, attended, name)

        def backward(gradient: Value) -> Value:
            gradient = through_norm(gradient)
            by_attended = self._heads(self._back(gradient, f"{name}.out"))
            by_scores = _through_softmax(op.matmul(by_attended, value, False, True), weights)
            parts = (
                op.matmul(by_scores, key, False, False),
                op.matmul(by_scores, query, True, False),
                op.matmul(weights, by_attended, True, False),
            )
            joint = op.concat([self._merge_heads(part, text.width) for part in parts], -1)
            return op.add(gradient, self._back(joint, f"{name}.qkv", scaled=True))

        return states, backward

    def _look(self, x: Value, image: list[Value], index: int) -> _Look:
        """Cross-attention over the picture."""
        text, name = self._config.text, f"text.blocks.{index}.cross_attention"
        keys, values, weights = self._cross_weights(x, image, f"text.blocks.{index}", fold=True)
        attended = self._merge_heads(op.matmul(weights, values, False, False), text.width)
        attended = op.reshape(attended, op.shape_of(x, "i32"), False)
        states, through_norm = self._with_gradient_post_norm(x, attended, name)

        def by_weights(gradient: Value) -> tuple[Value, Value]:
            gradient = through_norm(gradient)
            by_attended = self._heads(self._back(gradient, f"{name}.out"), image[0])
            return gradient, op.matmul(by_attended, values, False, True)

        def backward(gradient: Value) -> Value:
            gradient, by_them = by_weights(gradient)
            by_query = op.matmul(_through_softmax(by_them, weights), keys, False, True)
            folded = op.reshape(self._merge_heads(by_query, text.width), op.shape_of(x, "i32"), False)
            return op.add(gradient, self._back(folded, f"{name}.query", scaled=True))

        return _Look(states, weights, by_weights, backward)

    def _with_gradient_mlp(self, x: Value, index: int) -> tuple[Value, Backward]:
        """The feed-forward layer, and its way back."""
        name = f"text.blocks.{index}.mlp"
        up = self._linear(x, f"{name}.up")
        down = self._linear(op.gelu(up, "erf"), f"{name}.down")
        states, through_norm = self._with_gradient_norm(op.add(x, down), f"{name}.norm")

        def backward(gradient: Value) -> Value:
            gradient = through_norm(gradient)
            by_up = op.multiply(self._back(gradient, f"{name}.down"), _gelu_slope(up))
            return op.add(gradient, self._back(by_up, f"{name}.up"))

        return states, backward

    def _with_gradient_post_norm(self, x: Value, attended: Value, name: str) -> tuple[Value, Backward]:
        """Output projection, residual and the norm after it, and the way back to their sum."""
        return self._with_gradient_norm(op.add(x, self._linear(attended, f"{name}.out")), f"{name}.norm")

    def _with_gradient_norm(self, x: Value, name: str) -> tuple[Value, Backward]:
        """Layer norm over the last axis, and its way back."""
        centred = op.subtract(x, _mean(x))
        deviation = op.sqrt(op.add(_mean(op.multiply(centred, centred)), _number(self._text_eps)))
        normal = op.mvn(x, graph.integers(-1), True, self._text_eps, "INSIDE_SQRT")
        weight = self._constant(f"{name}.weight")

        def backward(gradient: Value) -> Value:
            scaled = op.multiply(gradient, weight)
            along = op.multiply(normal, _mean(op.multiply(scaled, normal)))
            return op.divide(op.subtract(op.subtract(scaled, _mean(scaled)), along), deviation)

        return op.add(op.multiply(normal, weight), self._constant(f"{name}.bias")), backward

    def _back(self, gradient: Value, name: str, *, scaled: bool = False) -> Value:
        """Through a linear layer: [..., out] -> [..., in]. scaled: its queries are, as in `Graphs._linear`.

        The weight is turned here, in memory of its own. OpenVINO would do the same, but with a square one 2026.4 takes
        its two uses for the same product, and the second is wrong.
        """
        weight, text = self._tensors[f"{name}.weight"], self._config.text
        if scaled:
            weight = graph.with_scaled_rows(weight, text.width, (text.width // text.heads) ** -0.5)
        return op.matmul(gradient, op.constant(np.ascontiguousarray(weight.T)), False, True)


def graphs_revision() -> str:
    """Changes when the graphs do: what is compiled from them and kept is then stale."""
    sources = (Path(file).read_bytes() for file in (graph.__file__, __file__))
    return hashlib.sha256(b"".join(sources)).hexdigest()[:12]


def _through_softmax(by_weights: Value, weights: Value) -> Value:
    """Gradient by the weights -> gradient by the scores, over the last axis."""
    product = op.multiply(by_weights, weights)
    return op.subtract(product, op.multiply(weights, op.reduce_sum(product, graph.integers(-1), True)))


def _gelu_slope(x: Value) -> Value:
    """Derivative of the exact GELU: the normal distribution, and x times its density."""
    below = op.multiply(op.add(op.erf(op.multiply(x, _number(0.5**0.5))), _number(1.0)), _number(0.5))
    density = op.multiply(op.exp(op.multiply(op.multiply(x, x), _number(-0.5))), _number((2 * pi) ** -0.5))
    return op.add(below, op.multiply(x, density))


def _mean(x: Value) -> Value:
    return op.reduce_mean(x, graph.integers(-1), True)


def _number(value: float) -> Value:
    return op.constant(np.float32(value))
