"""The published BLIP checkpoints: what transformers and salesforce/BLIP call the tensors, and their configs as ours.

A published tensor is ours under another name; only the text transformer's queries, keys and values are kept apart there
and joined here. Strict: what is missing, misshapen or surplus is an error that lists it under its published name.
Surplus are not: momentum copies, queues and position numbers, and copies of a tied tensor that equal it.

Which task a checkpoint is for shows in its tensors: "caption" has a text decoder, "match" and "embed" a text encoder
with the ITM and ITC heads, a pre-trained one has all of it, its encoder and decoder sharing all but self-attention;
"answer" has a text encoder and a decoder that share nothing, and no heads.
Knows numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openblip.config import CLIP_MEAN, CLIP_STD, ModelConfig, Task, TextConfig, VisionConfig, tensor_shapes
from openblip.errors import CheckpointError
from openblip.weights import Tensors, listed

Style = Literal["transformers", "salesforce"]
Colours = tuple[float, float, float]
Homes = list[tuple[str, ...]]
"""Where a tensor of ours stands in a published file, once for every copy; the parts of one copy are joined along their
first axis."""

_IGNORED = re.compile(
    r"(visual_encoder|text_encoder|vision_proj|text_proj)_m\."  # momentum copies
    r"|(image|text)_queue$"
    r"|position_ids$"
    r"|cls\.predictions\.decoder\.(weight|bias)$"  # tied, see _check_tied
)
ARCHITECTURES: dict[str, tuple[Task, ...]] = {
    "BlipForConditionalGeneration": ("caption",),
    "BlipForImageTextRetrieval": ("match", "embed"),
    "BlipForQuestionAnswering": ("answer",),
}
_HEAD_WIDTH = 64  # of every published BLIP


@dataclass(frozen=True, slots=True)
class _Names:
    """Published names of the image encoder; text and heads are called the same in both styles but for the decoder."""

    patch: str
    class_token: str
    positions: str
    block: str
    norm: str
    parts: dict[str, str]  # ours within a block -> theirs


_VISION: dict[Style, _Names] = {
    "transformers": _Names(
        "vision_model.embeddings.patch_embedding",
        "vision_model.embeddings.class_embedding",
        "vision_model.embeddings.position_embedding",
        "vision_model.encoder.layers",
        "vision_model.post_layernorm",
        {
            "norm1": "layer_norm1", "attention.qkv": "self_attn.qkv", "attention.out": "self_attn.projection",
            "norm2": "layer_norm2", "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2",
        },
    ),
    "salesforce": _Names(
        "visual_encoder.patch_embed.proj",
        "visual_encoder.cls_token",
        "visual_encoder.pos_embed",
        "visual_encoder.blocks",
        "visual_encoder.norm",
        {
            "norm1": "norm1", "attention.qkv": "attn.qkv", "attention.out": "attn.proj",
            "norm2": "norm2", "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2",
        },
    ),
}  # fmt: skip
_STACKS = {"encoder": "text_encoder", "decoder": "text_decoder.bert"}


def from_published(
    tensors: Mapping[str, NDArray[np.float32]], config: ModelConfig, style: Style, where: str
) -> Tensors:
    """The tensors of `config.tensor_shapes` out of a published file. Raises CheckpointError."""
    homes, faults, result = homes_of(config, style), list[str](), Tensors()
    for name, shape in tensor_shapes(config).items():
        copies = {parts[0]: _joined(parts, shape, tensors, faults) for parts in homes.get(name, ())}
        whole = [(first, copy) for first, copy in copies.items() if copy is not None]
        if whole:
            first, result[name] = whole[0]
            faults += [
                f"{other} differs from {first}, which it is tied to"
                for other, copy in whole[1:]
                if not np.array_equal(copy, result[name])
            ]
        elif name == "itc.temperature" and name not in homes:
            result[name] = np.asarray(0.07, np.float32)  # transformers drops it: only training reads it
    used = {part for copies in homes.values() for parts in copies for part in parts}
    faults += [
        f"surplus {name} {list(value.shape)}"
        for name, value in tensors.items()
        if name not in used and not _IGNORED.search(name)
    ]
    faults += _check_tied(tensors)
    if faults:
        raise CheckpointError(f"{where} is not a BLIP checkpoint for {' and '.join(config.tasks)}: {listed(faults)}")
    return result


def _joined(
    parts: tuple[str, ...], shape: tuple[int, ...], tensors: Mapping[str, NDArray[np.float32]], faults: list[str]
) -> NDArray[np.float32] | None:
    """One copy of a tensor of ours, or None where parts are missing or misshapen; what is wrong goes into faults."""
    wanted, before = (shape[0] // len(parts), *shape[1:]) if shape else (), len(faults)
    for part in parts:
        if part not in tensors:
            faults.append(f"missing {part} {list(wanted)}")
        elif _squeezed(tensors[part].shape) != wanted:
            faults.append(f"misshapen {part}: {list(tensors[part].shape)}, wanted {list(wanted)}")
        elif not np.isfinite(tensors[part]).all():
            faults.append(f"not finite {part}")
    if len(faults) > before:
        return None
    pieces = [tensors[part].reshape(wanted) for part in parts]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def homes_of(config: ModelConfig, style: Style) -> dict[str, Homes]:
    """Where each tensor of ours stands in a published file."""
    homes: dict[str, Homes] = {}

    def put(ours: str, *theirs: str, kinds: tuple[str, ...] = ("weight", "bias")) -> None:
        for kind in kinds:
            homes.setdefault(f"{ours}.{kind}", []).append(tuple(f"{part}.{kind}" for part in theirs))

    names = _VISION[style]
    put("vision.patch", names.patch)
    homes["vision.class_token"], homes["vision.positions"] = [(names.class_token,)], [(names.positions,)]
    for index in range(config.vision.layers):
        for ours, theirs in names.parts.items():
            put(f"vision.blocks.{index}.{ours}", f"{names.block}.{index}.{theirs}")
    put("vision.norm", names.norm)
    for ours, parts, kinds in _stacks(config):
        put(ours, *parts, kinds=kinds)
    if _writer(config):
        head, own = "text_decoder.cls.predictions", "answer_lm" if "answer" in config.tasks else "lm"
        put(f"{own}.dense", f"{head}.transform.dense")
        put(f"{own}.norm", f"{head}.transform.LayerNorm")
        put(own, head, kinds=("bias",))
    if "embed" in config.tasks:
        put("itc.image", "vision_proj")
        put("itc.text", "text_proj")
    if "embed" in config.tasks and style == "salesforce":
        homes["itc.temperature"] = [("temp",)]
    if "match" in config.tasks:
        put("itm", "itm_head")
    return homes


def _writer(config: ModelConfig) -> str | None:
    """Our stack that is the published text decoder: of captions or, where the checkpoint is for those, of answers."""
    return "answer" if "answer" in config.tasks else "text" if "caption" in config.tasks else None


def _stacks(config: ModelConfig) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """All BERT stacks, see `_stack`."""
    for mode in config.modes:
        yield from _stack(config, "text", mode, _STACKS[mode], config.grounded)
    if "answer" in config.tasks:
        yield from _stack(config, "answer", "decoder", _STACKS["decoder"], True)


def _stack(
    config: ModelConfig, own_prefix: str, mode: str, prefix: str, grounded: bool
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """One BERT stack: (ours, theirs, kinds of parameter)."""
    both = ("weight", "bias")
    for ours, theirs in (("tokens", "word_embeddings"), ("positions", "position_embeddings")):
        yield f"{own_prefix}.{ours}", (f"{prefix}.embeddings.{theirs}",), ("weight",)
    yield f"{own_prefix}.norm", (f"{prefix}.embeddings.LayerNorm",), both
    sizes = config.answer_text if own_prefix == "answer" else config.text
    for index in range(sizes.layers):
        block, layer = f"{own_prefix}.blocks.{index}", f"{prefix}.encoder.layer.{index}"
        own, cross = f"{layer}.attention", f"{layer}.crossattention"
        yield f"{block}.{mode}_attention.qkv", tuple(f"{own}.self.{part}" for part in ("query", "key", "value")), both
        yield f"{block}.{mode}_attention.out", (f"{own}.output.dense",), both
        yield f"{block}.{mode}_attention.norm", (f"{own}.output.LayerNorm",), both
        if grounded:
            yield f"{block}.cross_attention.query", (f"{cross}.self.query",), both
            yield f"{block}.cross_attention.key_value", (f"{cross}.self.key", f"{cross}.self.value"), both
            yield f"{block}.cross_attention.out", (f"{cross}.output.dense",), both
            yield f"{block}.cross_attention.norm", (f"{cross}.output.LayerNorm",), both
        yield f"{block}.mlp.up", (f"{layer}.intermediate.dense",), both
        yield f"{block}.mlp.down", (f"{layer}.output.dense",), both
        yield f"{block}.mlp.norm", (f"{layer}.output.LayerNorm",), both


def _check_tied(tensors: Mapping[str, NDArray[np.float32]]) -> list[str]:
    """Faults of the output table and its bias, which files hold a second time or not at all."""
    head, faults = "text_decoder.cls.predictions", []
    for copy, original in (
        (f"{head}.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"),
        (f"{head}.decoder.bias", f"{head}.bias"),
    ):
        if copy in tensors and original in tensors and not np.array_equal(tensors[copy], tensors[original]):
            faults.append(f"{copy} differs from {original}, which it is tied to")
    return faults


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the leading ones that [CLS] and positions carry in published files."""
    while shape and shape[0] == 1 and len(shape) > 1:
        shape = shape[1:]
    return shape


