"""The pictures that are sent: a pool to repeat, fresh ones that are sent once, and large ones. Knows no server.

A fresh picture is a photo with its number drawn into it as black and white squares, so that no two are the same to a
cache, be it one of bytes or of decoded pixels, also where a large JPEG is decoded at an eighth of its size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, chain
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from openblip.bulk.shards import read_shards

SIDES: dict[int, float] = {128: 0.10, 320: 0.25, 640: 0.35, 1280: 0.18, 2048: 0.08, 4000: 0.04}
"""Longer side in pixels of the mix's pictures, and how often: a thumbnail to 12 megapixels."""
USUAL_SIDE = 640
"""Of the pictures where only the model shall count: as COCO's."""
LARGE_BYTES = 500_000
BITS = 24
QUALITY = 87
_COLUMNS = 6
_GRAIN = 4.0  # standard deviation; what an enlarged photo lacks, without which its file would be too small


def photos(samples: Path, data: Path | None) -> list[Image.Image]:
    """The sample photos and, where the data folder is there, its loose photos and those of coco-mini, in RGB."""
    files = sorted(samples.glob("*.jpg"))
    shards: list[Path] = []
    if data is not None:
        files += sorted((data / "photos").glob("*.*"))
        shards = sorted((data / "coco-mini").glob("*.tar"))
    loose = (Image.open(file).convert("RGB") for file in files)
    sharded = (Image.open(io.BytesIO(sample.image_bytes)).convert("RGB") for sample in read_shards(shards))
    return list(chain(loose, sharded))


def write_fresh(
    folder: Path, originals: Sequence[Image.Image], count: int, sides: dict[int, float], *, first: int = 0
) -> list[Path]:
    """Write so many pictures, no two alike, as NUMBER.jpg, from number `first` on; their longer sides are drawn by
    weight."""
    if not 0 < first + count <= 2**BITS:
        raise ValueError(f"{count} pictures from number {first} on: numbers have {BITS} bits")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = Random(first).choices(list(sides), weights=list(sides.values()), k=count)
    by_base: dict[tuple[int, int], list[int]] = {}
    for number, side in enumerate(drawn, first):
        by_base.setdefault((number % len(originals), side), []).append(number)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda base: _write_base(folder, originals, *base), by_base.items()))
    return sorted(folder.glob("*.jpg"))


def _write_base(folder: Path, originals: Sequence[Image.Image], base: tuple[int, int], numbers: Sequence[int]) -> None:
    index, side = base
    resized = scaled(originals[index], side, seed=index)
    for number in numbers:
        (folder / f"{number:07d}.jpg").write_bytes(jpeg(numbered(resized, number)))


def write_large(folder: Path, originals: Sequence[Image.Image], count: int) -> list[Path]:
    """Write so many photos of about LARGE_BYTES each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        photo = scaled(originals[number % len(originals)], 1600, seed=number)
        (folder / f"{number:07d}.jpg").write_bytes(of_about(numbered(photo, number), LARGE_BYTES))
    return sorted(folder.glob("*.jpg"))


def scaled(photo: Image.Image, side: int, seed: int) -> Image.Image:
    """The photo with this longer side; with some grain where it had to be enlarged."""
    factor = side / max(photo.size)
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    resized = photo.resize(size, Image.Resampling.BICUBIC)
    if factor <= 1.5:
        return resized
    tile = np.random.default_rng(seed).normal(0, _GRAIN, (512, 512)).astype(np.int16)
    grain = np.tile(tile, (size[1] // 512 + 1, size[0] // 512 + 1))[: size[1], : size[0], None]
    return Image.fromarray(np.clip(np.asarray(resized, np.int16) + grain, 0, 255).astype(np.uint8))


def numbered(photo: Image.Image, number: int) -> Image.Image:
    """A copy with the number's bits in its lower left corner: squares of 8 pixels at least, a 32nd of the longer
    side."""
    square = max(8, max(photo.size) // 32)
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8).reshape(-1, _COLUMNS)
    code = Image.fromarray((bits * 224 + 16).repeat(square, 0).repeat(square, 1)).convert("RGB")
    copy = photo.copy()
    copy.paste(code, (0, max(0, copy.height - code.height)))
    return copy


def jpeg(photo: Image.Image, quality: int = QUALITY) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return file.getvalue()


def of_about(photo: Image.Image, size: int) -> bytes:
    """As a JPEG file of this size: the quality that comes closest."""
    lowest, highest = 5, 98
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        lowest, highest = (middle, highest) if len(jpeg(photo, middle)) < size else (lowest, middle)
    return min((jpeg(photo, quality) for quality in (lowest, highest)), key=lambda file: abs(len(file) - size))


def zipf(count: int, exponent: float, random: Random) -> Iterator[int]:
    """Numbers from 0 to count - 1 for ever, number k as often as 1 / (k + 1) ** exponent says (Zipf's law)."""
    cumulated = list(accumulate((rank + 1) ** -exponent for rank in range(count)))
    while True:
        yield from random.choices(range(count), cum_weights=cumulated, k=256)
