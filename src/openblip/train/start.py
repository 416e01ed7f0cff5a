"""Any checkpoint -> the model that a fine-tuning starts from: what it lacks for the task is copied from its like, or
drawn anew; and what of it learns. Knows no data and no losses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from openblip.checkpoint import Checkpoint, open_checkpoint
from openblip.config import TASKS, ModelConfig, Task, tensor_shapes
from openblip.engines.torch.model import BlipModel
from openblip.errors import OptionError
from openblip.hub import find_model, find_set
from openblip.parts import check_vocabulary
from openblip.text import Tokenizer

_LIKE = (
    (re.compile(r"^answer\."), "text."),
    (re.compile(r"^answer_lm\."), "lm."),
    (re.compile(r"^lm\."), "answer_lm."),
    (re.compile(r"\.encoder_attention\."), ".decoder_attention."),
    (re.compile(r"\.decoder_attention\."), ".encoder_attention."),
)
"""What a missing tensor may start as a copy of, where the shapes agree: the answer decoder as the caption decoder, one
kind of self-attention as the other."""


@dataclass(frozen=True)
class Start:
    """A model to fine-tune. copied, drawn: its tensors that the checkpoint did not have."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    model: BlipModel
    copied: list[str]
    drawn: list[str]

    def lines(self) -> list[str]:
        """What to say about it."""
        name, found = self.checkpoint.name, []
        for tensors, what in ((self.copied, "start as copies of their like"), (self.drawn, "are drawn anew")):
            if tensors:
                parts = sorted({re.sub(r"\.\d+\..*|\.(weight|bias)$", "", tensor) for tensor in tensors})
                found.append(f"{name} lacks {len(tensors)} tensors ({', '.join(parts)}): they {what}")
        return found


def open_start(name: str, task: Task, image_size: int = 0) -> Checkpoint:
    """The checkpoint of a name, folder or .pth; of a set the one that does the task. An empty name: as `Blip.load`.

    Raises ModelNotFound or CheckpointError.
    """
    members = find_set(name or None)
    folder = find_model(members[task] if members else name or None)
    return open_checkpoint(folder.path, folder.name, image_size=image_size or None)


def start_model(
    checkpoint: Checkpoint, taught: Sequence[Task], *, dropout: float, seed: int, keep_tasks: bool = False
) -> Start:
    """A model for the tasks that are taught, and with keep_tasks for all that the checkpoint does too; only what the
    taught tasks need learns. seed: of what is drawn."""
    tasks = tuple(task for task in TASKS if task in taught or (keep_tasks and task in checkpoint.config.tasks))
    config = replace(checkpoint.config, tasks=tasks)
    tokenizer = Tokenizer.from_vocabulary(checkpoint.vocabulary)
    check_vocabulary(tokenizer, config, checkpoint.vocabulary)
    torch.manual_seed(seed)
    model = BlipModel(config, dropout)
    found, copied, drawn = _tensors(checkpoint.tensors.hold(), config)
    if drawn:
        model.initialise()
    state = model.state_dict()
    with torch.no_grad():
        for tensor, value in found.items():
            state[tensor].copy_(torch.from_numpy(np.array(value, np.float32)))
    needed = tensor_shapes(replace(config, tasks=tuple(taught)))
    for tensor, parameter in model.named_parameters():
        parameter.requires_grad_(tensor in needed)
    return Start(checkpoint, tokenizer, model, copied, drawn)


def freeze(model: BlipModel, parts: Sequence[str]) -> None:
    """Let these parts, "backbone", "vision" or "text", stay as they are.

    Raises OptionError where there is no such part, or nothing is left to learn.
    """
    if "backbone" in parts and model.config.vision.kind == "vit":
        raise OptionError("freeze backbone needs a convolutional backbone, and this model has a ViT: freeze vision")
    prefixes = {"backbone": "vision.backbone.", "vision": "vision.", "text": "text."}
    for tensor, parameter in model.named_parameters():
        if any(tensor.startswith(prefixes[part]) for part in parts):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise OptionError(f"freeze = {', '.join(parts)} leaves nothing to learn: freeze less")


def _tensors(
    given: Mapping[str, NDArray[np.float32]], config: ModelConfig
) -> tuple[dict[str, NDArray[np.float32]], list[str], list[str]]:
    """The tensors of the config that are there or have their like; the names of the latter, and of those without."""
    found, copied, drawn = {}, [], []
    for name, shape in tensor_shapes(config).items():
        if name in given:
            found[name] = given[name]
            continue
        source = next((like for like in _alike(name) if like in given and given[like].shape == shape), None)
        if source is None:
            drawn.append(name)
        else:
            found[name] = given[source]
            copied.append(name)
    return found, copied, drawn


def _alike(name: str) -> Iterator[str]:
    """The names that a tensor may be copied from, the nearest first."""
    nearest = [pattern.sub(other, name) for pattern, other in _LIKE if pattern.search(name)]
    yield from nearest
    for like in nearest:
        yield from (pattern.sub(other, like) for pattern, other in _LIKE[3:] if pattern.search(like))
