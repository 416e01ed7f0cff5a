"""Which models there are: the bundled one, the published sets, and what else lies in the cache of the hub.

Knows their configs, and from those what they take; reads no weights and never goes to the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from openblip.checkpoint import read_config
from openblip.config import SETS, ModelConfig, Task, VisionConfig, parameters
from openblip.errors import ModelError, ModelNotFound
from openblip.hub import BUNDLED, HubName, cached_folder, cached_names, find_model, size_on_disk

Where = Literal["bundled", "cached", "not here"]

_VIT_LARGE = VisionConfig(width=1024, layers=24, heads=16, mlp_width=4096)
KNOWN: dict[str, ModelConfig] = {
    "Salesforce/blip-image-captioning-base": ModelConfig(tasks=("caption",)),
    "Salesforce/blip-image-captioning-large": ModelConfig(vision=_VIT_LARGE, tasks=("caption",)),
    "Salesforce/blip-itm-base-coco": ModelConfig(tasks=("match", "embed")),
    "Salesforce/blip-itm-large-coco": ModelConfig(vision=_VIT_LARGE, tasks=("match", "embed")),
    "Salesforce/blip-vqa-base": ModelConfig(tasks=("answer",)),
    "Salesforce/blip-vqa-capfilt-large": ModelConfig(tasks=("answer",)),  # a ViT-B, for all its name
}
"""Sizes of the members of the sets, for what can be said of them before they are fetched."""


BYTES_A_PARAMETER = {"f32": 7, "bf16": 6, "int8": 3}
"""What a process of the CPU engine takes at most, by precision; see `ModelEntry`."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named. set: the set that it belongs to.

    memory_bytes: by precision, an estimate of what a process of the CPU engine takes at most while it does one picture:
    bytes a parameter that were measured for checkpoints of the base sizes. The first start, which compiles the graphs
    and keeps them, takes some twelve bytes a parameter for a while.
    """

    name: str
    set: str | None
    tasks: tuple[Task, ...]
    where: Where
    path: Path | None
    disk_bytes: int | None
    parameters: int

    @property
    def memory_bytes(self) -> dict[str, int]:
        """By precision."""
        return {precision: self.parameters * size for precision, size in BYTES_A_PARAMETER.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {
            **asdict(self),
            "path": None if self.path is None else str(self.path),
            "memory_bytes": self.memory_bytes,
        }


def list_models() -> list[ModelEntry]:
    """The bundled model where it is installed, all members of the sets, and what else of BLIP is cached."""
    entries = []
    for name in BUNDLED:
        try:
            folder = find_model(name).path
        except ModelNotFound:
            continue
        entries.append(_entry(name, None, read_config(folder), "bundled", folder))
    for set_name, members in SETS.items():
        for repository in dict.fromkeys(members.values()):
            found = cached_folder(HubName(repository))
            entries.append(_entry(repository, set_name, KNOWN[repository], "cached" if found else "not here", found))
    for hub_name in cached_names():
        found = cached_folder(hub_name)
        if found is None or str(hub_name) in KNOWN:
            continue
        try:
            config = read_config(found)
        except ModelError:  # the cache is shared with other programs: most of it is no BLIP
            continue
        entries.append(_entry(str(hub_name), None, config, "cached", found))
    return entries


def _entry(name: str, set_name: str | None, config: ModelConfig, where: Where, folder: Path | None) -> ModelEntry:
    size = None if folder is None else size_on_disk(folder)
    return ModelEntry(name, set_name, config.tasks, where, folder, size, parameters(config))
