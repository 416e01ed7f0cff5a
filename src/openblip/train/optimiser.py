"""AdamW over a model's parameters, and its learning rate over time. Knows no data and no losses."""

from __future__ import annotations

import math
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


def make_optimiser(model: BlipModel, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW; norms, biases, tables of positions and the temperature are not decayed; the backbone learns more
    slowly."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and "positions" not in name
            groups.setdefault((decayed, ".backbone." in name), []).append(parameter)
    settings: list[dict[str, Any]] = []
    for (decayed, backbone), parameters in groups.items():
        peak = config.learning_rate * (config.backbone_rate if backbone else 1.0)
        decay = config.weight_decay if decayed else 0.0
        settings.append({"params": parameters, "weight_decay": decay, "lr": peak, "peak": peak})
    return torch.optim.AdamW(settings, betas=config.betas, fused=True)
