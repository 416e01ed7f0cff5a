"""Files that torch saved (zip, since torch 1.6) -> arrays, without torch and without running what is in them.

The pickle in such a file may name a handful of harmless things, listed below; anything else is refused before it is
called. Knows numpy only; does not know which tensors a model has.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BFLOAT16 = "bfloat16"  # numpy has none
_MAX_REPEATED = 2**24  # numbers of a tensor that is larger than its storage: a small file must not fill the memory
_STORAGES: dict[str, str] = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of numbers in the archive, unread."""

    archive: zipfile.ZipFile
    entry: str
    kind: str

    def read(self) -> NDArray[Any]:
        try:
            data = self.archive.read(self.entry)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{self.entry} in it is broken: {error}") from error
        if self.kind == _BFLOAT16:
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        return np.frombuffer(data, self.kind)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the archive, unread: most of a checkpoint may be an optimiser's state that nobody asks for."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> NDArray[np.float32]:
        """Its values in float32. Raises UnpicklingError where they would lie outside of the storage."""
        values = self.storage.read()
        steps = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        if min((self.offset, *self.shape, *self.strides)) < 0 or (
            all(self.shape) and self.offset + sum(steps) >= len(values)
        ):
            raise pickle.UnpicklingError("a tensor reaches beyond its storage")
        if prod(self.shape) > max(len(values), _MAX_REPEATED):
            raise pickle.UnpicklingError(f"a few numbers repeated into a tensor {list(self.shape)}")
        strides = [stride * values.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides)
        return np.array(view, dtype=np.float32)


def read_pickle(path: Path) -> Any:
    """What was saved, its tensors as StoredTensor. Raises UnpicklingError where it names anything but tensors and plain
    data, ValueError where the file is not of this kind."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not a zip file, as torch has saved since 1.6: load and save it once with torch")
    try:
        return _read(zipfile.ZipFile(path))
    except (AttributeError, IndexError, KeyError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"its zip file is broken: {error}") from error


def _read(archive: zipfile.ZipFile) -> Any:
    """archive: stays open for the tensors that are read later."""
    entries = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(entries) != 1:
        raise ValueError("it is a zip file, but not one of torch")
    folder = entries[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise ValueError("it was saved on a big-endian machine")
    _check_stored(archive, entries[0])
    with archive.open(entries[0]) as stream:
        return _Unpickler(stream, archive, folder).load()


def _check_stored(archive: zipfile.ZipFile, entry: str) -> None:
    """Raise UnpicklingError on a compressed entry: torch has none, and a small file could fill the memory."""
    if archive.getinfo(entry).compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{entry} in it is compressed, as torch never does")


class _Unpickler(pickle.Unpickler):
    """Knows by name what may be built, and nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name."""
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) in allowed:
            return allowed[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, identifier: Any) -> _Storage:
        """A storage: ("storage", its kind, its entry, the device it was on, how many numbers)."""
        try:
            tag, kind, key, _, _ = identifier
        except (TypeError, ValueError):
            tag = kind = key = None
        if tag != "storage" or kind not in _STORAGES.values() or not isinstance(key, str):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        entry = f"{self._folder}data/{key}"
        if entry not in self._archive.NameToInfo:
            raise pickle.UnpicklingError(f"the storage {key} is missing")
        _check_stored(self._archive, entry)
        return _Storage(self._archive, entry, kind)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object
) -> StoredTensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return StoredTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(tensor: StoredTensor, *_: object) -> StoredTensor:
    return tensor
