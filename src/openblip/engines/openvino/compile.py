"""Compiles graphs for this processor: precision, threads, and a cache of compiled graphs on disk. Knows no model.

OpenVINO's own CACHE_DIR is not used: it hashes whole graphs, with names that differ from run to run, so it never
hit, and a hit would still pay for writing and hashing the graph. Our key is the checkpoint's revision. Measured for the
sizes of `mini`, encoder and decoder together: 0.42 processor seconds to write and compile, 0.12 to read back.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import shutil
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
import openvino as ov

from openblip.engines.openvino.processor import (
    check_instruction_limit,
    has_bfloat16,
    instruction_limit,
    physical_cores,
    rounds_activations,
)
from openblip.errors import OptionError

Precision = Literal["f32", "bf16", "int8"]

_LEFT_S = 3600
"""Age from which a half-written graph is taken for one that nobody writes any more."""
_CHECKSUM_BYTES, _HEADER_BYTES = 4, 64
_QUANTIZATION_GROUP = 128
"""Of 32 to 768 the fastest for ViT-B: 0.28 s a photo, 0.35 with 64 or 256, 0.43 with 8-bit weights alone."""
_KEPT_GRAPHS, _KEPT_BYTES = 24, 2**33
"""Of the cache: a set of published checkpoints in two precisions, or some six small models. What has not been read for
longest goes first."""


class Compiler:
    """Compiles each graph once a process, when it is first asked for.

    cache: the folder for compiled graphs, or None. key: what the graphs are made of (code, weights, precision).
    """

    def __init__(self, precision: Precision, threads: int, cache: Path | None, key: str) -> None:
        self._core = ov.Core()
        self._properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision != "f32" and has_bfloat16() else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned, a caption of one photo takes a sixth less time. But two processes of a few threads each would be
            # pinned to the same cores while others idle, so this is for those that use them all.
            "ENABLE_CPU_PINNING": threads >= physical_cores(),
            # Activations that meet 8-bit weights are rounded to 8 bits as they come, each group of a row by its own
            # scale: no calibration, twice the speed of bf16, and next to no error more than the weights' own.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": (
                _QUANTIZATION_GROUP if precision == "int8" and rounds_activations() else 0
            ),
        }
        self._cache, self._key = cache, key
        self._compiled: dict[str, _Compiled] = {}
        self._lock = Lock()

    def keeps(self, name: str) -> bool:
        """Whether the graph of this name lies in the cache."""
        path = self._path(name)
        return path is not None and path.is_file()

    def request(self, name: str, write_graph: Callable[[], ov.Model]) -> ov.InferRequest:
        """A new request on the graph of this name; `write_graph` is called where it is not compiled yet."""
        with self._lock:
            for compiled in self._compiled.values():
                compiled.drop_read_pages()
            return self._get(name, write_graph).model.create_infer_request()

    def prepare(self, name: str, write_graph: Callable[[], ov.Model]) -> None:
        """Compile the graph of this name, which nobody runs yet."""
        with self._lock:
            self._get(name, write_graph)

    def _get(self, name: str, write_graph: Callable[[], ov.Model]) -> _Compiled:
        if name not in self._compiled:
            self._compiled[name] = self._read(name) or self._compile(name, write_graph)
        return self._compiled[name]

    def _compile(self, name: str, write_graph: Callable[[], ov.Model]) -> _Compiled:
        compiled = self._core.compile_model(write_graph(), "CPU", self._properties_of(name))
        path = self._path(name)
        if path is None:
            return _Compiled(compiled)
        blob = io.BytesIO()
        compiled.export_model(blob)
        try:
            _write(path, blob.getbuffer())
        except OSError:
            self._cache = None  # a full or read-only disk costs the next start some time, nothing else
            return _Compiled(compiled)
        del blob
        # What was kept lies in the file, which the system may drop from memory and read again.
        return self._read(name) or _Compiled(compiled)

    def _read(self, name: str) -> _Compiled | None:
        """A kept graph."""
        path = self._path(name)
        if path is None or not path.is_file():
            return None
        try:
            # Copy on write: OpenVINO shares only memory that could be written to.
            with path.open("rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            content = np.frombuffer(mapping, np.uint8)
            checksum, blob = content[:_CHECKSUM_BYTES], content[_HEADER_BYTES:]
            # OpenVINO does not notice a damaged weight: the model would load, and talk nonsense.
            if checksum.tobytes() != _checksum(blob.data):
                return None
            model = self._core.import_model(ov.Tensor(blob, shared_memory=True), "CPU", self._properties_of(name))
        except (OSError, RuntimeError, TypeError, ValueError):
            return None  # damaged, or an OpenVINO that cannot read from memory: compile, and write it anew
        with suppress(OSError):
            path.touch()
        return _Compiled(model, mapping)

    def _properties_of(self, name: str) -> dict[str, Any]:
        """Attention is fused where there are many queries. For the few of a decoder step the fused kernel takes twice
        as long, and its bf16 variant fails where the lengths are unknown (seen with 2026.4)."""
        return {**self._properties, "SNIPPETS_MODE": "ENABLE" if name == "image_encoder" else "DISABLE"}

    def _path(self, name: str) -> Path | None:
        if self._cache is None:
            return None
        processor = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        parts = (
            ov.__version__,
            processor,
            abilities,
            instruction_limit(),
            sorted(self._properties_of(name).items()),
            self._key,
        )
        return self._cache / f"{name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.blob"


class _Compiled:
    """A compiled graph, and the file that its weights lie in, if it was kept."""

    def __init__(self, model: ov.CompiledModel, mapping: mmap.mmap | None = None) -> None:
        self.model, self._mapping = model, mapping
        self._drops = 2  # after it was read, and after its first run has packed it
        self.drop_read_pages()

    def drop_read_pages(self) -> None:
        """Give the file's pages back: importing touches them all, and the first run packs weights into memory of its
        own. What is needed again is read again."""
        if self._drops and self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._drops -= 1
            self._mapping.madvise(mmap.MADV_DONTNEED)


def _write(path: Path, blob: memoryview) -> None:
    """Write a compiled graph behind its checksum, and drop the files that the cache is to forget."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and moved, so that a process that starts meanwhile never reads half a file.
    for left in path.parent.glob("*.part"):  # by a process that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_S:
                shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=path.parent, suffix=".part") as aside:
        part = Path(aside) / path.name
        with part.open("wb") as file:
            file.write(_checksum(blob).ljust(_HEADER_BYTES, b"\0"))
            file.write(blob)
        part.replace(path)
    with suppress(OSError):  # another process tidies up too
        newest_first = sorted(path.parent.glob("*.blob"), key=lambda kept: kept.stat().st_mtime, reverse=True)
        sizes = accumulate(kept.stat().st_size for kept in newest_first)
        for place, (kept, size) in enumerate(zip(newest_first, sizes, strict=True)):
            if kept != path and (place >= _KEPT_GRAPHS or size > _KEPT_BYTES):
                kept.unlink(missing_ok=True)


def _checksum(blob: memoryview) -> bytes:
    return zlib.crc32(blob).to_bytes(_CHECKSUM_BYTES, "little")


def checked_precision(precision: str | None) -> Precision:
    """The asked precision, or the default of this processor. Raises OptionError."""
    check_instruction_limit()
    if precision is None:
        return "bf16" if has_bfloat16() else "f32"
    if precision in ("f16", "fp16", "float16"):
        raise OptionError(
            f"precision={precision!r} is refused: OpenVINO's f16 gives wrong numbers on CPUs: use 'bf16', 'int8' or "
            "'f32'"
        )
    if precision == "bf16" and not has_bfloat16():
        limit = instruction_limit()
        here = f"with ONEDNN_MAX_CPU_ISA={limit}" if limit else "on this one"
        raise OptionError(f"precision='bf16' needs a processor with bfloat16 instructions: use 'f32' or 'int8' {here}")
    for known in get_args(Precision):
        if precision == known:
            return known
    raise OptionError(f"precision={precision!r} is unknown: give one of {', '.join(get_args(Precision))}")
