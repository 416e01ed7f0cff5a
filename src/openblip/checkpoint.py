"""A folder -> config, tensors and vocabulary, and back. Strict both ways: what is missing, surplus, misshapen or not
finite is an error that lists it.

A folder holds config.json (`ModelConfig`), model.safetensors (names and shapes of `config.tensor_shapes`; float32,
float16 or bfloat16), vocab.txt and preprocessor_config.json (for people and other tools; the truth is config.json).
Knows numpy only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.config import ModelConfig, tensor_shapes
from openblip.errors import CheckpointError

CONFIG, WEIGHTS, VOCABULARY, PREPROCESSOR = "config.json", "model.safetensors", "vocab.txt", "preprocessor_config.json"

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint folder. name: what results call the model."""

    name: str
    folder: Path
    config: ModelConfig
    tensors: Tensors

    @property
    def vocabulary(self) -> Path:
        """The WordPiece vocabulary, one token a line."""
        return self.folder / VOCABULARY

    @cached_property
    def revision(self) -> str:
        """The first 12 hex digits of the weight file's SHA-256."""
        with (self.folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def load_checkpoint(folder: Path, name: str | None = None) -> Checkpoint:
    """Read a checkpoint folder. Raises CheckpointError with what is wrong and where."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"cannot read {folder / CONFIG}: {error}") from error
    if not isinstance(values, dict) or values.get("model_type") != "openblip":
        raise CheckpointError(
            f"{folder / CONFIG} is not an openblip config (its model_type is not 'openblip'): "
            "give a folder that openblip wrote"
        )
    config = ModelConfig.from_dict(values)
    if not (folder / VOCABULARY).is_file():
        raise CheckpointError(f"{folder} has no {VOCABULARY}: the checkpoint is incomplete, fetch it again")
    tensors = read_tensors(folder / WEIGHTS)
    check_tensors(tensors, config, str(folder / WEIGHTS))
    return Checkpoint(name or folder.name, folder, config, tensors)


def save_checkpoint(
    folder: Path, config: ModelConfig, tensors: Mapping[str, NDArray[Any]], vocabulary: Path, *, bfloat16: bool = False
) -> None:
    """Write a checkpoint folder that `load_checkpoint` reads; bfloat16 halves its size (round to nearest even)."""
    check_tensors(tensors, config, "the model to save")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, tensors, bfloat16=bfloat16)
    text = vocabulary.read_text(encoding="utf-8")
    (folder / VOCABULARY).write_text(text, encoding="utf-8")
    (folder / CONFIG).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
    size = config.vision.image_size
    preprocessor = {
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.vision.mean),
        "image_std": list(config.vision.std),
        "do_convert_rgb": True,
    }
    (folder / PREPROCESSOR).write_text(json.dumps(preprocessor, indent=2) + "\n", encoding="utf-8")


def check_tensors(tensors: Mapping[str, NDArray[Any]], config: ModelConfig, where: str) -> None:
    """Raise CheckpointError unless the tensors are exactly those of the config, all finite."""
    shapes = tensor_shapes(config)
    faults = [f"missing {name} {list(shape)}" for name, shape in shapes.items() if name not in tensors]
    faults += [f"surplus {name} {list(tensors[name].shape)}" for name in tensors if name not in shapes]
    for name, shape in shapes.items():
        if name not in tensors:
            continue
        if tensors[name].shape != shape:
            faults.append(f"misshapen {name}: {list(tensors[name].shape)} where the config says {list(shape)}")
        elif not np.isfinite(tensors[name]).all():
            faults.append(f"not finite {name}")
    if faults:
        shown = "; ".join(faults[:12]) + (f"; and {len(faults) - 12} more" if len(faults) > 12 else "")
        raise CheckpointError(f"{where} does not fit its config: {shown}")


def read_tensors(path: Path) -> Tensors:
    """All tensors of a safetensors file as float32."""
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return {name: _to_float32(name, entry) for name, entry in entries}


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], *, bfloat16: bool) -> None:
    """Write a safetensors file in float32 or bfloat16."""
    from safetensors import TensorSpec, serialize

    arrays = {}  # keeps every buffer alive while safetensors reads it through its address
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape)
        arrays[name] = np.asarray(_to_bfloat16(values) if bfloat16 else values)
    dtype = "bfloat16" if bfloat16 else "float32"
    specs = {
        name: TensorSpec(dtype=dtype, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)
        for name, array in arrays.items()
    }
    # Not serialize_file: it makes the file readable to its owner alone, and a service often runs as another user.
    path.write_bytes(serialize(specs, metadata={"format": "openblip"}))


def _to_float32(name: str, entry: Mapping[str, Any]) -> NDArray[np.float32]:
    kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if kind == "BF16":
        wide = np.frombuffer(data, dtype=np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if kind in ("F32", "F16"):
        values = np.frombuffer(data, dtype=np.float32 if kind == "F32" else np.float16)
        return values.astype(np.float32).reshape(shape)
    raise CheckpointError(f"tensor {name} is stored as {kind}: weights must be float32, float16 or bfloat16")


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
