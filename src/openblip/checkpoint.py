"""A folder, or a .pth of salesforce/BLIP, -> config, tensors and vocabulary, and back. Strict both ways: what is
missing, surplus, misshapen or not finite is an error that lists it.

Our own folder holds config.json (`ModelConfig`), model.safetensors (names and shapes of `config.tensor_shapes`;
float32, float16 or bfloat16), vocab.txt and preprocessor_config.json (for people and other tools; the truth is
config.json). A folder of transformers is known by its config's model_type "blip". Knows numpy only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.config import ModelConfig, tensor_shapes
from openblip.errors import CheckpointError
from openblip.published import (
    config_from_salesforce,
    config_from_transformers,
    from_published,
    resize_positions,
    with_image_size,
)
from openblip.text import Tokenizer, write_vocabulary
from openblip.weights import PICKLES, StoredTensors, Tensors, digest, listed, read_tensors, write_tensors

CONFIG, WEIGHTS, VOCABULARY, PREPROCESSOR = "config.json", "model.safetensors", "vocab.txt", "preprocessor_config.json"
_PICKLE, _TOKENIZER, _PROCESSOR = "pytorch_model.bin", "tokenizer.json", "processor_config.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, whose tensors are read and checked when first asked for. name: what results call the model;
    weights: the file that the tensors come from; vocabulary: vocab.txt or tokenizer.json."""

    name: str
    weights: Path
    vocabulary: Path
    config: ModelConfig
    tensors: StoredTensors

    @cached_property
    def revision(self) -> str:
        """The first 12 hex digits of the weight file's SHA-256."""
        return digest(self.weights)[:12]


def load_checkpoint(source: Path, name: str | None = None, *, image_size: int | None = None) -> Checkpoint:
    """Read a folder of ours or of transformers, or a .pth of salesforce/BLIP with vocab.txt beside it.

    image_size: side of the pictures in pixels, where it is to be another than the checkpoint's (ViT only).
    Raises CheckpointError with what is wrong and where.
    """
    checkpoint = open_checkpoint(source, name, image_size=image_size)
    checkpoint.tensors.hold()
    return checkpoint


def open_checkpoint(source: Path, name: str | None = None, *, image_size: int | None = None) -> Checkpoint:
    """The same, its tensors not yet read: what is wrong with them is raised by the first access."""
    opened = _open_pickle(source, name) if source.is_file() else _open_folder(source, name)
    if image_size is None or image_size == opened.config.vision.image_size:
        return opened
    config = with_image_size(opened.config, image_size)
    tensors = StoredTensors(lambda: resize_positions(opened.tensors.hold(), opened.config, config), opened.tensors)
    return replace(opened, config=config, tensors=tensors)


def read_config(folder: Path) -> ModelConfig:
    """The config of a folder of ours or of transformers, without its tensors. Raises CheckpointError."""
    values = _read_json(folder / CONFIG)
    kind = values.get("model_type")
    if kind == "openblip":
        return ModelConfig.from_dict(values)
    if kind == "blip":
        config = config_from_transformers(values, read_preprocessor(folder), str(folder / CONFIG))
        return _with_token_ids(config, find_vocabulary(folder))
    raise CheckpointError(
        f"{folder / CONFIG} is no config of BLIP (its model_type is {kind!r}): give a folder that openblip or "
        "transformers wrote"
    )


def _open_folder(folder: Path, name: str | None) -> Checkpoint:
    config, own = read_config(folder), _read_json(folder / CONFIG)["model_type"] == "openblip"
    weights = next((path for path in (folder / WEIGHTS, folder / _PICKLE) if path.is_file()), folder / WEIGHTS)
    stamp = _stamp(weights)

    def read() -> Tensors:
        _check_stamp(weights, stamp)
        tensors = read_tensors(weights)
        if not own:
            return from_published(tensors, config, "transformers", str(weights))
        check_tensors(tensors, config, str(weights))
        return tensors

    return Checkpoint(name or folder.resolve().name, weights, find_vocabulary(folder), config, StoredTensors(read))


def _open_pickle(path: Path, name: str | None) -> Checkpoint:
    if path.suffix not in PICKLES:
        raise CheckpointError(f"{path} is not a checkpoint: give a folder, or a .pth of salesforce/BLIP")
    vocabulary = find_vocabulary(path.parent)
    stamp, published = _stamp(path), StoredTensors(lambda: read_tensors(path))
    config = _with_token_ids(config_from_salesforce(published, str(path)), vocabulary)

    def read() -> Tensors:
        _check_stamp(path, stamp)
        tensors = from_published(published, config, "salesforce", str(path))
        published.release()
        return tensors

    return Checkpoint(name or path.stem, path, vocabulary, config, StoredTensors(read, published))


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs once a file was replaced; nothing where there is none, which reading it tells better."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _check_stamp(path: Path, stamp: tuple[int, ...]) -> None:
    """Raise CheckpointError where the file is not the one that was opened."""
    if _stamp(path) != stamp:
        raise CheckpointError(f"{path} was replaced since the model was loaded: load it again")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"cannot read {path} ({error.strerror})"
        raise CheckpointError(f"{reason}: give a folder that openblip or transformers wrote") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): it is damaged, fetch the checkpoint again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, not settings by name")
    return values


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """How the folder says that pictures become pixels; nothing where it does not say."""
    if (folder / PREPROCESSOR).is_file():
        return _read_json(folder / PREPROCESSOR)
    if (folder / _PROCESSOR).is_file():  # transformers from 5 on writes one file for pictures and texts
        return dict(_read_json(folder / _PROCESSOR).get("image_processor") or {})
    return {}


def find_vocabulary(folder: Path) -> Path:
    """vocab.txt or tokenizer.json. Raises CheckpointError where there is neither."""
    for file in (folder / VOCABULARY, folder / _TOKENIZER):
        if file.is_file():
            return file
    raise CheckpointError(
        f"{folder} has neither {VOCABULARY} nor {_TOKENIZER}: fetch the checkpoint again; a .pth needs the "
        f"{VOCABULARY} of bert-base-uncased beside it"
    )


def _with_token_ids(config: ModelConfig, vocabulary: Path) -> ModelConfig:
    """The config with the special tokens' ids as the vocabulary numbers them."""
    tokenizer = Tokenizer.from_vocabulary(vocabulary)
    ids = {name: getattr(tokenizer, name) for name in ("pad_id", "cls_id", "sep_id", "dec_id", "enc_id")}
    return replace(config, text=replace(config.text, **ids))


def save_checkpoint(
    folder: Path, config: ModelConfig, tensors: Mapping[str, NDArray[Any]], vocabulary: Path, *, bfloat16: bool = False
) -> None:
    """Write a checkpoint folder that `load_checkpoint` reads; bfloat16 halves its size (round to nearest even)."""
    check_tensors(tensors, config, "the model to save")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, tensors, bfloat16=bfloat16)
    write_vocabulary(vocabulary, folder / VOCABULARY)
    for name, values in ((CONFIG, config.to_dict()), (PREPROCESSOR, preprocessor(config))):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def preprocessor(config: ModelConfig) -> dict[str, Any]:
    """What preprocessor_config.json holds."""
    size = config.vision.image_size
    return {
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
        raise CheckpointError(f"{where} does not fit its config: {listed(faults)}")
