"""The loaded checkpoints of a model, by task: one that does all it can, or a set's, one a task, loaded at first use.

Knows how a name or folder becomes an engine and a tokenizer. Does not know pictures, prompts or results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

from openblip.config import ModelConfig, Task
from openblip.engine import Engine
from openblip.errors import CheckpointError, ModelError
from openblip.text import Conventions, Tokenizer

EngineName = Literal["openvino", "torch"]

MAX_PICTURES, MAX_ROWS, MAX_STATE_BYTES = 32, 128, 2**28  # of one engine call


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a checkpoint is loaded; see `Blip.load`."""

    engine: EngineName = "openvino"
    precision: str | None = None
    device: str | None = None
    threads: int | None = None
    image_size: int | None = None
    lanes: int = 1
    special_tokens: Conventions = "blip"


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """One loaded checkpoint. name: what results call it; revision: of its weights, empty where they came from no
    file."""

    name: str
    engine: Engine
    tokenizer: Tokenizer
    revision: str = ""

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        return self.engine.config

    def pictures_a_call(self, rows: int = 1) -> int:
        """How many pictures share an engine call: bounded by count, by rows (those of one picture are given) and by the
        image's keys and values in bf16."""
        config = self.config
        state_bytes = config.vision.tokens * config.text.width * config.text.layers * 2 * 2
        return max(1, min(MAX_PICTURES, MAX_ROWS // rows, MAX_STATE_BYTES // state_bytes))


class Parts(Protocol):
    """The checkpoints of a model. name: of the model as a whole."""

    name: str

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the model can do."""
        ...

    def of(self, task: Task) -> Part:
        """The checkpoint for a task, loaded. Raises ModelError where there is none."""
        ...

    def only(self, wanted: str) -> Part:
        """The one checkpoint. Raises ModelError where there are several, naming how to get what is wanted."""
        ...


class OneCheckpoint:
    """One checkpoint for everything."""

    def __init__(self, part: Part) -> None:
        self.name, self._part = part.name, part

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What its tensors are there for."""
        return self._part.config.tasks

    def of(self, task: Task) -> Part:
        """Itself. Raises ModelError where it cannot do the task."""
        self._part.config.require(task)
        return self._part

    def only(self, wanted: str) -> Part:
        """Itself."""
        return self._part


class CheckpointSet:
    """A checkpoint a task. Each is loaded once, when a task first asks for it, from whichever thread; tasks whose
    checkpoints have the same name share it."""

    def __init__(self, name: str, members: Mapping[Task, str], load: Callable[[str], Part]) -> None:
        self.name, self._members, self._load = name, dict(members), load
        self._loaded: dict[str, Part] = {}
        self._loading = Lock()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those that have a checkpoint."""
        return tuple(self._members)

    def of(self, task: Task) -> Part:
        """The task's checkpoint. Raises ModelError where there is none, or what loading it raises."""
        if task not in self._members:
            raise ModelError(f"the set '{self.name}' has no checkpoint to {task}, only to {', '.join(self._members)}")
        member = self._members[task]
        if member not in self._loaded:
            with self._loading:
                if member not in self._loaded:
                    self._loaded[member] = self._load(member)
        part = self._loaded[member]
        part.config.require(task)
        return part

    def only(self, wanted: str) -> Part:
        """Raises ModelError."""
        task = next(iter(self._members), "caption")
        raise ModelError(
            f"the set '{self.name}' has a checkpoint a task and no {wanted} of its own: ask for that of a task, as in "
            f'blip.part("{task}").{wanted}'
        )


def load_parts(name_or_folder: str | os.PathLike[str] | None, options: LoadOptions) -> Parts:
    """What `Blip.load` takes: of a set nothing is even looked for yet, any other checkpoint is loaded."""
    from openblip.hub import chosen_name, find_set

    if members := find_set(name_or_folder):
        return CheckpointSet(chosen_name(name_or_folder), members, partial(_load_part, options=options))
    return OneCheckpoint(_load_part(name_or_folder, options))


def _load_part(name_or_folder: str | os.PathLike[str] | None, options: LoadOptions) -> Part:
    from openblip.checkpoint import open_checkpoint
    from openblip.engines import load_engine
    from openblip.hub import compiled_folder, find_model

    model = find_model(name_or_folder)
    checkpoint = open_checkpoint(model.path, model.name, image_size=options.image_size)
    tokenizer = Tokenizer.from_vocabulary(checkpoint.vocabulary, options.special_tokens)
    check_vocabulary(tokenizer, checkpoint.config, checkpoint.vocabulary)
    cache_dir = compiled_folder() if options.engine == "openvino" else None
    loaded = load_engine(
        options.engine,
        checkpoint.config,
        checkpoint.tensors,
        precision=options.precision,
        device=options.device,
        threads=options.threads,
        lanes=options.lanes,
        cache_dir=cache_dir,
        revision=checkpoint.revision if cache_dir else None,
    )
    return Part(model.name, loaded, tokenizer, checkpoint.revision)


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, vocabulary: Path) -> None:
    """Raise CheckpointError where a vocabulary is not the one that a model was made for."""
    text = config.text
    expected = (text.vocab_size, text.pad_id, text.cls_id, text.sep_id, text.dec_id, text.enc_id)
    found = (
        tokenizer.vocab_size, tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.dec_id, tokenizer.enc_id
    )  # fmt: skip
    if found != expected:
        raise CheckpointError(
            f"{vocabulary} does not fit its config.json: entries, [PAD], [CLS], [SEP], [DEC], [ENC] are {found}, "
            f"not {expected}; fetch the checkpoint again"
        )
