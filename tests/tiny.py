"""Tiny random models: configs of both vision kinds and tensors whose scale makes every output vary. Knows no
framework."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openblip.config import ModelConfig, TextConfig, VisionConfig, mobilenet_v2_layers, tensor_shapes

VisionKind = Literal["vit", "mobilenet_v2"]
VISION_KINDS: tuple[VisionKind, ...] = ("vit", "mobilenet_v2")

_WORDS = (
    "a the in on of with and is picture photo dog cat man woman child boy girl bird horse car bus train street field "
    "grass water sand snow sky tree red blue green white black brown yellow small large young old two three runs sits "
    "stands jumps plays holds rides eats looks at through over under near his her ball hat shirt ##s ##ing ##ed ##er"
).split()
TINY_VOCABULARY: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "[ENC]", *_WORDS)


def tiny_config(kind: VisionKind = "vit") -> ModelConfig:
    """A config small enough for tests that take milliseconds; its vocabulary is TINY_VOCABULARY.

    Widths, heads and token counts differ from one another, so that a mixed-up axis fails instead of passing by chance.
    """
    size = {"vit": 24, "mobilenet_v2": 64}[kind]
    vision = VisionConfig(kind=kind, image_size=size, patch_size=8, width=32, layers=2, heads=2, mlp_width=80)
    text = TextConfig(
        vocab_size=len(TINY_VOCABULARY), width=48, layers=2, heads=4, mlp_width=96, max_positions=32,
        pad_id=0, cls_id=2, sep_id=3, dec_id=4, enc_id=5,
    )  # fmt: skip
    return ModelConfig(vision=vision, text=text, projection=24)


def random_tensors(config: ModelConfig, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Float32 tensors for every entry of `tensor_shapes`, scaled so that signals neither die nor blow up."""
    generator = np.random.default_rng(seed)
    return {name: _random(name, shape, generator) for name, shape in tensor_shapes(config).items()}


def random_pixels(config: ModelConfig, batch: int, seed: int = 0) -> NDArray[np.float32]:
    """Normalised pixels [batch, 3, size, size]; a low-frequency part makes the pictures differ as photos do."""
    generator = np.random.default_rng(seed)
    size = config.vision.image_size
    coarse = generator.normal(0.0, 1.0, (batch, 3, 4, 4)).repeat(-(-size // 4), axis=2).repeat(-(-size // 4), axis=3)
    noise = generator.normal(0.0, 0.5, (batch, 3, size, size))
    return (coarse[:, :, :size, :size] + noise).astype(np.float32)


def write_vocabulary(folder: Path) -> Path:
    """Write TINY_VOCABULARY as vocab.txt into the folder and return its path."""
    path = folder / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in TINY_VOCABULARY), encoding="utf-8")
    return path


def _random(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float32]:
    if name == "itc.temperature":
        return np.asarray(0.07, dtype=np.float32)
    values = generator.normal(0.0, 1.0, shape)
    is_norm = ".norm" in name  # vision.norm, norm1, lm.norm, attention.norm, ...
    if is_norm and name.endswith("weight"):
        values = 1.0 + 0.1 * values
    elif name.endswith("bias"):
        values *= 0.1
    elif name.startswith("vision.backbone."):
        # He initialisation; the projections that close a block have no ReLU6 and take half the power.
        relu6 = mobilenet_v2_layers()[int(name.split(".")[2])].relu6
        values *= np.sqrt((2.0 if relu6 else 1.0) / np.prod(shape[1:]))
    elif "positions" in name or name in ("vision.class_token", "text.tokens.weight"):
        values *= 0.5
    else:
        # 1.5 / sqrt(inputs) instead of 1: attention then prefers some tokens, so that a wrong mask shows.
        values *= 1.5 / np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)
