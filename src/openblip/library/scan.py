"""What a user wants indexed (files, folders, globs, shards) to single pictures and the places where they lie.

Knows paths and shards. Opens no picture, and knows no library.
"""

from __future__ import annotations

import glob
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openblip.bulk.capfilt.samples import ShardSamples, read_member
from openblip.bulk.shards import IMAGE_SUFFIXES, find_shards, split_name
from openblip.bulk.sources import find_images
from openblip.errors import DataError, ImageError, InputError, OpenBlipError
from openblip.image import is_url, shown_name
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
    that what is gone from below them is known to be gone."""

    photos: list[Place] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    errors: list[OpenBlipError] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)

    def covers(self, path: str) -> bool:
        """Whether a path is one of the roots or lies below one."""
        return any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in self.roots)


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
            continue
        found.roots += [os.path.abspath(source)] if Path(source).is_dir() else []  # noqa: PTH100 (keeps links)
        for shard in shards:
            _note_shard(shard, found)
    for photo in find_images(photos, lines):
        if isinstance(photo, InputError):
            found.errors.append(photo)
        elif is_url(str(photo)):
            found.errors.append(
                ImageError(f"{shown_name(photo)} is an address: a library holds files, download it first")
            )
        else:
            _note_photo(Path(photo), found)
    found.roots += [_root(source) for source in photos if source and "://" not in source and source != "-"]
    return found


def place_of(photo: Path) -> Place:
    """Raises ImageError where the file cannot be looked at, or its name is no text."""
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
    return Place(path, status.st_size, status.st_mtime_ns // 1000)


def read_place(place: Place) -> bytes:
    """The bytes of a picture that was indexed. Raises ImageError or DataError where they are not there any more, or
    there never was one."""
    if not place.path:
        raise ImageError("the item has no picture that can be read: give it one in its catalogue")
    if place.key:
        return read_member(Path(place.path), place.key, place.offset, place.size)
    try:
        return Path(place.path).read_bytes()
    except OSError as error:
        raise ImageError(f"{shown_name(place.path)} cannot be read: {error.strerror or error}: index again") from error


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


def _note_shard(shard: Path, found: Scan) -> None:
    try:
        place = place_of(shard)
    except ImageError as error:
        found.errors.append(error)
        return
    if all(place.path != other.path for other in found.shards):
        found.shards.append(Shard(place.path, place.size, place.modified))
        found.roots.append(place.path)


def _note_photo(photo: Path, found: Scan) -> None:
    try:
        found.photos.append(place_of(photo))
    except ImageError as error:
        found.errors.append(error)


def _root(source: str) -> str:
    """The folder that a source looks through; of a glob the one above its first wildcard."""
    path = Path(source)
    if glob.has_magic(source) and not path.exists():
        first = next(place for place, part in enumerate(path.parts) if glob.has_magic(part))
        path = Path(*path.parts[:first])
    return os.path.abspath(path)  # noqa: PTH100 (keeps links)
