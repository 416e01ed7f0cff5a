"""The caption file beside a photo: dog.jpg -> dog.txt, one caption a line, as image trainers read it.

Knows file names and how to write a file whole or not at all. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openblip.errors import InputError
from openblip.image import shown_name


def sidecar_path(photo: Path) -> Path:
    """Where the captions of a photo go."""
    return photo.with_suffix(".txt")


def write_sidecar(photo: Path, captions: Iterable[str]) -> None:
    """Write the captions beside the photo. Raises InputError where the folder cannot be written to."""
    with whole_file(sidecar_path(photo)) as part:
        part.write_text("".join(f"{caption}\n" for caption in captions), encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where the block writes what then takes the path's place: a reader sees the old file or the new one, never half of
    it.

    Raises InputError where the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{shown_name(path)} cannot be written: {error.strerror or error}") from error
