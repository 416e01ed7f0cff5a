"""Noisy shards -> samples with all their members. Where `bulk.shards` refuses a shard for one bad sample, this goes on
and says what is wrong with it. Knows no model and does not decode pictures."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from openblip.bulk.shards import IMAGE_SUFFIXES, MAX_MEMBER_BYTES, split_name
from openblip.errors import DataError

_BROKEN = (tarfile.TarError, EOFError, zlib.error, ValueError)  # ValueError: of a header that is nonsense
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a sample. offset: of its content, in the tar as it is uncompressed; size: of the content, which is left
    out where it is too large."""

    name: str
    suffix: str
    content: bytes = field(repr=False)
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class WebSample:
    """A picture with what the web says of it.

    members: all files of the key, in their order. texts: "captions" of the json, else its "caption", else the .txt.
    metadata: the json, empty where there is none. error: why it cannot be used; it then has no picture.
    """

    key: str
    members: tuple[Member, ...]
    image: Member | None = None
    texts: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class ShardSamples:
    """Iterating it gives the samples of a shard in their order. broken_off: afterwards, why the tar could not be read
    to its end, if so; the sample that it breaks off in is left out.

    Raises DataError where the file itself cannot be read: that may pass, unlike a broken tar.
    """

    def __init__(self, shard: Path) -> None:
        self.broken_off: str | None = None
        self._shard = shard

    def __iter__(self) -> Iterator[WebSample]:
        key, members = "", list[Member]()
        try:
            with tarfile.open(self._shard, "r|*", bufsize=_BLOCK) as archive:
                for entry in archive:
                    stem, suffix = split_name(entry.name)
                    if not entry.isfile() or not stem:
                        continue
                    if stem != key:  # before the new one is read: the tar may break off there
                        yield from _samples(key, members)
                        key, members = stem, []
                    members.append(Member(entry.name, suffix, _content(archive, entry), entry.offset_data, entry.size))
        except _BROKEN as error:
            self.broken_off = f"{type(error).__name__}: {error}"
            return
        except OSError as error:
            raise DataError(f"cannot read the shard {self._shard}: {error.strerror or error}: try again") from error
        yield from _samples(key, members)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells whether a shard is the one it was. sha256: of the whole file. pictures: its samples, as far as the tar
    can be read."""

    bytes: int
    sha256: str
    pictures: int


def fingerprint(shard: Path) -> Fingerprint:
    """Read a shard once for both. Raises DataError where the file cannot be read."""
    try:
        with shard.open("rb") as file:
            hashing, keys, last = _Hashing(file), 0, None
            try:
                with tarfile.open(fileobj=hashing, mode="r|*", bufsize=_BLOCK) as archive:  # type: ignore[call-overload]
                    for member in archive:
                        stem, _ = split_name(member.name)
                        keys += bool(member.isfile() and stem and stem != last)
                        last = stem if member.isfile() and stem else last
            except _BROKEN:
                pass
            while hashing.read(_BLOCK):
                pass
            return Fingerprint(hashing.bytes, hashing.digest.hexdigest(), keys)
    except OSError as error:
        raise DataError(f"cannot read the shard {shard}: {error.strerror or error}: check the path") from error


def is_plain(shard: Path) -> bool:
    """Whether members are at their place in the file: it is a tar, and not compressed. Raises DataError."""
    try:
        with shard.open("rb") as file:
            return _has_mark(file)
    except OSError as error:
        raise DataError(f"cannot read the shard {shard}: {error.strerror or error}: try again") from error


def read_member(shard: Path, member: str, offset: int, size: int) -> bytes:
    """The content of one member: from its place where the tar is plain, else by reading up to it. Raises DataError."""
    try:
        with shard.open("rb") as file:
            if _has_mark(file):
                file.seek(offset)
                return file.read(size)
        with tarfile.open(shard, "r|*") as archive:
            for found in archive:
                if found.offset_data == offset and (content := archive.extractfile(found)):
                    return content.read()
    except (*_BROKEN, OSError) as error:
        raise DataError(f"cannot read {member} of {shard}: {error}: was the shard replaced?") from error
    raise DataError(f"{shard} no longer holds {member}: was it replaced?")


def _has_mark(file: IO[bytes]) -> bool:
    file.seek(257)
    return file.read(5) == b"ustar"


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        self.bytes += len(content)
        return content


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    """Nothing of what is too large. Raises tarfile.ReadError where the tar breaks off in it."""
    file = archive.extractfile(entry) if entry.size <= MAX_MEMBER_BYTES else None
    content = b"" if file is None else file.read()
    if file is not None and len(content) < entry.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _samples(key: str, members: list[Member]) -> Iterator[WebSample]:
    """The one sample of the key; none where nothing of it is a picture or a json."""
    if any(member.suffix in IMAGE_SUFFIXES | {"json"} for member in members):
        try:
            yield _checked(key, tuple(members))
        except DataError as error:
            yield WebSample(key, tuple(members), error=str(error))


def _checked(key: str, members: tuple[Member, ...]) -> WebSample:
    """Raises DataError that says what is wrong with the sample."""
    for member in members:
        if member.size > MAX_MEMBER_BYTES:
            raise DataError(f"{member.name} has {member.size} bytes, more than {MAX_MEMBER_BYTES}")
    by_suffix = {member.suffix: member for member in members}
    if len(by_suffix) < len(members):
        raise DataError(f"a file of {key} is there twice")
    images = [member for member in members if member.suffix in IMAGE_SUFFIXES]
    if len(images) != 1:
        raise DataError(f"{key} has {len(images) or 'no'} picture{'s' if images else ''}")
    metadata = _metadata(by_suffix["json"]) if "json" in by_suffix else {}
    return WebSample(key, members, images[0], _texts(key, metadata, by_suffix.get("txt")), metadata)


def _metadata(member: Member) -> dict[str, Any]:
    try:
        values = json.loads(member.content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{member.name} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{member.name} holds no JSON object")
    return values


def _texts(key: str, metadata: dict[str, Any], txt: Member | None) -> tuple[str, ...]:
    captions = metadata.get("captions")
    if captions is not None:
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
            raise DataError(f'"captions" in the json of {key} is no list of texts')
        return tuple(captions)
    if isinstance(metadata.get("caption"), str):  # as img2dataset writes it
        return (metadata["caption"],)
    text = "" if txt is None else txt.content.decode("utf-8", "replace").strip()
    return (text,) if text else ()
