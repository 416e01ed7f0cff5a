"""The caption file beside a photo: dog.jpg -> dog.txt, one caption a line, as image trainers read it.

Knows file names, what is put around a caption, and how to write a file whole or not at all. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from openblip.errors import InputError
from openblip.image import shown_name

Existing = Literal["skip", "replace", "error"]
"""What becomes of a photo that has its file already."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a written text is made of: prefix, trigger words and text joined by ", ", suffix. Prefix and suffix are put
    there as they are, so give them the space or comma that they need."""

    prefix: str = ""
    suffix: str = ""
    triggers: tuple[str, ...] = ()

    def of(self, text: str) -> str:
        """The text with all that belongs around it."""
        return f"{self.prefix}{', '.join((*self.triggers, text))}{self.suffix}"


def sidecar_path(photo: Path) -> Path:
    """Where the captions of a photo go."""
    return photo.with_suffix(".txt")


class Beside:
    """Files beside the photos of one run, each with texts about its photo."""

    noun = "caption file"

    def __init__(self, existing: Existing = "skip", wording: Wording | None = None) -> None:
        self.existing, self.wording = existing, wording or Wording()
        self._taken: set[Path] = set()

    def settings(self) -> dict[str, Any]:
        """What its files follow from, ready for JSON."""
        return {"existing": self.existing, **asdict(self.wording)}

    def path(self, photo: Path) -> Path:
        """Where the texts of a photo go."""
        return sidecar_path(photo)

    def wanted(self, photo: object, keywords: bool = False) -> bool:
        """Whether the photo is to be worked on: False where it has its file and keeps it. keywords: whether its texts
        are those. Raises InputError where it cannot have a file of its own."""
        if not isinstance(photo, Path):
            name = shown_name(photo) if isinstance(photo, str) else "a picture within a shard or table"
            raise InputError(f"{name} has no folder to put a {self.noun} in: leave out --sidecar and --xmp")
        try:
            path = self.path(photo)
        except ValueError as error:  # of "." and the like, which a table may hold
            raise InputError(f"{shown_name(photo)} is no file: name a picture") from error
        if path in self._taken or path == photo:
            shared = shown_name(path.name)
            raise InputError(f"{shown_name(photo)} would share {shared} with another file: rename one of them")
        self._taken.add(path)
        if self.existing == "replace" or not self.has(photo, keywords):
            return True
        if self.existing == "error":
            raise InputError(f"{shown_name(path)} is there already: give --existing skip or replace, or move it away")
        return False

    def write(self, photo: Path, texts: Iterable[str], keywords: bool = False) -> None:
        """Write the texts of a photo, unless it keeps the file that it has. Raises InputError where the folder cannot
        be written to."""
        if self.existing == "replace" or not self.has(photo, keywords):
            self.put(photo, texts, keywords)

    def has(self, photo: Path, keywords: bool) -> bool:
        """Whether the photo has its file. Raises InputError where that cannot be told."""
        return is_there(self.path(photo))

    def put(self, photo: Path, texts: Iterable[str], keywords: bool) -> None:
        """Write it, whole or not at all. Raises InputError."""
        with whole_file(self.path(photo), "") as part:  # what a killed run left is written over by the next
            part.write_text("".join(f"{self.wording.of(text)}\n" for text in texts), encoding="utf-8")


def is_there(path: Path) -> bool:
    """Whether a file is there. Raises InputError where that cannot be told: a name that is too long, a closed
    folder."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise InputError(f"{shown_name(path)} cannot be looked for: {reason}: rename it or open its folder") from error
    return True


@contextmanager
def whole_file(path: Path, mark: str | None = None) -> Iterator[Path]:
    """Where the block writes what then takes the path's place: a reader sees the old file or the new one, never half of
    it. mark: in the name of what is written meanwhile; that of the process, unless another is given.

    Raises InputError where the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid() if mark is None else mark}.part")
    try:
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{shown_name(path)} cannot be written: {error.strerror or error}") from error
