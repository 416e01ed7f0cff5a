"""The bytes of pictures that came over HTTP, each a file named by its hash. Knows a folder, no library."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from openblip.errors import DataError
from openblip.image import open_header

_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


class Stored:
    """A folder of pictures. One file a content, whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 (as records have it: without .., links kept)

    def keep(self, data: bytes) -> Path:
        """The file with these bytes, written now if it is not there. Raises ImageError on what is no picture, DataError
        where it cannot be written."""
        kind = str(open_header(data).format)
        digest = hashlib.sha256(data).hexdigest()
        file = self.folder / digest[:2] / f"{digest}{_SUFFIXES.get(kind, f'.{kind.lower()}')}"
        try:
            if not file.exists():
                _write(file, data)
        except OSError as error:
            raise DataError(f"{self.folder} cannot be written: {error.strerror or error}: make room there") from error
        return file

    def forget(self, path: str) -> bool:
        """Delete a file of this folder; one that lies elsewhere is its owner's, and stays."""
        file = Path(path)
        if self.folder not in file.parents or file.is_symlink():
            return False
        file.unlink(missing_ok=True)
        return True


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
