"""One process at a time writes a library. Knows files, not LanceDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openblip.errors import DataError
from openblip.image import shown_name

_TURN_S = 0.02


@contextmanager
def only_writer(database: str | Path, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a library in a local folder, which is made where it is not there; the kernel lets go of it when
    the process ends, however it does. patience_s: how long to wait for another writer. On object storage there is no
    such lock: let one process write there.

    Raises DataError where another process holds it, or the folder cannot be written."""
    if "://" in str(database):
        yield
        return
    from fcntl import LOCK_EX, LOCK_NB, flock

    folder = Path(database)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".openblip.lock").open("a")
    except OSError as error:
        raise DataError(f"{shown_name(folder)} cannot be written: {error.strerror or error}: name a folder") from error
    with file:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                flock(file, LOCK_EX | LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise DataError(
                        f"another process is writing {shown_name(folder)}: wait until it is done"
                    ) from error
            time.sleep(_TURN_S)
        yield
