"""The folders that an assistant may see, and the bytes of a file in them.

Knows paths and links, and that whoever names a file may be hostile: of what lies outside nothing is read, and nothing
is said, not even whether it exists. Does not know what the bytes mean.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from openblip.errors import ImageError, OptionError
from openblip.image import shown_name

_LONGEST_NAME = 4096
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class AllowedFolders:
    """Folders with all that is below them; links count as what they lead to.

    Raises OptionError where one is not a folder.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise OptionError(f"--allow {shown_name(folder)} is not a folder: name one that exists")
        self.folders = tuple(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))

    def __str__(self) -> str:
        return ", ".join(shown_name(folder) for folder in self.folders) or "none"

    def find(self, name: str) -> Path:
        """Where a file lies that an assistant names: by its whole path, a file: address, from ~/, or by a path below
        one of the folders. It is inside, and need not exist. Raises ImageError."""
        path = self._path(name)
        candidates = [path] if path.is_absolute() else [folder / path for folder in self.folders]
        inside = [real for each in candidates if self.holds(real := Path(os.path.realpath(each)))]
        if not inside:
            raise self._outside(name)
        return next((real for real in inside if os.path.lexists(real)), inside[0])

    def read(self, name: str, max_bytes: int) -> bytes:
        """The bytes of that file. Raises ImageError where it is outside, is no file, is larger or cannot be read."""
        path, shown = self.find(name), shown_name(name)
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError as error:
            raise ImageError(f"{shown} does not exist: check the path") from error
        except OSError as error:
            raise ImageError(f"{shown} cannot be read: {error.strerror}") from error
        try:
            self._check_opened(descriptor, name, max_bytes)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(max_bytes + 1)
        finally:
            os.close(descriptor)
        if len(data) > max_bytes:  # it grew since
            raise _too_large(name, max_bytes)
        return data

    def holds(self, path: Path) -> bool:
        """Whether a path without links is one of the folders or below one."""
        return any(path.is_relative_to(folder) for folder in self.folders)

    def _path(self, name: str) -> Path:
        if not self.folders:
            raise ImageError(
                "no folder is allowed: start the server with --allow FOLDER, or give the picture as a data: address"
            )
        if len(name) > _LONGEST_NAME:
            raise ImageError(f"a path of {len(name):,} characters is too long: give one of at most {_LONGEST_NAME:,}")
        text = _from_address(name) if name[:5].lower() == "file:" else name
        if not text.strip() or "\0" in text:
            raise ImageError(f"{shown_name(name)} is no path: give that of a picture in {self}")
        path = Path(text).expanduser() if text.startswith("~/") else Path(text)  # ~name would tell who has an account
        if ".." in path.parts:
            raise ImageError(f"{shown_name(name)} holds '..': give a path without it, in {self}")
        return path

    def _check_opened(self, descriptor: int, name: str, max_bytes: int) -> None:
        """What was opened is inside too, for a link may have been put on the way since it was looked at; and a file."""
        try:
            opened = Path(f"/proc/self/fd/{descriptor}").readlink()
        except OSError:  # no /proc: what was looked at has to do
            opened = None
        if opened is not None and not self.holds(opened):
            raise self._outside(name)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no file"
            raise ImageError(f"{shown_name(name)} is {what}, not a picture: name a file")
        if status.st_size > max_bytes:
            raise _too_large(name, max_bytes)

    def _outside(self, name: str) -> ImageError:
        return ImageError(f"{shown_name(name)} is not in a folder that is allowed: give a picture in {self}")


def _from_address(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ImageError(f"{shown_name(address)} is no address: give file:///PATH") from error
    if parts.netloc not in ("", "localhost"):
        raise ImageError(f"{shown_name(address)} names another machine: give file:///PATH")
    return unquote(parts.path)


def _too_large(name: str, max_bytes: int) -> ImageError:
    return ImageError(f"{shown_name(name)} is larger than {max_bytes:,} bytes: make it smaller")
