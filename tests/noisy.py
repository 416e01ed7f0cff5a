"""Noisy shards and tiny checkpoints for CapFilt. Knows no test."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openblip.bulk.capfilt.run import CapFilt
from openblip.bulk.capfilt.settings import Decision, Scoring
from openblip.bulk.shards import find_shards
from openblip.checkpoint import save_checkpoint
from openblip.config import TASKS
from photos import photo, saved
from tiny import random_tensors, tiny_config, write_vocabulary

TEXTS = ("a dog runs on grass", "The red car!", "woman with a yellow hat", "two birds in the sky", "street", "a cat")


def tiny_checkpoint(folder: Path, seed: int = 0) -> str:
    """The folder of a tiny random model that does every task."""
    folder.mkdir(parents=True, exist_ok=True)
    config = replace(tiny_config("vit"), tasks=TASKS)
    save_checkpoint(folder / f"tiny-{seed}", config, random_tensors(config, seed), write_vocabulary(folder))
    return str(folder / f"tiny-{seed}")


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], mode: Any = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = len(content), 1_700_000_000, "somebody"
            archive.addfile(member, io.BytesIO(content))
    return path


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]


def picture_bytes(seed: int) -> bytes:
    return saved(photo(seed=seed), "PNG")


def sample(key: str, seed: int, texts: Sequence[str], **metadata: Any) -> list[tuple[str, bytes]]:
    values = {"url": f"https://example.org/{key}", "captions": list(texts), **metadata}
    return [(f"{key}.png", picture_bytes(seed)), (f"{key}.json", json.dumps(values).encode())]


def write_noisy(folder: Path, shards: int = 3, pictures: int = 5) -> Path:
    """A folder of shards; one or two texts a picture."""
    for shard in range(shards):
        members = []
        for place in range(pictures):
            seed = shard * pictures + place
            texts = [TEXTS[seed % len(TEXTS)], TEXTS[(seed * 5 + 1) % len(TEXTS)]][: 1 + seed % 2]
            members += sample(f"{seed:04d}", seed, texts, size=seed)
        write_tar(folder / f"web-{shard:04d}.tar", members)
    return folder


def capfilt(shards: Path, out: Path, model: str, **changes: Any) -> CapFilt:
    """A run with one tiny model for both, in float32."""
    scoring = Scoring(model, model, precision="f32")
    run = CapFilt(find_shards(shards), out, scoring, Decision())
    return replace(run, **changes)


def quiet(run: CapFilt) -> Any:
    return run.run(lambda stage, done, total: None, lambda line: None)


def outputs(out: Path) -> dict[str, bytes]:
    """What a run made, by name: all files but the manifest, which names paths, and the lock."""
    names = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name not in ("manifest.json", ".lock"))
    return {str(path.relative_to(out)): path.read_bytes() for path in names}
