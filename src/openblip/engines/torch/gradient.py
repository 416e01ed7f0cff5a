"""Where matching looks, by autograd: a cross-attention's weights and the gradient of the matching logit by them.

Knows the model's text transformer. Does not know arrays, runs or what becomes of the maps.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from openblip.engines.torch.model import BlipModel, KeysValues, TextBlock, merge_heads, split_heads


@torch.inference_mode(False)
def relevance(
    model: BlipModel, tokens: Tensor, lengths: Tensor, keys_values: KeysValues, layer: int
) -> tuple[Tensor, Tensor, Tensor]:
    """tokens: [R, L], starting with [ENC]; keys_values: of P pictures, R / P consecutive rows sharing one.

    Returns ITM logits [R, 2], the attention of that layer [P, H, Q, T] with Q = R / P * L, and its gradient of the
    matching logit, clamped at 0, times itself.
    """
    text = model.text
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    mask = (steps < lengths[:, None])[:, None, None, :]
    blocks = [cast(TextBlock, block) for block in text.blocks]
    chosen = blocks[layer]
    with torch.no_grad():
        x = text.embed(tokens, steps.expand_as(tokens))
        for index in range(layer):
            x = blocks[index](x, "encoder", mask, keys_values[index])
        x = chosen.encoder_attention.norm(x + chosen.residual(chosen.encoder_attention(x, mask)))
        attention = _attention(chosen, x, keys_values[layer][0])
    with torch.enable_grad():
        attention.requires_grad_()
        # Autograd keeps nothing that was made in inference mode, as the engine's image states were.
        above = [(key.clone(), value.clone()) for key, value in keys_values[layer:]]
        attended = merge_heads(attention @ above[0][1]).reshape(x.shape)
        x = chosen.cross_attention.norm(x + chosen.residual(chosen.cross_attention.out(attended)))
        x = chosen.mlp.norm(x + chosen.residual(chosen.mlp(x)))
        for block, image in zip(blocks[layer + 1 :], above[1:], strict=True):
            x = block(x, "encoder", mask, image)
        logits = model.itm(x[:, 0])
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), attention)
    attention = attention.detach()
    return logits.detach(), attention, gradient.clamp(min=0) * attention


def _attention(block: TextBlock, x: Tensor, key: Tensor) -> Tensor:
    """Weights of the image tokens, [P, H, Q, T]. key: [P, H, T, D]."""
    cross = block.cross_attention
    query = split_heads(cross.query(x).reshape(key.shape[0], -1, x.shape[-1]), cross.heads)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.softmax(dim=-1).to(key.dtype)
