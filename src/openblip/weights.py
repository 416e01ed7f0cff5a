"""Files of tensors: safetensors in float32, float16 or bfloat16, and torch's pickles, which are read as data alone.

Knows numpy, safetensors and, to write a pickle, torch. Does not know which tensors a model has.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.errors import CheckpointError, MissingExtra
from openblip.pickles import StoredTensor, read_pickle

Tensors = dict[str, NDArray[np.float32]]

PICKLES = (".pth", ".pt", ".bin")
_STORED: dict[str, Any] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


class StoredTensors(Mapping[str, NDArray[np.float32]]):
    """Tensors that are read when first asked for, and again after they were let go of."""

    def __init__(self, read: Callable[[], Tensors], source: StoredTensors | None = None) -> None:
        """read: may raise CheckpointError, which then any access does. source: what it reads, let go of with this."""
        self._read, self._source = read, source
        self._held: Tensors | None = None

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.hold()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.hold())

    def __len__(self) -> int:
        return len(self.hold())

    def hold(self) -> Tensors:
        """Read them, if they are not at hand."""
        held = self._held
        if held is None:
            held = self._held = self._read()
        return held

    def release(self) -> None:
        """Let go of their memory."""
        self._held = None
        if self._source is not None:
            self._source.release()


def read_tensors(path: Path) -> Tensors:
    """All tensors of a file in float32. A pickle's may lie under "model", as in the checkpoints of salesforce/BLIP.

    Those stored in float32 by safetensors are a view of the file, which must not be written over meanwhile.
    Raises CheckpointError where the file cannot be read or holds anything but tensors.
    """
    return _read_pickle(path) if path.suffix in PICKLES else _read_safetensors(path)


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], *, bfloat16: bool, written_for: str = "openblip"
) -> None:
    """Write a safetensors file in float32 or bfloat16. written_for: transformers reads files for "pt" alone."""
    from safetensors import TensorSpec, serialize

    arrays = {}  # keeps every buffer alive while safetensors reads it through its address
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape)
        arrays[name] = np.asarray(_to_bfloat16(values) if bfloat16 else values)
    dtype = "bfloat16" if bfloat16 else "float32"
    specs = {
        name: TensorSpec(dtype=dtype, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)
        for name, array in arrays.items()
    }
    # Not serialize_file: it makes the file readable to its owner alone, and a service often runs as another user.
    # Written aside and moved: whoever reads the file that stood here goes on reading that one.
    with TemporaryDirectory(dir=path.parent) as aside:
        part = Path(aside) / path.name
        part.write_bytes(serialize(specs, metadata={"format": written_for}))
        part.replace(path)


def write_pickle(path: Path, groups: Mapping[str, Mapping[str, NDArray[Any]]], *, bfloat16: bool) -> None:
    """Write torch's pickle of tensors by name, in groups as salesforce/BLIP has them ("model"). What two names share is
    written once. Raises MissingExtra where torch is not installed."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra("torch", "torch") from error
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    known: dict[int, Any] = {}

    def tensor(values: NDArray[Any]) -> Any:
        if id(values) not in known:
            known[id(values)] = torch.from_numpy(np.array(values, np.float32)).to(dtype)
        return known[id(values)]

    content = {group: {name: tensor(values) for name, values in named.items()} for group, named in groups.items()}
    with TemporaryDirectory(dir=path.parent) as aside:
        part = Path(aside) / path.name
        try:
            torch.save(content, part)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error).splitlines()[0]) from error
        part.replace(path)


def listed(faults: Sequence[str], shown: int = 12) -> str:
    """Faults in one line, the first few of many."""
    return "; ".join(faults[:shown]) + (f"; and {len(faults) - shown} more" if len(faults) > shown else "")


def digest(path: Path) -> str:
    """A file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass  # what the header says of sizes and places is sound
        content = np.memmap(path, np.uint8, "c")
    except SafetensorError as error:
        raise CheckpointError(f"cannot read {path}: it is damaged ({error}): fetch it again") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    return {
        name: _to_float32(name, entry, content[start:])
        for name, entry in header.items()
        if name != "__metadata__" and not _is_index(name)
    }


def _read_pickle(path: Path) -> Tensors:
    try:
        content = read_pickle(path)
        held = content.get("model", content) if isinstance(content, dict) else content
        if not isinstance(held, dict):
            raise CheckpointError(f"{path} holds a {type(held).__name__}, not tensors by name")
        for name, value in held.items():
            if not isinstance(name, str) or not isinstance(value, StoredTensor):
                raise CheckpointError(f"{path} holds {name}, a {type(value).__name__}, where only tensors should be")
        return {name: value.read() for name, value in held.items() if not _is_index(name)}
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors ({error}), and code could do anything: get the weights as safetensors"
        ) from error
    except (OSError, EOFError, ValueError, AttributeError, TypeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"cannot read {path}: {' '.join(str(error).split())}") from error


def _is_index(name: str) -> bool:
    """Counters and position numbers that torch modules keep among their weights."""
    return name.endswith(("position_ids", "queue_ptr", "ptr_queue", "idx_queue"))


def _to_float32(name: str, entry: Mapping[str, Any], content: NDArray[np.uint8]) -> NDArray[np.float32]:
    """entry: of the header of a safetensors file; content: what stands behind that header."""
    kind, shape = entry["dtype"], entry["shape"]
    if kind not in _STORED:
        raise CheckpointError(f"tensor {name} is stored as {kind}: weights must be float32, float16 or bfloat16")
    begin, end = entry["data_offsets"]
    values = content[begin:end].view(_STORED[kind]) if prod(shape) else np.zeros(0, _STORED[kind])
    if kind == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    if not values.flags.aligned:
        values = values.copy()
    return np.asarray(values.astype(np.float32, copy=False).reshape(shape))


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
