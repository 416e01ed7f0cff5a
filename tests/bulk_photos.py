"""Photos by the dozen, some of them broken, each in its own way. Knows no test."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from photos import png, saved

BREAKS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda photo: photo[: len(photo) // 2],
    "empty": lambda photo: b"",
    "text": lambda photo: b"404 not found: this is no photo\n" * 9,
    "magic": lambda photo: b"\x89PNG\r\n\x1a\n" + photo[8:],
    "bomb": lambda photo: png(30_000, 30_000, rows=bytes(100_000)),
    "header": lambda photo: struct.pack("<4sI4s", b"RIFF", 4_000_000_000, b"WEBP"),
}
"""What can be wrong with a file: how it is made of a photo's bytes."""


def photo_bytes(seed: int) -> bytes:
    """A JPEG of coarse colours, so that photos differ in what a model sees."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return saved(Image.fromarray(coarse).resize((48, 32), Image.Resampling.BICUBIC), "JPEG")


def write_photos(
    folder: Path, photos: int, broken: int = 0, content: Callable[[int], bytes] = photo_bytes
) -> list[str]:
    """So many files with so many broken ones spread over them; the names of the broken ones."""
    folder.mkdir(parents=True, exist_ok=True)
    step = photos // broken if broken else photos + 1
    bad = []
    for place in range(photos):
        data, name = content(place), f"{place:05d}.jpg"
        if place % step == step // 2 and len(bad) < broken:
            data = list(BREAKS.values())[len(bad) % len(BREAKS)](data)
            bad.append(name)
        (folder / name).write_bytes(data)
    assert len(bad) == broken
    return bad
