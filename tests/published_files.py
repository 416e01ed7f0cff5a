"""Tensors of ours under their published names: what transformers or salesforce/BLIP would have saved. Knows no test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from openblip.config import ModelConfig
from openblip.published import Style, homes_of
from openblip.weights import Tensors

_LEADING = {"vision.class_token": 2, "vision.positions": 1}  # axes of one element that only published files have
_HEAD = "text_decoder.cls.predictions"


def to_published(tensors: Mapping[str, NDArray[np.float32]], config: ModelConfig, style: Style) -> Tensors:
    """The inverse of `from_published`, every copy written out, the tied output table included."""
    result = Tensors()
    for name, copies in homes_of(config, style).items():
        value = tensors[name]
        value = value.reshape((1,) * _LEADING.get(name, 0) + value.shape)
        for parts in copies:
            result.update(zip(parts, np.split(value, len(parts)) if parts[1:] else [value], strict=True))
    if f"{_HEAD}.bias" in result:
        words = result["text_decoder.bert.embeddings.word_embeddings.weight"]
        result |= {f"{_HEAD}.decoder.weight": words, f"{_HEAD}.decoder.bias": result[f"{_HEAD}.bias"]}
    return result
