"""WebDataset shards -> samples: plain tar files that hold KEY.jpg and KEY.json side by side.

Reads tar files as streams, in order, without unpacking them to disk. Knows no model and does not decode pictures.
"""

from __future__ import annotations

import glob
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from openblip.errors import DataError

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp"})
MAX_MEMBER_BYTES = 64 * 2**20  # a shard is read from wherever it came; a photo is never that large

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and what is said about it.

    key: its name within the shard. captions: at least one, where they were asked for. metadata: the other entries of
    its json. shard, offset: where the picture's bytes lie (in an uncompressed tar).
    """

    key: str
    image_bytes: bytes = field(repr=False)
    captions: tuple[str, ...]
    metadata: dict[str, Any]
    shard: Path = Path()
    offset: int = 0


def find_shards(source: str | Path) -> list[Path]:
    """The tar files that `source` names, sorted: a file, a folder of shards, a glob, or a range
    like train-{0000..0005}.tar.

    Raises DataError where there is none.
    """
    text = str(source)
    if braces := _BRACES.search(text):
        first, last = braces.groups()
        numbers = range(int(first), int(last) + 1)
        names = [f"{text[: braces.start()]}{number:0{len(first)}d}{text[braces.end() :]}" for number in numbers]
        shards = [shard for name in names for shard in find_shards(name)]
    elif Path(text).is_dir():
        shards = sorted(Path(text).glob("*.tar"))
    elif Path(text).exists():
        shards = [Path(text)]
    else:
        shards = [Path(name) for name in sorted(glob.glob(text))]  # noqa: PTH207 (an absolute pattern)
    if not shards:
        raise DataError(f"no shards at {text}: give a .tar file, a folder of them, a glob, or a range like {{00..05}}")
    return shards


def read_shards(paths: Iterable[str | Path], *, captioned: bool = True) -> Iterator[Sample]:
    """The samples of the shards in their order, one shard after the other.

    captioned: whether every sample must have captions; without, one that has none comes out with an empty tuple.

    Raises DataError, naming shard and key, on a tar that cannot be read to its end, a picture without json (or the
    reverse), and a json without "captions", a list of texts, or "caption", one.
    """
    for path in paths:
        for key, members in _groups(Path(path)):
            yield _sample(Path(path), key, members, captioned)


def write_shard(path: Path, rows: Iterable[tuple[Sample, dict[str, Any]]]) -> None:
    """Pictures and what their json shall hold as a plain tar, whole or not at all; the same rows give the same file.

    Every picture is called KEY.jpg: readers go by what a file holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with tarfile.open(part, "w") as archive:
        for sample, values in rows:
            for name, content in (("jpg", sample.image_bytes), ("json", json.dumps(values).encode())):
                entry = tarfile.TarInfo(f"{sample.key}.{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    part.replace(path)


_Members = dict[str, tuple[bytes, int]]
"""Of one key: suffix -> content and its place in the tar."""


def _groups(shard: Path) -> Iterator[tuple[str, _Members]]:
    """Neighbouring members with the same key; members that are no sample are passed over."""
    key: str | None = None
    members: _Members = {}
    for name, content, offset in _members(shard):
        stem, suffix = split_name(name)
        if stem != key and key is not None:
            yield key, members
            members = {}
        if suffix in members:
            raise DataError(f"{shard}: {name} is there twice: keys must be unique within a shard")
        key = stem
        members[suffix] = content, offset
    if key is None:
        raise DataError(f"{shard} holds no samples: it must hold KEY.jpg and KEY.json pairs")
    yield key, members


def _members(shard: Path) -> Iterator[tuple[str, bytes, int]]:
    try:
        with tarfile.open(shard, "r|*") as archive:
            for member in archive:
                stem, suffix = split_name(member.name)
                if not member.isfile() or not stem or suffix not in IMAGE_SUFFIXES | {"json"}:
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise DataError(f"{shard}: {member.name} has {member.size} bytes, more than {MAX_MEMBER_BYTES}")
                content = archive.extractfile(member)
                yield member.name, content.read() if content is not None else b"", member.offset_data
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise DataError(f"cannot read the shard {shard}: {error}: is it a whole tar file?") from error


def split_name(name: str) -> tuple[str, str]:
    """A member's key and suffix, by WebDataset's split: the key ends at the first dot of the file name, whatever the
    folders hold."""
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")
    return (str(path.with_name(stem)) if stem else ""), suffix.lower()


def _sample(shard: Path, key: str, members: _Members, captioned: bool) -> Sample:
    where = f"{shard}: {key}"
    images = [suffix for suffix in members if suffix != "json"]
    if len(images) != 1:
        found = f"{len(images)} pictures" if images else "a json but no picture"
        raise DataError(f"{where} has {found}: give one of {', '.join(sorted(IMAGE_SUFFIXES))} a key")
    if "json" not in members:
        raise DataError(f"{where}.{images[0]} has no {key}.json beside it: put each picture's captions next to it")
    try:
        metadata = json.loads(members["json"][0])
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{where}.json is not JSON: {error}") from error
    captions = metadata.pop("captions", None) if isinstance(metadata, dict) else None
    if captions is None and isinstance(metadata, dict) and isinstance(metadata.get("caption"), str):
        captions = [metadata.pop("caption")]  # as img2dataset writes it
    if captions is None and isinstance(metadata, dict) and not captioned:
        return Sample(key, members[images[0]][0], (), metadata, shard, members[images[0]][1])
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
        raise DataError(f'{where}.json has no captions: give {{"captions": ["a dog on a beach", ...]}}')
    image_bytes, offset = members[images[0]]
    return Sample(key, image_bytes, tuple(captions), metadata, shard, offset)