# ------------------------------------------------------------------------------------------------------------- configs


def config_from_transformers(values: Mapping[str, Any], preprocessor: Mapping[str, Any], where: str) -> ModelConfig:
    """What config.json and preprocessor_config.json of a transformers folder say, with transformers' defaults (5.23)
    for what they leave out. The special tokens' ids are left at BERT's: the vocabulary knows them.

    Raises CheckpointError.
    """
    vision, text = dict(values.get("vision_config") or {}), dict(values.get("text_config") or {})
    architecture = (values.get("architectures") or ["none"])[0]
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{where} is for {architecture}: of BLIP's, {', '.join(ARCHITECTURES)} can be loaded in this version"
        )
    for part in (vision, text):
        if (activation := part.get("hidden_act", "gelu")) != "gelu":
            raise CheckpointError(f"{where} has hidden_act={activation!r}: BLIP's text and image encoders use 'gelu'")
    try:
        return ModelConfig(
            vision=VisionConfig(
                image_size=int(vision.get("image_size", 384)),
                patch_size=int(vision.get("patch_size", 16)),
                width=int(vision.get("hidden_size", 768)),
                layers=int(vision.get("num_hidden_layers", 12)),
                heads=int(vision.get("num_attention_heads", 12)),
                mlp_width=int(vision.get("intermediate_size", 3072)),
                layer_norm_eps=float(vision.get("layer_norm_eps", 1e-5)),
                mean=_colours(preprocessor, "image_mean", CLIP_MEAN),
                std=_colours(preprocessor, "image_std", CLIP_STD),
            ),
            text=TextConfig(
                vocab_size=int(text.get("vocab_size", 30524)),
                width=int(text.get("hidden_size", 768)),
                layers=int(text.get("num_hidden_layers", 12)),
                heads=int(text.get("num_attention_heads", 8)),
                mlp_width=int(text.get("intermediate_size", 3072)),
                max_positions=int(text.get("max_position_embeddings", 512)),
                layer_norm_eps=float(text.get("layer_norm_eps", 1e-12)),
            ),
            projection=int(values.get("image_text_hidden_size", 256)),
            tasks=ARCHITECTURES[architecture],
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} is not a config of BLIP: {error}") from error


