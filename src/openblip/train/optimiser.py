"""AdamW over a model's parameters, and its learning rate over time. Knows no data and no losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from openblip.engines.torch.model import BlipModel
from openblip.train.config import OptimiserConfig


def rate_at(step: int, config: OptimiserConfig, steps: int) -> float:
    """The learning rate's share of its peak: linear warm-up, then cosine to final_share."""
    if step < config.warm_up_steps:
        return (step + 1) / config.warm_up_steps
    done = (step - config.warm_up_steps) / max(1, steps - config.warm_up_steps)
    return config.final_share + (1 - config.final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def make_optimiser(model: BlipModel, config: OptimiserConfig, layer_decay: float = 1.0) -> torch.optim.AdamW:
    """AdamW; norms, biases, tables of positions and the temperature are not decayed; the backbone learns more slowly,
    and each layer by layer_decay more slowly than the one above it."""
    layers = layers_of(model)
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and "positions" not in name
            share = layer_share(name, layers, layer_decay)
            share *= config.backbone_rate if ".backbone." in name else 1.0
            # What is cut among processes and what is not cannot be in one step of the fused AdamW.
            cut = hasattr(parameter, "full_tensor")
            groups.setdefault((decayed, share, cut), []).append(parameter)
    settings: list[dict[str, Any]] = []
    for (decayed, share, _), parameters in groups.items():
        peak, decay = config.learning_rate * share, config.weight_decay if decayed else 0.0
        settings.append({"params": parameters, "weight_decay": decay, "lr": peak, "peak": peak})
    return torch.optim.AdamW(settings, betas=config.betas, fused=True)


def layer_share(name: str, layers: Mapping[str, int], decay: float) -> float:
    """A tensor's share of the learning rate, by how far it is from the top of its stack (layer-wise decay, as in BEiT):
    decay for the last block, decay ** 2 for the one before it, ..., one more for what is below the first; 1 for heads
    and the image encoder's last norm. layers: how many blocks each stack has, by name."""
    stack, _, rest = name.partition(".")
    if stack not in layers or (stack == "vision" and rest.startswith("norm.")):
        return 1.0
    depth = int(rest.split(".")[1]) + 1 if rest.startswith("blocks.") else 0
    return float(decay ** (layers[stack] + 1 - depth))


def layers_of(model: nn.Module) -> dict[str, int]:
    """How many blocks each stack of a model has."""
    stacks = {name: getattr(stack, "blocks", None) for name, stack in model.named_children()}
    return {name: len(blocks) for name, blocks in stacks.items() if isinstance(blocks, nn.ModuleList)}
