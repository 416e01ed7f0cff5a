"""transformers on torch behind both rivals: files to captions, with three beams as openblip's default."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
SEARCH = {"num_beams": 3, "max_length": 20, "min_length": 5}
"""What openblip.GenerateOptions has by default, as transformers counts it."""


class Captioner:
    """A published-style folder, loaded. threads: of torch."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        torch.set_num_threads(threads)
        library: Any = transformers  # parts of it are made when asked for, which no type checker sees
        self._model = library.BlipForConditionalGeneration.from_pretrained(folder, dtype=TYPES[precision])
        self._pixels = library.BlipImageProcessor.from_pretrained(folder)
        self._words = library.BertTokenizerFast.from_pretrained(folder)

    def decoded(self, file: bytes) -> torch.Tensor:
        """The pixels of a file, [3, size, size]."""
        photo = Image.open(io.BytesIO(file)).convert("RGB")
        pixels: torch.Tensor = self._pixels(photo, return_tensors="pt")["pixel_values"][0]
        return pixels

    @torch.inference_mode()
    def captions(self, pixels: Sequence[torch.Tensor]) -> list[str]:
        """One caption each."""
        batch = torch.stack(list(pixels)).to(self._model.dtype)
        found = self._model.generate(pixel_values=batch, **SEARCH)
        texts: list[str] = self._words.batch_decode(found, skip_special_tokens=True)
        return [text.strip() for text in texts]
