"""What a user typed (files, folders, globs, addresses, "-") to the stream of single pictures.

Knows paths and image suffixes; opens no picture. A file named outright is passed on whatever it is called, even when it
does not exist: reading it gives the one error message there is.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from openblip.errors import ImageError, InputError
from openblip.image import FORMATS_IN_WORDS, SUFFIXES, is_url, shown_name

Found = Path | str | InputError
"""A file, an http(s) address, or why an argument gave nothing."""


def find_images(arguments: Iterable[str], lines: Iterable[str] = (), seen: set[str] | None = None) -> Iterator[Found]:
    """Every picture that the arguments name, each once, in the order of the arguments and sorted within one.

    A folder gives the image files in it and below, hidden ones left out. A glob ("*", "?", "[...]", "**") gives what a
    shell would put in its place. "-" stands for one argument a line of `lines`, read as they come. seen: what other
    calls found already; it is left out, and what this one finds is added.
    """
    seen = set() if seen is None else seen
    for found in _expand(arguments, lines):
        if not isinstance(found, InputError):
            if (key := identity(found)) in seen:
                continue
            seen.add(key)
        yield found


def identity(photo: Path | str) -> str:
    """The same for the same file or address. Links are not resolved: two links to one photo are two photos, each with a
    caption file of its own."""
    return photo if isinstance(photo, str) else os.path.normcase(photo.absolute())


def _expand(arguments: Iterable[str], lines: Iterable[str]) -> Iterator[Found]:
    for argument in arguments:
        if argument == "-":
            yield from _expand((line.rstrip("\r\n") for line in lines if line.strip() and line.strip() != "-"), ())
        elif not argument:  # an unset variable of a script; as a path it would mean the working folder
            yield ImageError("an empty name stands for no picture: give a file, a folder or an address")
        elif is_url(argument):
            yield argument
        elif "://" in argument:
            yield ImageError(f"{shown_name(argument)} cannot be read: give an http(s) address or a path")
        else:
            yield from _expand_path(argument)


def _expand_path(argument: str) -> Iterator[Found]:
    path = Path(argument)
    if _is_folder(path):
        yield from _walk(path)
    elif glob.has_magic(argument) and not path.exists():  # a file may well be called "photo[1].jpg"
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            yield ImageError(f"no file matches {shown_name(argument)}: check the pattern")
        for match in matches:
            if not _is_folder(Path(match)):
                yield Path(match)
            elif "**" not in argument:  # "**" has listed what is below already
                yield from _walk(Path(match))
    else:
        yield path


def _walk(folder: Path) -> Iterator[Found]:
    unreadable: list[ImageError] = []

    def note(error: OSError) -> None:
        unreadable.append(ImageError(f"{shown_name(error.filename)} may not be read: check its permissions"))

    empty = True
    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                empty = False
                yield Path(parent, name)
    yield from unreadable
    if empty and not unreadable:
        yield ImageError(f"{shown_name(folder)} holds no pictures: name a folder with {FORMATS_IN_WORDS} files")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