def config_from_salesforce(tensors: Mapping[str, NDArray[np.float32]], where: str) -> ModelConfig:
    """The sizes of a checkpoint of salesforce/BLIP, which hold no config: read off its tensors, with the settings of
    the repository's configs/ for the rest. Raises CheckpointError."""
    heads: dict[str, tuple[Task, ...]] = {
        "text_decoder.cls": ("caption",),
        "itm_head": ("match",),
        "vision_proj": ("embed",),
    }
    tasks = tuple(
        task
        for prefix, given in heads.items()
        if any(name.startswith(f"{prefix}.") for name in tensors)
        for task in given
    )
    if tasks == ("caption",) and any(name.startswith("text_encoder.") for name in tensors):
        tasks = ("answer",)
    if not tasks:
        raise CheckpointError(
            f"{where} is not a captioning, question answering, retrieval or pre-trained checkpoint of salesforce/BLIP: "
            "no other can be loaded"
        )
    stack = _STACKS["encoder" if "caption" not in tasks else "decoder"]
    try:
        width, _, patch, _ = tensors["visual_encoder.patch_embed.proj.weight"].shape
        grid = isqrt(tensors["visual_encoder.pos_embed"].shape[1] - 1)
        vocabulary, text_width = tensors[f"{stack}.embeddings.word_embeddings.weight"].shape
        return ModelConfig(
            vision=VisionConfig(
                image_size=grid * patch,
                patch_size=patch,
                width=width,
                layers=_layers(tensors, "visual_encoder.blocks"),
                heads=width // _HEAD_WIDTH,
                mlp_width=tensors["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0],
            ),
            text=TextConfig(
                vocab_size=vocabulary,
                width=text_width,
                layers=_layers(tensors, f"{stack}.encoder.layer"),
                heads=text_width // _HEAD_WIDTH,
                mlp_width=tensors[f"{stack}.encoder.layer.0.intermediate.dense.weight"].shape[0],
                max_positions=tensors[f"{stack}.embeddings.position_embeddings.weight"].shape[0],
            ),
            projection=tensors["vision_proj.weight"].shape[0] if "embed" in tasks else ModelConfig().projection,
            tasks=tasks,
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{where} is not a checkpoint of salesforce/BLIP: it lacks {error}") from error


def _colours(preprocessor: Mapping[str, Any], name: str, default: Colours) -> Colours:
    """A number for each of red, green and blue, where the folder gives them."""
    red, green, blue = preprocessor.get(name) or default
    return float(red), float(green), float(blue)


def _layers(tensors: Mapping[str, object], prefix: str) -> int:
    """How many numbered modules stand under a prefix."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})


# ---------------------------------------------------------------------------------------------------------- image sizes


def with_image_size(config: ModelConfig, image_size: int) -> ModelConfig:
    """The sizes of the model for pictures of another size. Raises CheckpointError where it does not suit the
    patches."""
    vision = config.vision
    if vision.kind != "vit" or image_size % vision.patch_size or image_size < vision.patch_size:
        raise CheckpointError(
            f"image_size={image_size} does not suit this model: give {vision.image_size}"
            + (f" or another multiple of {vision.patch_size}" if vision.kind == "vit" else "")
        )
    return replace(config, vision=replace(vision, image_size=image_size))


def resize_positions(tensors: Tensors, config: ModelConfig, resized: ModelConfig) -> Tensors:
    """The tensors of `config` for the pictures of `resized`: the positions of its image tokens interpolated as BLIP
    does it (bicubic, `vit.interpolate_pos_embed`)."""
    weights = _cubic(config.vision.grid, resized.vision.grid)
    positions = tensors["vision.positions"]
    plane = positions[1:].reshape(config.vision.grid, config.vision.grid, -1)
    plane = np.einsum("yi,xj,ijc->yxc", weights, weights, plane, optimize=True)
    joined = np.concatenate([positions[:1], plane.reshape(-1, positions.shape[1]).astype(np.float32)])
    return {**tensors, "vision.positions": joined}


def _cubic(inputs: int, outputs: int) -> NDArray[np.float64]:
    """Weights [outputs, inputs] of torch's bicubic interpolation: Keys' kernel with a = -0.75, half-pixel centres, the
    border repeated, no smoothing when shrinking."""
    centre = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    first = np.floor(centre).astype(int)
    weights = np.zeros((outputs, inputs))
    for tap in range(-1, 3):
        distance = np.abs(centre - (first + tap))
        near = ((1.25 * distance - 2.25) * distance) * distance + 1
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
        np.add.at(
            weights, (np.arange(outputs), np.clip(first + tap, 0, inputs - 1)), np.where(distance <= 1, near, far)
        )
    return weights
