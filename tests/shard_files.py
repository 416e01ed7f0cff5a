"""Photos and WebDataset shards for tests of evaluations. Knows no test."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def photo(seed: int) -> bytes:
    """A JPEG of coarse random patches, so that pictures differ in what an encoder sees."""
    patches = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(patches).resize((40, 32), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def write_shard(path: Path, samples: Iterable[tuple[str, bytes, dict[str, Any]]]) -> Path:
    """samples: key, bytes of the picture, and what its json holds."""
    with tarfile.open(path, "w") as archive:
        for key, image, record in samples:
            for suffix, data in (("jpg", image), ("json", json.dumps(record).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path
