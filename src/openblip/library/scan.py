"""What a user wants indexed (files, folders, globs, shards) to single pictures and the places where they lie.

Knows paths and shards. Opens no picture, and knows no library.
"""

from __future__ import annotations

import glob
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openblip.bulk.capfilt.samples import ShardSamples, read_member
from openblip.bulk.shards import IMAGE_SUFFIXES, find_shards, split_name
from openblip.bulk.sources import find_images
from openblip.errors import DataError, ImageError, InputError, OpenBlipError
from openblip.image import DEFAULT_LIMITS, SUFFIXES, is_url, shown_name
from openblip.library.records import Place

_TARS = (".tar", ".tar.gz", ".tgz")
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of many pictures. size, modified: of the whole file, as in `Place`."""

    path: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to be indexed. content: its bytes, where they are at hand; caption: what its shard says of it; error:
    why it cannot be used."""

    place: Place
    content: bytes | None = field(default=None, repr=False)
    caption: str = ""
    error: OpenBlipError | None = None


@dataclass(slots=True)
class Scan:
    """What the arguments name. errors: of what gave nothing; roots: the folders and files that were looked through, so
    that what is gone from below them is known to be gone; unseen: the paths among them that could not be looked at;
    whole: whether there are no others."""

    photos: list[Place] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    errors: list[OpenBlipError] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    whole: bool = True

    def covers(self, path: str) -> bool:
        """Whether what is not found at a path is gone: it is one of the roots or below one, and could be looked at."""
        return self.whole and _below(path, self.roots) and not _below(path, self.unseen)


def scan(sources: Sequence[str], lines: Iterable[str] = ()) -> Scan:
    """Look at all files once, without reading them. sources: of photos as `find_images` takes them, without addresses;
    shards (.tar), globs and ranges of them, and folders that hold some. lines: what "-" stands for."""
    found, photos = Scan(), list[str]()
    for source in sources:
        if not _names_shards(source):
            photos.append(source)
            continue
        try:
            shards = find_shards(source)
        except DataError as error:
            found.errors.append(error)
            found.whole = False
            continue
        found.roots += [os.path.abspath(source)] if Path(source).is_dir() else []  # noqa: PTH100 (keeps links)
        for shard in shards:
            _note_shard(shard, found)
    noted: set[str] = set()
    for photo in find_images(photos, lines):
        if isinstance(photo, InputError):
            found.errors.append(photo)
            found.whole = False
        elif is_url(str(photo)):
            found.errors.append(
                ImageError(f"{shown_name(photo)} is an address: a library holds files, download it first")
            )
        else:
            _note_photo(Path(photo), found, noted)
    found.roots += [_root(source) for source in photos if source and "://" not in source and source != "-"]
    return found


def place_of(photo: Path) -> Place:
    """Raises ImageError where it cannot be looked at or is no file, or its name is no text."""
    path = os.path.abspath(photo)  # noqa: PTH100 (resolve would follow links)
    try:
        path.encode()
        status = Path(path).stat()
    except UnicodeEncodeError as error:
        raise ImageError(f"{shown_name(photo)} has a name that is no UTF-8: rename it") from error
    except FileNotFoundError as error:
        raise ImageError(f"{shown_name(photo)} does not exist: check the path") from error
    except OSError as error:
        raise ImageError(f"{shown_name(photo)} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{shown_name(photo)} is no file, but a folder, a pipe or a device: name a file")
    return Place(path, status.st_size, status.st_mtime_ns // 1000)


def read_place(place: Place, max_bytes: int | None = None) -> bytes:
    """The bytes of a picture that was indexed. max_bytes: of a file; None: what it had, or what is allowed by default.
    Raises ImageError or DataError where they are not there any more, are more, or there never was one."""
    if not place.path:
        raise ImageError("the item has no picture that can be read: give it one in its catalogue")
    if place.key:
        return read_member(Path(place.path), place.key, place.offset, place.size)
    limit = max(place.size, DEFAULT_LIMITS.max_bytes) if max_bytes is None else max_bytes
    content = b""
    try:
        with open(place.path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{shown_name(place.path)} is a file no more: index again")
            if status.st_size <= limit:
                content = file.read(limit + 1)
    except OSError as error:
        raise ImageError(f"{shown_name(place.path)} cannot be read: {error.strerror or error}: index again") from error
    if max(status.st_size, len(content)) > limit:
        raise ImageError(f"{shown_name(place.path)} is larger than {limit:,} bytes: make it smaller")
    return content


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture or a shard in it, in no folder below."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.lower().endswith((*SUFFIXES, *_TARS)) for entry in entries)
    except OSError:
        return False


def shard_candidates(shard: Shard) -> Iterator[Candidate]:
    """The pictures of a shard in their order, with their bytes; a sample that is none comes with its error.

    Raises DataError where the shard cannot be read to its end, after what can."""
    samples = ShardSamples(Path(shard.path))
    for sample in samples:
        if sample.image is None:
            error = DataError(f"{shown_name(shard.path)}: {sample.error or f'{sample.key} has no picture'}")
            yield Candidate(Place(shard.path, 0, shard.modified, sample.key), error=error)
            continue
        place = Place(shard.path, sample.image.size, shard.modified, sample.key, sample.image.offset)
        caption = "\n".join(" ".join(text.split()) for text in sample.texts)
        yield Candidate(place, sample.image.content, caption)
    if samples.broken_off is not None or _lacks_end(Path(shard.path)):
        reason = samples.broken_off or "it has no end mark"
        raise DataError(f"{shown_name(shard.path)} breaks off: {reason}: fetch it again")


def pictures_of(shard: Shard) -> int:
    """How many pictures a plain tar holds, by its headers; 0 where it must be read whole to know."""
    try:
        with tarfile.open(shard.path, "r:") as archive:
            return sum(split_name(member.name)[1] in IMAGE_SUFFIXES for member in archive if member.isfile())
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return 0


def _lacks_end(shard: Path) -> bool:
    """Whether a plain tar was cut between two members, which `tarfile` takes for its end."""
    with shard.open("rb") as file:
        file.seek(257)
        if file.read(5) != b"ustar":
            return False
        file.seek(-min(_BLOCK, shard.stat().st_size), os.SEEK_END)
        return any(file.read(_BLOCK))


def _names_shards(source: str) -> bool:
    if source.lower().endswith(_TARS):
        return True
    return source not in ("", "-") and Path(source).is_dir() and any(Path(source).glob("*.tar"))


def _below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that took the place of a file would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _place_of(path: Path, found: Scan) -> Place | None:
    try:
        return place_of(path)
    except ImageError as error:
        found.errors.append(error)
        found.unseen.append(os.path.abspath(path))  # noqa: PTH100 (keeps links)
        return None


def _note_shard(shard: Path, found: Scan) -> None:
    place = _place_of(shard, found)
    if place is None:
        return
    if all(place.path != other.path for other in found.shards):
        found.shards.append(Shard(place.path, place.size, place.modified))
        found.roots.append(place.path)


def _note_photo(photo: Path, found: Scan, noted: set[str]) -> None:
    """Once, however it is named."""
    path = os.path.abspath(photo)  # noqa: PTH100 (keeps links)
    if path not in noted:
        noted.add(path)
        if place := _place_of(photo, found):
            found.photos.append(place)


def _root(source: str) -> str:
    """The folder that a source looks through; of a glob the one above its first wildcard."""
    path = Path(source)
    if glob.has_magic(source) and not path.exists():
        first = next(place for place, part in enumerate(path.parts) if glob.has_magic(part))
        path = Path(*path.parts[:first])
    return os.path.abspath(path)  # noqa: PTH100 (keeps links)
