"""Photos, files and refusals for tests of what an image may be. Knows no test."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip.errors import ImageError
from openblip.image import ImageLimits, load_image


def photo(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """Smooth colours, so that lossy formats stay close."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *, colour: int = 2, depth: int = 8, rows: bytes = b"") -> bytes:
    """A PNG written by hand, so that the header may say what it likes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def far(first: Image.Image, second: Image.Image) -> int:
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


def refusal(source: Any, limits: ImageLimits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, limits or ImageLimits())
    message = str(caught.value)
    assert "\n" not in message
    return message
