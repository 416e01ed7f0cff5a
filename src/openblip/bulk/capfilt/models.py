"""A captioner and a filter by name -> what tells them apart, what they take, and the two loaded. Reads no shard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openblip.bulk.capfilt.settings import Scoring
from openblip.catalogue import BYTES_A_PARAMETER
from openblip.checkpoint import Checkpoint, open_checkpoint
from openblip.config import Task, parameters
from openblip.hub import BUNDLED, chosen_name, find_model, find_set
from openblip.parts import MAX_STATE_BYTES
from openblip.pipeline import Blip

CAPTIONER_TASKS: tuple[Task, ...] = ("caption",)
FILTER_TASKS: tuple[Task, ...] = ("match", "embed")

_PROCESS_BYTES = 350 * 10**6
"""Python, numpy, the engine and the pictures that are read ahead."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as a run knows it again. checkpoints: by task, each with its name and what its content hashes to;
    sizes: parameters by that hash."""

    name: str
    checkpoints: dict[str, dict[str, str]]
    sizes: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"name": self.name, "checkpoints": self.checkpoints}


def settled_name(name: str | None) -> str:
    """The name that means the same in any folder and process: OPENBLIP_MODEL is read, and a path is made whole."""
    text = chosen_name(name)
    if text in BUNDLED or find_set(text) or not Path(text).expanduser().exists():
        return text
    return str(Path(text).expanduser().resolve())


def look_up(name: str, tasks: tuple[Task, ...]) -> ModelFacts:
    """Raises ModelError or CheckpointError where the model is not there, or cannot do the tasks."""
    members, checkpoints, sizes = find_set(name) or dict.fromkeys(tasks, name), {}, dict[str, int]()
    for task in tasks:
        found = find_model(members[task])
        checkpoint = open_checkpoint(found.path, found.name)
        checkpoint.config.require(task)
        content = _content(checkpoint)
        checkpoints[str(task)] = {"name": found.name, "content": content}
        sizes[content] = parameters(checkpoint.config)
    return ModelFacts(Path(name).name, checkpoints, sizes)


def worker_bytes(models: list[ModelFacts], precision: str | None) -> int:
    """About what one worker takes at most: the process, each checkpoint once, and a batch of encoded pictures, which
    are kept in bf16 unless the precision is f32. With `mini` 0.58 GB were measured in bf16, 0.84 in f32, 0.62 in
    int8."""
    sizes = {content: size for model in models for content, size in model.sizes.items()}
    each = BYTES_A_PARAMETER.get(precision or "f32", BYTES_A_PARAMETER["f32"])
    states = MAX_STATE_BYTES * (1 if precision in ("bf16", "int8") else 2)
    return _PROCESS_BYTES + sum(sizes.values()) * each + states * len(sizes)


def load_models(scoring: Scoring) -> tuple[Blip | None, Blip | None]:
    """Captioner and filter, on one thread; the same object where they have the same name. Raises what `Blip.load`
    does."""
    loaded: dict[str, Blip] = {}
    for name, tasks in ((scoring.captioner, CAPTIONER_TASKS), (scoring.filter, FILTER_TASKS)):
        if name is not None:
            if name not in loaded:
                loaded[name] = Blip.load(name, engine=scoring.engine, precision=scoring.precision, threads=1)
            for task in tasks:
                loaded[name].part(task)  # of a set nothing is loaded before a part is asked for
    return loaded.get(scoring.captioner or ""), loaded.get(scoring.filter or "")


def _content(checkpoint: Checkpoint) -> str:
    """A short hash of weights, sizes and vocabulary."""
    digest = hashlib.sha256(f"{checkpoint.revision} {checkpoint.config!r}".encode())
    digest.update(checkpoint.vocabulary.read_bytes())
    return digest.hexdigest()[:16]
