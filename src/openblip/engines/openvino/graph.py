"""The computation graphs of a model, written in OpenVINO opsets straight from its tensors.

Image encoder, decoder, text encoder and matcher; question encoder and answer decoder. Everything that depends on the
image alone (its states, its embedding, and the cross-attention keys and values of every text layer) is an output of the
first, so that beams, texts and questions share it. Knows no search, no cache management and no device; masks come in
from outside.

Axes in shape comments: P pictures, R text rows, L tokens of a text, Q decoder queries of a picture, S cache slots, T
image tokens, H heads, D head width, W width, V vocabulary.

Keys are kept as [P, H, D, T] and values as [P, H, T, D]: both products of an attention then read without a transpose.
Scores are plain products and a softmax, not the fused attention operator: for the few queries of a decoder step that
one was twice as slow on CPUs without AMX (8 x 3 rows, 577 image tokens: 5.4 against 2.4 ms a layer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset16 as op
from numpy.typing import NDArray

from openblip.config import ModelConfig, TextConfig, mobilenet_v2_layers

Value = Any  # an OpenVINO node or one of its outputs; the operators carry no types

_BIG_MATRIX = 1 << 14
"""Entries from which a matrix is worth 8-bit storage; below, the scales and the unpacking cost more than they save."""


class Graphs:
    """Writes the graphs of one model. The tensors must outlive the returned models: constants share their memory.

    bfloat16: keys and values cross the border between graphs in bfloat16 instead of float32.
    int8: big matrices are stored in 8 bits with one scale an output channel; products are computed in floating point.
    """

    def __init__(
        self, config: ModelConfig, tensors: Mapping[str, NDArray[np.float32]], *, bfloat16: bool, int8: bool
    ) -> None:
        self._config = config
        self._tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
        self._int8 = int8
        self._border = ov.Type.bf16 if bfloat16 else ov.Type.f32

    # ------------------------------------------------------------------------------------------------------- graphs

    def image_encoder(self) -> ov.Model:
        """pixels [P, 3, size, size] -> states [P, T, W], then keys and values a layer, then embedding [P, projection],
        each where a task of the model needs it."""
        vision = self._config.vision
        pixels = op.parameter([-1, 3, vision.image_size, vision.image_size], np.float32)
        x = self._patches(pixels) if vision.kind == "vit" else self._backbone(pixels)
        x = self._with_class_token(x, pixels)
        for index in range(vision.layers):
            block = f"vision.blocks.{index}"
            attended = self._vision_attention(self._norm(x, f"{block}.norm1", vision.layer_norm_eps), block)
            x = op.add(x, attended)
            x = op.add(x, self._mlp(self._norm(x, f"{block}.norm2", vision.layer_norm_eps), f"{block}.mlp"))
        states = self._norm(x, "vision.norm", vision.layer_norm_eps)
        outputs = [states, *(self._keys_values_of(states, "text") if self._config.grounded else [])]
        if "embed" in self._config.tasks:
            first = op.gather(states, integer(0), integer(1))  # [P, W]
            outputs.append(_unit(self._linear(first, "itc.image")))
        return ov.Model([op.result(output) for output in outputs], [pixels], "image_encoder")

    def decoder(self) -> ov.Model:
        """One pass of the image-grounded decoder over Q new tokens of every picture.

        Inputs: tokens, positions [P, Q]; read [P, N], the queries whose logits are wanted; mask [P, 1, Q, S + Q], 0
        where a query may look and very negative elsewhere, the S cached tokens first and the new ones after; then for
        every layer the image's keys and values and the cache's, [P, H, D, S] and [P, H, S, D].
        Outputs: logits [P, N, V], then for every layer the keys [P, H, D, Q] and values [P, H, Q, D] of the new tokens.
        """
        return self._decoder("text", "lm")

    def answer_decoder(self) -> ov.Model:
        """The same for answers: P counts questions, whose keys and values stand in the place of the image's, and the
        last input is their mask [P, 1, 1, T]."""
        return self._decoder("answer", "answer_lm")

    def _decoder(self, prefix: str, head: str) -> ov.Model:
        text = self._text(prefix)
        heads, head_width = text.heads, text.width // text.heads
        tokens, positions, read = (op.parameter([-1, -1], np.int32) for _ in range(3))
        mask = op.parameter([-1, 1, -1, -1], np.float32)
        looked_at = op.parameter([-1, 1, 1, -1], np.float32) if prefix == "answer" else None
        parameters, outputs = [tokens, positions, read, mask], []
        table = self._constant(f"{prefix}.tokens.weight")  # one node for both ends, or it would be kept twice
        x = self._embed(tokens, positions, prefix, table)
        for index in range(text.layers):
            block = f"{prefix}.blocks.{index}"
            image, past = self._keys_values(), self._keys_values()
            parameters += [*image, *past]
            joint = self._linear(x, f"{block}.decoder_attention.qkv", scaled_rows=text.width, scale=head_width**-0.5)
            query, key, value = self._split_heads(joint, 3, heads, head_width)
            key = op.transpose(key, integers(0, 1, 3, 2))
            past_keys, past_values = self._from_border(past)
            # Joining copies the cache in every step, some kilobytes a row; multiplying the parts apart would be eight
            # more operators a layer, a fifth of a step of `mini` for one photo.
            keys, values = op.concat([past_keys, key], -1), op.concat([past_values, value], 2)
            weights = op.softmax(op.add(op.matmul(query, keys, False, False), mask), -1)
            attended = op.matmul(weights, values, False, False)
            x = self._post_norm(x, self._merge_heads(attended, text.width), f"{block}.decoder_attention")
            x = self._cross_attention(x, image, block, mask=looked_at)
            x = self._text_mlp(x, block)
            outputs += [self._to_border(key), self._to_border(value)]
        chosen = op.gather(x, read, integer(1), 1)  # [P, N, W]
        results = [self._language_model_head(chosen, table, head), *outputs]
        parameters += [] if looked_at is None else [looked_at]
        return ov.Model([op.result(result) for result in results], parameters, f"{prefix}_decoder")

    def text_encoder(self) -> ov.Model:
        """tokens [R, L], mask [R, 1, 1, L] -> unit vectors [R, projection]. No image is looked at."""
        tokens, mask = op.parameter([-1, -1], np.int32), op.parameter([-1, 1, 1, -1], np.float32)
        x = self._embed(tokens, self._positions(tokens))
        for index in range(self._config.text.layers):
            block = f"text.blocks.{index}"
            x = self._text_mlp(self._encoder_attention(x, mask, block), block)
        first = op.gather(x, integer(0), integer(1))
        return ov.Model([op.result(_unit(self._linear(first, "itc.text")))], [tokens, mask], "text_encoder")

    def matcher(self) -> ov.Model:
        """The image-grounded encoder: tokens [R, L], mask [R, 1, 1, L] and the image's keys and values -> logits [R,
        2].

        R is a multiple of P; consecutive rows share a picture and are folded into the query axis of its
        cross-attention.
        """
        x, parameters = self._image_grounded_encoder()
        first = op.gather(x, integer(0), integer(1))
        return ov.Model([op.result(self._linear(first, "itm"))], parameters, "matcher")

    def question_encoder(self) -> ov.Model:
        """The image-grounded encoder over questions, as `matcher` -> keys [R, H, D, L] and values [R, H, L, D] of every
        layer of the answer decoder."""
        x, parameters = self._image_grounded_encoder()
        outputs = self._keys_values_of(x, "answer")
        return ov.Model([op.result(output) for output in outputs], parameters, "question_encoder")

    def _image_grounded_encoder(self) -> tuple[Value, list[Value]]:
        """Its last states [R, L, W], and its parameters."""
        tokens, mask = op.parameter([-1, -1], np.int32), op.parameter([-1, 1, 1, -1], np.float32)
        parameters = [tokens, mask]
        x = self._embed(tokens, self._positions(tokens))
        for index in range(self._config.text.layers):
            block = f"text.blocks.{index}"
            image = self._keys_values()
            parameters += image
            x = self._encoder_attention(x, mask, block)
            x = self._text_mlp(self._cross_attention(x, image, block, fold=True), block)
        return x, parameters

    def _keys_values_of(self, states: Value, prefix: str) -> list[Value]:
        """What the cross-attentions of a text stack read of states [P, T, width]: keys [P, H, D, T] and values
        [P, H, T, D] of every layer."""
        text, outputs = self._text(prefix), []
        for index in range(text.layers):
            joint = self._linear(states, f"{prefix}.blocks.{index}.cross_attention.key_value")
            key, value = self._split_heads(joint, 2, text.heads, text.width // text.heads)
            outputs += [self._to_border(op.transpose(key, integers(0, 1, 3, 2))), self._to_border(value)]
        return outputs

    def _text(self, prefix: str) -> TextConfig:
        """Sizes of a text stack, "text" or "answer"."""
        return self._config.answer_text if prefix == "answer" else self._config.text

    # -------------------------------------------------------------------------------------------------- image pieces

    def _patches(self, pixels: Value) -> Value:
        """[P, 3, size, size] -> [P, T - 1, W]."""
        size = self._config.vision.patch_size
        x = op.convolution(pixels, self._constant("vision.patch.weight"), [size, size], [0, 0], [0, 0], [1, 1])
        return _map_to_tokens(op.add(x, self._constant("vision.patch.bias", (1, -1, 1, 1))))

    def _backbone(self, pixels: Value) -> Value:
        """MobileNetV2 and the bridge: [P, 3, size, size] -> [P, T - 1, W]."""
        x = block_input = pixels
        for layer in mobilenet_v2_layers():
            name = f"vision.backbone.{layer.index}"
            if layer.starts_block:
                block_input = x
            # TensorFlow's "same": at stride 2 the extra row and column go to the bottom and the right.
            begin, end = {(1, 1): (0, 0), (3, 1): (1, 1), (3, 2): (0, 1)}[layer.kernel, layer.stride]
            stride, padding = [layer.stride] * 2, ([begin] * 2, [end] * 2)
            if layer.groups == 1:
                x = op.convolution(x, self._constant(f"{name}.weight"), stride, *padding, [1, 1])
            else:
                weight = self._constant(f"{name}.weight", (layer.groups, 1, 1, layer.kernel, layer.kernel))
                x = op.group_convolution(x, weight, stride, *padding, [1, 1])
            x = op.add(x, self._constant(f"{name}.bias", (1, -1, 1, 1)))
            if layer.relu6:
                x = op.clamp(x, 0.0, 6.0)
            if layer.residual:
                x = op.add(x, block_input)
        return self._linear(_map_to_tokens(x), "vision.bridge")

    def _with_class_token(self, x: Value, pixels: Value) -> Value:
        """[P, T - 1, W] -> [P, T, W], positions added."""
        vision = self._config.vision
        pictures = op.gather(op.shape_of(pixels, "i32"), integers(0), integer(0))
        shape = op.concat([pictures, integers(1, vision.width)], 0)
        token = op.broadcast(self._constant("vision.class_token", (1, 1, vision.width)), shape)
        return op.add(op.concat([token, x], 1), self._constant("vision.positions"))

    def _vision_attention(self, x: Value, block: str) -> Value:
        vision = self._config.vision
        head_width = vision.width // vision.heads
        joint = self._linear(x, f"{block}.attention.qkv", scaled_rows=vision.width, scale=head_width**-0.5)
        query, key, value = self._split_heads(joint, 3, vision.heads, head_width)
        weights = op.softmax(op.matmul(query, key, False, True), -1)
        attended = op.matmul(weights, value, False, False)
        return self._linear(self._merge_heads(attended, vision.width), f"{block}.attention.out")

    # --------------------------------------------------------------------------------------------------- text pieces

    def _positions(self, tokens: Value) -> Value:
        length = op.gather(op.shape_of(tokens, "i32"), integer(1), integer(0))
        return op.range(integer(0), length, integer(1), "i32")

    def _embed(self, tokens: Value, positions: Value, prefix: str = "text", table: Value = None) -> Value:
        """tokens [R, L], positions [R, L] or [L] -> [R, L, W]."""
        words = op.gather(table or self._constant(f"{prefix}.tokens.weight"), tokens, integer(0))
        places = op.gather(self._constant(f"{prefix}.positions.weight"), positions, integer(0))
        return self._norm(op.add(words, places), f"{prefix}.norm", self._text_eps)

    def _encoder_attention(self, x: Value, mask: Value, block: str) -> Value:
        """x [R, L, W], mask [R, 1, 1, L] -> [R, L, W]."""
        _, _, value, weights = self._encoder_weights(x, mask, block)
        attended = self._merge_heads(op.matmul(weights, value, False, False), self._config.text.width)
        return self._post_norm(x, attended, f"{block}.encoder_attention")

    def _encoder_weights(self, x: Value, mask: Value, block: str) -> tuple[Value, Value, Value, Value]:
        """Queries, keys and values [R, H, L, D], and the weights of the values [R, H, L, L]."""
        text = self._config.text
        head_width = text.width // text.heads
        joint = self._linear(x, f"{block}.encoder_attention.qkv", scaled_rows=text.width, scale=head_width**-0.5)
        query, key, value = self._split_heads(joint, 3, text.heads, head_width)
        return query, key, value, op.softmax(op.add(op.matmul(query, key, False, True), mask), -1)

    def _cross_attention(
        self, x: Value, image: list[Value], block: str, *, fold: bool = False, mask: Value | None = None
    ) -> Value:
        """x [P, Q, W], or with `fold` [R, L, W]; image: keys [P, H, D, T] and values [P, H, T, D]; mask [P, 1, 1,
        T]."""
        _, values, weights = self._cross_weights(x, image, block, fold=fold, mask=mask)
        attended = self._merge_heads(op.matmul(weights, values, False, False), self._config.text.width)
        if fold:
            attended = op.reshape(attended, op.shape_of(x, "i32"), False)
        return self._post_norm(x, attended, f"{block}.cross_attention")

    def _cross_weights(
        self, x: Value, image: list[Value], block: str, *, fold: bool, mask: Value | None = None
    ) -> tuple[Value, Value, Value]:
        """Keys and values in the type that graphs are written in, and the weights of the values [P, H, Q, T]."""
        text = self._config.text
        head_width = text.width // text.heads
        query = self._linear(x, f"{block}.cross_attention.query", scaled_rows=text.width, scale=head_width**-0.5)
        query = self._heads(query, image[0] if fold else None)
        keys, values = self._from_border(image)
        scores = op.matmul(query, keys, False, False)
        return keys, values, op.softmax(scores if mask is None else op.add(scores, mask), -1)

    def _heads(self, x: Value, keys: Value | None = None) -> Value:
        """[rows, tokens, W] of text -> [rows, H, tokens, D], or with the keys of P pictures [P, H, Q, D]."""
        text = self._config.text
        head_width = text.width // text.heads
        if keys is None:
            apart = op.reshape(x, integers(0, 0, text.heads, head_width), True)
        else:
            pictures = op.gather(op.shape_of(keys, "i32"), integers(0), integer(0))
            apart = op.reshape(x, op.concat([pictures, integers(-1, text.heads, head_width)], 0), False)
        return op.transpose(apart, integers(0, 2, 1, 3))

    def _post_norm(self, x: Value, attended: Value, name: str) -> Value:
        """Output projection, residual and the norm after it."""
        return self._norm(op.add(x, self._linear(attended, f"{name}.out")), f"{name}.norm", self._text_eps)

    def _text_mlp(self, x: Value, block: str) -> Value:
        return self._norm(op.add(x, self._mlp(x, f"{block}.mlp")), f"{block}.mlp.norm", self._text_eps)

    def _language_model_head(self, x: Value, table: Value, head: str) -> Value:
        """[P, N, W] -> logits [P, N, V]; the output table [V, W] is the token embedding.

        The table is never stored in 8 bits: OpenVINO then rounds the logits to bfloat16, some percent of a probability.
        """
        x = self._norm(op.gelu(self._linear(x, f"{head}.dense"), "erf"), f"{head}.norm", self._text_eps)
        return op.add(op.matmul(x, table, False, True), self._constant(f"{head}.bias"))

    def _keys_values(self) -> list[Value]:
        """Parameters for keys [P, H, D, tokens] and values [P, H, tokens, D]."""
        text = self._config.text
        head_width = text.width // text.heads
        return [
            op.parameter([-1, text.heads, head_width, -1], self._border),
            op.parameter([-1, text.heads, -1, head_width], self._border),
        ]

    # ------------------------------------------------------------------------------------------------- shared pieces

    @property
    def _text_eps(self) -> float:
        return self._config.text.layer_norm_eps

    def _mlp(self, x: Value, name: str) -> Value:
        return self._linear(op.gelu(self._linear(x, f"{name}.up"), "erf"), f"{name}.down")

    def _linear(self, x: Value, name: str, *, scaled_rows: int = 0, scale: float = 1.0) -> Value:
        """x [..., in] -> [..., out]. The first `scaled_rows` outputs are multiplied by `scale` (within the weights)."""
        product = op.matmul(x, self._matrix(f"{name}.weight", scaled_rows, scale), False, True)
        return op.add(product, op.constant(with_scaled_rows(self._tensors[f"{name}.bias"], scaled_rows, scale)))

    def _norm(self, x: Value, name: str, eps: float) -> Value:
        """Layer norm over the last axis."""
        x = op.mvn(x, integers(-1), True, eps, "INSIDE_SQRT")
        return op.add(op.multiply(x, self._constant(f"{name}.weight")), self._constant(f"{name}.bias"))

    def _split_heads(self, joint: Value, parts: int, heads: int, head_width: int) -> list[Value]:
        """[rows, tokens, parts * H * D] -> parts of [rows, H, tokens, D]."""
        apart = op.reshape(joint, integers(0, 0, parts, heads, head_width), True)
        turned = op.transpose(apart, integers(2, 0, 3, 1, 4))
        return [op.squeeze(part, integers(0)) for part in op.split(turned, integer(0), parts).outputs()]

    def _merge_heads(self, x: Value, width: int) -> Value:
        """[rows, H, tokens, D] -> [rows, tokens, H * D]."""
        return op.reshape(op.transpose(x, integers(0, 2, 1, 3)), integers(0, 0, width), True)

    def _to_border(self, x: Value) -> Value:
        return x if self._border == ov.Type.f32 else op.convert(x, self._border)

    def _from_border(self, parameters: list[Value]) -> list[Value]:
        """To the type that graphs are written in; where products run in bfloat16, OpenVINO drops this conversion."""
        return parameters if self._border == ov.Type.f32 else [op.convert(value, "f32") for value in parameters]

    def _constant(self, name: str, shape: tuple[int, ...] | None = None) -> Value:
        tensor = self._tensors[name]
        return op.constant(tensor if shape is None else tensor.reshape(shape), shared_memory=True)

    def _matrix(self, name: str, scaled_rows: int = 0, scale: float = 1.0) -> Value:
        """A weight [out, in], in 8 bits where asked for and big enough."""
        weight = self._tensors[name]
        if not self._int8 or weight.size < _BIG_MATRIX:
            return op.constant(with_scaled_rows(weight, scaled_rows, scale)) if scaled_rows else self._constant(name)
        steps = np.maximum(np.abs(weight).max(axis=1, keepdims=True), np.float32(1e-12)) / np.float32(127.0)
        rounded = op.convert(op.constant(np.rint(weight / steps).astype(np.int8)), "f32")
        return op.multiply(rounded, op.constant(with_scaled_rows(steps, scaled_rows, scale)))


def with_scaled_rows(values: NDArray[np.float32], rows: int, scale: float) -> NDArray[np.float32]:
    """The first rows multiplied; values as they are where there are none such."""
    if not rows:
        return values
    return np.concatenate([values[:rows] * np.float32(scale), values[rows:]])


def _map_to_tokens(x: Value) -> Value:
    """[P, W, grid, grid] -> [P, grid * grid, W]."""
    width = x.get_output_partial_shape(0)[1].get_length()
    return op.transpose(op.reshape(x, integers(0, width, -1), True), integers(0, 2, 1))


def _unit(x: Value) -> Value:
    """Rows of unit length."""
    return op.normalize_l2(x, integers(-1), 1e-24, "max")


def integer(value: int) -> Value:
    """A constant without axes."""
    return op.constant(np.int32(value))


def integers(*values: int) -> Value:
    """A constant with one axis."""
    return op.constant(np.array(values, dtype=np.int32))
