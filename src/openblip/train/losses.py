"""What all objectives share: a model with its moving average, the losses of a batch, and that of a text's next tokens.

Knows no data and no optimiser.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openblip.engines.torch.model import BlipModel
from openblip.train.ranks import gather


@dataclass
class Losses:
    """`total` is what is differentiated; parts: what it is made of, each a mean over the batch, and of self-critical
    training the mean reward."""

    total: Tensor
    parts: dict[str, Tensor]


ENCODED = -1
"""In place of a layer: what is given are the image encoder's finished states."""


class Objective(nn.Module):
    """A model that is trained, and the average of what it was lately, which is evaluated and saved."""

    def __init__(self, model: BlipModel) -> None:
        super().__init__()
        self.model = model
        # What does not learn is its own average: it is shared, and takes no memory twice.
        frozen = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
        self.averaged: BlipModel = copy.deepcopy(model, frozen).eval().requires_grad_(False)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the averaged model a step towards the model (exponential moving average)."""
        pairs = zip(self.averaged.parameters(), self.model.parameters(), strict=True)
        learning = [(averaged, current) for averaged, current in pairs if current.requires_grad]
        averaged: list[Tensor] = [average for average, _ in learning]
        current: list[Tensor] = [parameter for _, parameter in learning]
        torch._foreach_lerp_(averaged, current, 1 - decay)


def image_states(model: BlipModel, pixels: Tensor, start_layer: int) -> Tensor:
    """[images, tokens, width] of pixels [images, 3, size, size], of the input of backbone layer `start_layer`, or of
    themselves (ENCODED)."""
    return pixels if start_layer == ENCODED else model.vision(pixels, start_layer)


def starting(tokens: Tensor, first: int) -> Tensor:
    """The same rows [rows, length] with another first token."""
    return torch.cat([torch.full_like(tokens[:, :1], first), tokens[:, 1:]], dim=1)


def language_loss(
    model: BlipModel, hidden: Tensor, tokens: Tensor, lengths: Tensor, label_smoothing: float, given: int = 1
) -> Tensor:
    """The mean cross-entropy of each next token, label smoothing as in the paper; padding carries no loss.

    hidden: decoder states [rows, length, width] of tokens [rows, length]; lengths: [rows]. given: how many tokens at
    the front of every row are not to be learned: [DEC], and a prompt behind it.
    """
    places = torch.arange(1, tokens.shape[1], device=tokens.device)
    learned = (places < lengths[:, None]) & (places >= given)
    logits = model.next_token_logits(hidden[:, :-1][learned]).float()
    loss = F.cross_entropy(logits, tokens[:, 1:][learned], label_smoothing=label_smoothing, reduction="sum")
    # The mean is over the joint batch's tokens: ranks hold unequal numbers of them.
    counts = gather(learned.sum().reshape(1))
    return loss * len(counts) / counts.sum()
