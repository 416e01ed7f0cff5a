"""What an output may not replace: the files that its run reads, and any picture or shard. Knows files by their
identity, so that links count; opens none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from openblip.bulk.formats import errors_path
from openblip.bulk.items import SHARD_SUFFIXES, Item
from openblip.errors import OptionError
from openblip.image import SUFFIXES, shown_name


def check_output(output: Path, read: Iterable[str | int]) -> None:
    """Raise OptionError where the output, or the file of its errors, would replace a file that is read, or one that is
    called as pictures and shards are. read: names, globs among them, and descriptors of open files."""
    there = _there(output)
    if there and output.name.lower().endswith((*SUFFIXES, *SHARD_SUFFIXES)) and output.exists():
        raise OptionError(f"{shown_name(output)} is a picture or a shard by its name: give another --output")
    for name in read if there else ():
        for path in glob.glob(name) if isinstance(name, str) and not _stat(name) else [name]:  # noqa: PTH207
            _refuse(path, there, output)


def spared(items: Iterable[Item], output: Path) -> Iterator[Item]:
    """The items. Raises OptionError at a picture that the output, or the file of its errors, would replace."""
    there = _there(output)
    for item in items:
        if there and isinstance(item.picture, Path):
            _refuse(str(item.picture), there, output)
        yield item


def _there(output: Path) -> list[os.stat_result]:
    """What would be replaced."""
    return [found for path in (output, errors_path(output)) if (found := _stat(path))]


def _refuse(read: str | int, there: Iterable[os.stat_result], output: Path) -> None:
    found = _stat(read)
    if found and any(os.path.samestat(found, each) for each in there):
        name = shown_name(read) if isinstance(read, str) else "what stdin comes from"
        raise OptionError(f"{shown_name(output)} or its errors would replace {name}: give another --output")


def _stat(path: Path | str | int) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 (a descriptor too)
    except (OSError, ValueError):
        return None
