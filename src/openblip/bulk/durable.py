"""Files that are there whole or not at all, also after the power went: written aside, synced, renamed, and the rename
synced too. And the lock that keeps a folder to one run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from openblip.errors import InputError
from openblip.image import shown_name

PART = ".part"


@contextmanager
def durable_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the path's place when the block ends, and only then.

    Two processes may write the same path at once: each has a part of its own, and the last rename wins.
    Raises InputError where it cannot be written; what was there before is then still there.
    """
    part = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}{PART}")
    try:
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_durably(path: Path, content: bytes) -> None:
    """Put the content at the path. Raises InputError."""
    with durable_file(path) as file:
        file.write(content)


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there. Raises InputError."""
    try:
        if path.exists():
            path.unlink()
            _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises InputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left half written. Only for whoever holds the folder's lock."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that this file stands for. The system lets go of it when the process ends, however it ends.

    Raises InputError where another process holds it, or the file cannot be made.
    """
    try:
        file = path.open("wb")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            folder = shown_name(path.parent)
            raise InputError(f"another run writes to {folder}: wait for it, or give another folder") from error
        except OSError as error:
            raise cannot_write(path, error) from error
        yield


def cannot_write(path: Path, error: OSError) -> InputError:
    """The error to raise."""
    reason = error.strerror or str(error)
    return InputError(
        f"{shown_name(path)} cannot be written: {reason}: see to it and run again, which goes on from here"
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
