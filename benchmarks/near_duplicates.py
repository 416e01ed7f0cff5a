"""At which cosine copies of photos are found, and what else is then taken for a copy.

`python -m benchmarks.near_duplicates DATA` takes the photos of WebDataset shards, makes copies of them (smaller,
compressed again, cropped, brightened, mirrored) and prints, for each threshold, the share of copies that
`openblip duplicates` would group with their photo, and how many groups of different photos it would make.
Flickr8k holds a few photos of one scene, shot after each other: those are counted too, as nobody has labelled them.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
from PIL import Image, ImageEnhance

from openblip import Blip
from openblip.bulk.shards import find_shards, read_shards
from openblip.engine import Floats
from openblip.library.duplicates import close_pairs, linked

THRESHOLDS = (0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995)
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": lambda photo: photo.resize((photo.width // 2, photo.height // 2)),
    "JPEG quality 30": lambda photo: photo,
    "cropped by 5% a side": lambda photo: _cropped(photo, 0.05),
    "cropped by 10% a side": lambda photo: _cropped(photo, 0.10),
    "20% brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.2),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
    "mirrored": lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def main() -> int:
    """Make the copies, encode them, print the table."""
    arguments = _arguments()
    shards = [shard for source in arguments.data for shard in find_shards(source)]
    photos = [sample.image_bytes for sample in islice(read_shards(shards, captioned=False), arguments.photos)]
    blip = Blip.load(arguments.model)
    vectors = blip.embed_images(photos)
    print(f"{len(photos)} photos, {blip.name}\n\n| copy | {' | '.join(map(str, THRESHOLDS))} |")
    print("|---" * (len(THRESHOLDS) + 1) + "|")
    for name, change in COPIES.items():
        copies = blip.embed_images([_copied(photo, change, 30 if "30" in name else 90) for photo in photos])
        cosines = (vectors * copies).sum(axis=1)
        print(_row(name, [f"{np.mean(cosines >= threshold):.1%}" for threshold in THRESHOLDS]), flush=True)
    print(_row("different photos in a group", [str(_grouped(vectors, threshold)) for threshold in THRESHOLDS]))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", nargs="+", help="WebDataset shards")
    parser.add_argument("--model", default="mini", help="a model's name or folder")
    parser.add_argument("--photos", type=int, default=1000)
    return parser.parse_args()


def _copied(photo: bytes, change: Callable[[Image.Image], Image.Image], quality: int) -> bytes:
    with Image.open(io.BytesIO(photo)) as image:
        copy = change(image.convert("RGB"))
    file = io.BytesIO()
    copy.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _cropped(photo: Image.Image, share: float) -> Image.Image:
    across, down = round(photo.width * share), round(photo.height * share)
    return photo.crop((across, down, photo.width - across, photo.height - down))


def _grouped(vectors: Floats, threshold: float) -> int:
    return sum(len(members) for members, _ in linked(len(vectors), close_pairs(vectors, threshold)))


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
