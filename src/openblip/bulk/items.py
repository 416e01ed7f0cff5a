"""What a user names (photos, shards, tables) -> items: pictures one by one, each with what is asked of it alone.

Knows what kind of file holds pictures. Opens no picture and knows no model. What cannot be used comes out as an item
with its error.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openblip.bulk.capfilt.samples import Member, ShardSamples, WebSample, is_plain, read_member
from openblip.bulk.prompts import find_prompted
from openblip.bulk.rows import iterate_rows
from openblip.bulk.shards import find_shards
from openblip.bulk.sources import find_images
from openblip.errors import DataError, InputError, OpenBlipError, OptionError
from openblip.image import is_url

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
IMAGE_COLUMNS = ("image", "image_path", "path", "file_name", "filename", "file", "source", "photo", "url")


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture in an uncompressed shard, by its place: read when it is its turn, by whoever works on it."""

    shard: Path
    member: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes. Raises DataError where the shard is no longer what it was."""
        return read_member(self.shard, self.member, self.offset, self.size)


Picture = Path | str | bytes | Stored
"""A file, an address, the bytes of a file, or where in a shard they are."""


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to work on. source: what results call it; own: the prompt, questions or texts that it has for itself;
    error: why it cannot be worked on; it then has no picture."""

    source: str
    picture: Picture | None = field(repr=False, default=None)
    own: tuple[str, ...] = ()
    error: OpenBlipError | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of tables, or the entries of a shard's json, are called.

    image: with a path, an address or the bytes of a file; empty: the first that is there of the usual names. own: with
    what is asked of the picture; own_flag: the option that names it. key: with what results call the picture; empty:
    its path, or its place in the table.
    """

    image: str = ""
    own: str = ""
    own_flag: str = ""
    key: str = ""

    def own_texts(self, where: str, row: Mapping[str, Any]) -> tuple[str, ...]:
        """What is asked of the picture: a text, or a list of them. Raises DataError where that is none."""
        if not self.own:
            return ()
        value = self._cell(self.own, self.own_flag, where, row)
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        texts = [text for text in texts if isinstance(text, str) and text.strip()]
        if not texts:
            raise DataError(f"{where}: column {self.own!r} holds no text: write one, or a list of them")
        return tuple(texts)

    def name(self, where: str, row: Mapping[str, Any], usual: str) -> str:
        """What results call the picture."""
        return str(self._cell(self.key, "--key-column", where, row)) if self.key else usual

    def picture(self, where: str, row: Mapping[str, Any], folder: Path) -> tuple[Path | str | bytes, str]:
        """The picture, and its path where it has one. Raises DataError."""
        column = self.image or next((name for name in IMAGE_COLUMNS if name in row), "")
        if not column:
            there = ", ".join(map(str, row)) or "no column at all"
            raise DataError(
                f"{where}: no column is called {' or '.join(IMAGE_COLUMNS)}: name it with --image-column, of {there}"
            )
        cell = self._cell(column, "--image-column", where, row)
        if isinstance(cell, dict):  # as Hugging Face's datasets write pictures
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, bytes) and cell:
            return cell, ""
        if not isinstance(cell, str) or not cell.strip():
            raise DataError(
                f"{where}: {str(cell)[:40]!r} is no path, address or bytes of a picture: see to column {column!r}"
            )
        cell = cell.strip()
        path: Path | str = cell if is_url(cell) else folder / cell
        return path, str(path)

    def _cell(self, column: str, flag: str, where: str, row: Mapping[str, Any]) -> Any:
        if column not in row:
            there = ", ".join(map(str, row)) or "none"
            raise DataError(f"{where}: there is no column {column!r}: {flag} may be one of {there}")
        return row[column]


def find_items(
    arguments: Sequence[str], lines: Iterable[str], columns: Columns, *, root: Path | None = None, light: bool = False
) -> Iterator[Item]:
    """Every picture that the arguments name, in their order; a file or an address that is named twice comes once.

    An argument is what `find_images` takes, a shard (a .tar, a glob of them, a range as in train-{0000..0005}.tar) or a
    table (.csv, .tsv, .jsonl, .parquet, or a glob). "-" stands for one argument a line of `lines`. root: where paths of
    tables start; without, in the table's folder. light: pictures of uncompressed shards come as their place and not as
    bytes.
    """
    seen: set[str] = set()
    for argument in _arguments(arguments, lines):
        name = argument.lower()
        if name.endswith(SHARD_SUFFIXES) and not is_url(argument):
            yield from _of_shards(argument, columns, light)
        elif name.endswith(TABLE_SUFFIXES) and not is_url(argument):
            yield from _of_tables(argument, columns, root)
        else:
            yield from (_item(found) for found in find_images([argument], (), seen))


def find_prompted_items(lines: Iterable[str], name: str, prompt: str) -> Iterator[Item]:
    """Those of a list of photos with prompts of their own."""
    for found, own in find_prompted(lines, name, prompt):
        yield _item(found, (own,))


def _arguments(arguments: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == "-":
            yield from (stripped for line in lines if (stripped := line.rstrip("\r\n")).strip() not in ("", "-"))
        else:
            yield argument


def _item(found: Path | str | InputError, own: tuple[str, ...] = ()) -> Item:
    if isinstance(found, InputError):
        return Item("", error=found)
    return Item(str(found), found, own)


# --------------------------------------------------------------------------------------------------------------- shards


def _of_shards(argument: str, columns: Columns, light: bool) -> Iterator[Item]:
    try:
        shards = find_shards(argument)
    except DataError as error:
        yield Item(argument, error=error)
        return
    for shard in shards:
        samples = ShardSamples(shard)
        try:
            placed = light and is_plain(shard)  # of another, each picture would be read by unpacking all before it
            for sample in samples:
                yield _of_sample(shard, sample, columns, placed)
        except DataError as error:
            yield Item(str(shard), error=error)
            continue
        if samples.broken_off:
            reason = f"{shard} breaks off ({samples.broken_off}): what follows in it is missing, fetch it again"
            yield Item(str(shard), error=DataError(reason))


def _of_sample(shard: Path, sample: WebSample, columns: Columns, light: bool) -> Item:
    source = f"{shard}/{sample.image.name if sample.image else sample.key}"
    if sample.image is None:
        return Item(source, error=DataError(f"{shard}: {sample.error}"))
    try:
        own = columns.own_texts(source, sample.metadata)
        name = columns.name(source, sample.metadata, source)
    except DataError as error:
        return Item(source, error=error)
    return Item(name, _stored(shard, sample.image) if light else sample.image.content, own)


def _stored(shard: Path, image: Member) -> Stored:
    return Stored(shard.resolve(), image.name, image.offset, image.size)


# --------------------------------------------------------------------------------------------------------------- tables


def _of_tables(argument: str, columns: Columns, root: Path | None) -> Iterator[Item]:
    path = Path(argument)
    tables = [path] if path.exists() or not glob.has_magic(argument) else [*map(Path, sorted(glob.glob(argument)))]  # noqa: PTH207
    if not tables:
        yield Item(argument, error=DataError(f"no file matches {argument}: check the pattern"))
    for table in tables:
        try:
            for where, row in iterate_rows(table, '{"image": "dog.jpg"}'):
                yield (
                    Item(where, error=row) if isinstance(row, DataError) else _of_row(table, where, row, columns, root)
                )
        except DataError as error:
            yield Item(str(table), error=error)


def _of_row(table: Path, where: str, row: Mapping[str, Any], columns: Columns, root: Path | None) -> Item:
    try:
        picture, path = columns.picture(where, row, root or table.parent)
        return Item(columns.name(where, row, path or where), picture, columns.own_texts(where, row))
    except DataError as error:
        return Item(where, error=error)


def check_columns(columns: Columns, arguments: Sequence[str]) -> None:
    """Raise OptionError where columns are named and nothing that has any."""
    named = [
        flag
        for flag, name in (
            ("--image-column", columns.image),
            (columns.own_flag, columns.own),
            ("--key-column", columns.key),
        )
        if name
    ]
    with_columns = (*SHARD_SUFFIXES, *TABLE_SUFFIXES)
    if named and "-" not in arguments and not any(argument.lower().endswith(with_columns) for argument in arguments):
        raise OptionError(f"{named[0]} is for tables and shards: name one ({', '.join(with_columns)})")
