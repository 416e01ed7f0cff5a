"""A loaded checkpoint -> files of openblip, of transformers or of salesforce/BLIP: the inverse of `published`.

transformers keeps one task in a folder, so a model with several becomes one folder for each. Strict: what a style
cannot hold is an error, not a loss, but for ITC's temperature, which only training reads and transformers leaves out.
Knows numpy, and torch for a .pth only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openblip.checkpoint import CONFIG, PREPROCESSOR, VOCABULARY, WEIGHTS, Checkpoint, preprocessor, save_checkpoint
from openblip.config import TASKS, ModelConfig, Task, tensor_shapes
from openblip.errors import CheckpointError, InputError, OptionError
from openblip.published import ARCHITECTURES, Style, config_from_salesforce, homes_of
from openblip.text import all_tokens, write_tokenizer, write_vocabulary
from openblip.weights import StoredTensors, Tensors, write_pickle, write_tensors

Target = Literal["openblip", "transformers", "salesforce"]
Part = Literal["caption", "match", "answer"]
"""What can be had on its own. "match" stands for the ITM and the ITC head: published files hold both or none."""

PARTS: dict[str, tuple[Task, ...]] = {"caption": ("caption",), "match": ("match", "embed"), "answer": ("answer",)}
_LEADING = {"vision.class_token": 2, "vision.positions": 1}  # axes of one element that only published files have
_HEAD = "text_decoder.cls.predictions"
_WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Written:
    """A folder or file that was written, and what it is for."""

    path: Path
    tasks: tuple[Task, ...]


def convert(
    checkpoint: Checkpoint, target: Path, to: Target, *, part: Part | None = None, bfloat16: bool = False
) -> list[Written]:
    """Write the checkpoint, or the part of it that is asked for.

    target: a folder; for salesforce also the .pth. Where transformers or salesforce/BLIP need several folders or files,
    they are put below it, called after what they do. bfloat16: halves the size (round to nearest even).

    Raises CheckpointError where the model does not fit the style, OptionError where it has no such part, or where there
    is something already, and InputError where the target cannot be written.
    """
    wanted = _wanted(checkpoint.config, to, part)
    paths = [_place(target, to, name, alone=len(wanted) == 1) for name in wanted]
    for path in paths:
        if path.is_file() or (path / CONFIG).exists():
            kind = "file" if path.is_file() else "checkpoint"
            raise OptionError(f"there is a {kind} at {path} already: give another target or remove it")
    models = [_restricted(checkpoint, tasks) for tasks in wanted.values()]
    for model in models:
        _check_fits(model, to)
    for path, model in zip(paths, models, strict=True):
        try:
            _write(path, model, to, bfloat16)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{path} cannot be written: {reason}; give another target or make room") from error
    return [Written(path, model.config.tasks) for path, model in zip(paths, models, strict=True)]


def _write(path: Path, model: Checkpoint, to: Target, bfloat16: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if to == "openblip":
        save_checkpoint(path, model.config, model.tensors, model.vocabulary, bfloat16=bfloat16)
    elif to == "transformers":
        _save_transformers(path, model, bfloat16)
    else:
        copy = path.parent / VOCABULARY
        if copy.is_file() and all_tokens(copy) != all_tokens(model.vocabulary):
            raise OptionError(f"there is another vocabulary at {copy} already: give another folder")
        write_pickle(path, {"model": to_published(model.tensors, model.config, "salesforce")}, bfloat16=bfloat16)
        write_vocabulary(model.vocabulary, copy)


def to_published(tensors: Mapping[str, NDArray[np.float32]], config: ModelConfig, style: Style) -> Tensors:
    """The inverse of `from_published`: every copy of a shared tensor written out, the tied output table included."""
    result = Tensors()
    for name, copies in homes_of(config, style).items():
        value = tensors[name]
        value = value.reshape((1,) * _LEADING.get(name, 0) + value.shape)
        for parts in copies:
            result.update(zip(parts, np.split(value, len(parts)) if parts[1:] else [value], strict=True))
    if f"{_HEAD}.bias" in result:
        result |= {f"{_HEAD}.decoder.weight": result[_WORDS], f"{_HEAD}.decoder.bias": result[f"{_HEAD}.bias"]}
    return result


def config_for_transformers(config: ModelConfig, *, bfloat16: bool = False) -> dict[str, Any]:
    """The inverse of `config_from_transformers`: what config.json holds. Raises CheckpointError where no class of
    transformers has these tasks."""
    architecture = next((name for name, tasks in ARCHITECTURES.items() if set(tasks) == set(config.tasks)), None)
    if architecture is None:
        raise CheckpointError(f"transformers has no BLIP for {' and '.join(config.tasks)} alone")
    vision, text = config.vision, config.text
    return {
        "architectures": [architecture],
        "model_type": "blip",
        "dtype": "bfloat16" if bfloat16 else "float32",
        "image_text_hidden_size": config.projection,
        "vision_config": {
            "model_type": "blip_vision_model",
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "hidden_size": vision.width,
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.heads,
            "intermediate_size": vision.mlp_width,
            "layer_norm_eps": vision.layer_norm_eps,
            "hidden_act": "gelu",
        },
        "text_config": {
            "model_type": "blip_text_model",
            "vocab_size": text.vocab_size,
            "hidden_size": text.width,
            "encoder_hidden_size": vision.width,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "intermediate_size": text.mlp_width,
            "max_position_embeddings": text.max_positions,
            "layer_norm_eps": text.layer_norm_eps,
            "hidden_act": "gelu",
            "pad_token_id": text.pad_id,
            "bos_token_id": text.dec_id,
            "eos_token_id": text.sep_id,
            "sep_token_id": text.sep_id,
        },
    }


def _wanted(config: ModelConfig, to: Target, part: Part | None) -> dict[str, tuple[Task, ...]]:
    """What goes into one folder or file, by name."""
    if part is not None:
        if missing := [task for task in PARTS[part] if task not in config.tasks]:
            raise OptionError(
                f"this model has no weights to {' and '.join(missing)}, only to {', '.join(config.tasks)}"
            )
        return {part: PARTS[part]}
    if to == "openblip":
        return {"model": config.tasks}
    if to == "transformers":
        groups = PARTS
    else:  # a pre-trained file holds all but the answers, whose decoder has another shape of states to look at
        groups = {"model": tuple(task for task in TASKS if task != "answer"), "answer": ("answer",)}
    found = {name: tuple(task for task in tasks if task in config.tasks) for name, tasks in groups.items()}
    return {name: tasks for name, tasks in found.items() if tasks}


def _place(target: Path, to: Target, name: str, *, alone: bool) -> Path:
    if to != "salesforce":
        return target if alone else target / name
    if target.suffix != ".pth":
        return target / f"{name}.pth"
    if not alone:
        raise OptionError(f"this model takes several files, and {target} is one: give a folder or a task")
    return target


def _restricted(checkpoint: Checkpoint, tasks: tuple[Task, ...]) -> Checkpoint:
    """The model for these tasks alone."""
    config = replace(checkpoint.config, tasks=tasks)
    tensors = StoredTensors(lambda: {name: checkpoint.tensors[name] for name in tensor_shapes(config)})
    return replace(checkpoint, config=config, tensors=tensors)


def _check_fits(model: Checkpoint, to: Target) -> None:
    """Raise CheckpointError where the style has no place for what the model is."""
    config = model.config
    if to == "openblip":
        return
    if config.vision.kind != "vit":
        raise CheckpointError(
            f"{model.name} cannot be written for {to}: its image encoder is {config.vision.kind}, and published BLIP "
            "has a ViT only"
        )
    if "answer" in config.tasks and config.answer_text != config.text:
        raise CheckpointError(
            f"{model.name} cannot be written for {to}: the decoder of its answers has {config.answer_layers} layers "
            f"and its text transformer {config.text.layers}, and published BLIP has as many in both"
        )
    if to == "transformers":
        config_for_transformers(config)
        if "answer" in config.tasks and config.vision.width != config.text.width:
            raise CheckpointError(
                f"{model.name} cannot be written for transformers: it answers only where image and text encoder are as "
                f"wide as each other, and these are {config.vision.width} and {config.text.width} wide"
            )
        return
    # A .pth holds no config: what is read off its tensors must be what this model is.
    read = config_from_salesforce(to_published(model.tensors, config, "salesforce"), model.name)
    ids = {name: getattr(config.text, name) for name in ("pad_id", "cls_id", "sep_id", "dec_id", "enc_id")}
    read = replace(read, text=replace(read.text, **ids))
    if "embed" not in config.tasks:
        read = replace(read, projection=config.projection)
    if lost := _differences(config.to_dict(), read.to_dict()):
        raise CheckpointError(
            f"{model.name} cannot be written for salesforce: its files hold no config, and a reader would take "
            f"{'; '.join(lost)}"
        )


def _differences(ours: Mapping[str, Any], read: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in ours.items():
        if isinstance(value, dict):
            found += _differences(value, read[name], f"{prefix}{name}.")
        elif value != read[name]:
            found.append(f"{prefix}{name} {read[name]} for {value}")
    return found


def _save_transformers(folder: Path, model: Checkpoint, bfloat16: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = to_published(model.tensors, model.config, "transformers")
    for copy in (f"{_HEAD}.decoder.weight", f"{_HEAD}.decoder.bias"):
        tensors.pop(copy, None)  # transformers ties them when it loads, and leaves them out when it saves
    write_tensors(folder / WEIGHTS, tensors, bfloat16=bfloat16, written_for="pt")
    processor = {
        **preprocessor(model.config),
        "image_processor_type": "BlipImageProcessor",
        "processor_class": "BlipProcessor",
    }
    for name, values in (
        (CONFIG, config_for_transformers(model.config, bfloat16=bfloat16)),
        (PREPROCESSOR, processor),
    ):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(model.vocabulary, folder, model.config.text.max_positions)
