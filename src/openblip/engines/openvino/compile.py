"""Compiles graphs for this processor: precision, threads, and a cache of compiled graphs on disk. Knows no model.

OpenVINO's own CACHE_DIR is not used: it hashes whole graphs, with names that differ from run to run, so it never
hit, and a hit would still pay for writing and hashing the graph. Our key is the checkpoint's revision. Measured for the
sizes of `mini`, encoder and decoder together: 0.42 processor seconds to write and compile, 0.12 to read back.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
import openvino as ov

from openblip.errors import OptionError

Precision = Literal["f32", "bf16", "int8"]

_CHECKSUM_BYTES = 4
_QUANTIZATION_GROUP = 128
"""Of 32 to 768 the fastest for ViT-B: 0.28 s a photo, 0.35 with 64 or 256, 0.43 with 8-bit weights alone."""
_KEPT_GRAPHS = 24
"""Files in the cache: some six models or settings. What has not been read for longest goes first."""


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
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _QUANTIZATION_GROUP if precision == "int8" else 0,
        }
        self._cache, self._key = cache, key
        self._compiled: dict[str, tuple[ov.CompiledModel, ov.Tensor | None]] = {}
        self._lock = Lock()

    def request(
        self, name: str, write_graph: Callable[[], ov.Model], *, fuse_attention: bool = False
    ) -> ov.InferRequest:
        """A new request on the graph of this name; `write_graph` is called where it is not compiled yet.

        fuse_attention: where there are many queries. For the few of a decoder step the fused kernel takes twice as
        long, and its bf16 variant fails where the lengths are unknown (seen with 2026.4).
        """
        with self._lock:
            if name not in self._compiled:
                properties = {**self._properties, "SNIPPETS_MODE": "ENABLE" if fuse_attention else "DISABLE"}
                path = self._path(name, properties)
                self._compiled[name] = self._read(path, properties) or (
                    self._compile(write_graph(), path, properties),
                    None,
                )
        return self._compiled[name][0].create_infer_request()

    def _compile(self, graph: ov.Model, path: Path | None, properties: dict[str, Any]) -> ov.CompiledModel:
        compiled = self._core.compile_model(graph, "CPU", properties)
        if path is not None:
            blob = io.BytesIO()
            compiled.export_model(blob)
            try:
                _write(path, blob.getbuffer())
            except OSError:
                self._cache = None  # a full or read-only disk costs the next start some time, nothing else
        return compiled

    def _read(self, path: Path | None, properties: dict[str, Any]) -> tuple[ov.CompiledModel, ov.Tensor] | None:
        """A kept graph with the memory that its weights may lie in."""
        if path is None or not path.is_file():
            return None
        try:
            content = np.memmap(path, np.uint8, "r")
            checksum, graph = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
            # OpenVINO does not notice a damaged weight: the model would load, and talk nonsense.
            if checksum.tobytes() != _checksum(graph.data):
                return None
            blob = ov.Tensor(graph)
            compiled = self._core.import_model(blob, "CPU", properties)
        except (OSError, RuntimeError, TypeError, ValueError):
            return None  # damaged, or an OpenVINO that cannot read from memory: compile, and write it anew
        with suppress(OSError):
            path.touch()
        return compiled, blob

    def _path(self, name: str, properties: dict[str, Any]) -> Path | None:
        if self._cache is None:
            return None
        processor = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        parts = (ov.__version__, processor, abilities, sorted(properties.items()), self._key)
        return self._cache / f"{name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.blob"


def _write(path: Path, blob: memoryview) -> None:
    """Write a compiled graph behind its checksum, and drop the files that the cache is to forget."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and moved, so that a process that starts meanwhile never reads half a file.
    with TemporaryDirectory(dir=path.parent) as aside:
        part = Path(aside) / path.name
        with part.open("wb") as file:
            file.write(_checksum(blob))
            file.write(blob)
        part.replace(path)
    newest_first = sorted(path.parent.glob("*.blob"), key=lambda kept: kept.stat().st_mtime, reverse=True)
    for forgotten in newest_first[_KEPT_GRAPHS:]:
        forgotten.unlink(missing_ok=True)


def _checksum(blob: memoryview) -> bytes:
    return zlib.crc32(blob).to_bytes(_CHECKSUM_BYTES, "little")


def has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 natively."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def checked_precision(precision: str | None) -> Precision:
    """The asked precision, or the default of this processor. Raises OptionError."""
    if precision is None:
        return "bf16" if has_bfloat16() else "f32"
    if precision in ("f16", "fp16", "float16"):
        raise OptionError(
            f"precision={precision!r} is refused: OpenVINO's f16 gives wrong numbers on CPUs: use 'bf16', 'int8' or "
            "'f32'"
        )
    if precision == "bf16" and not has_bfloat16():
        raise OptionError(
            "precision='bf16' needs a processor with bfloat16 instructions: use 'f32' or 'int8' on this one"
        )
    for known in get_args(Precision):
        if precision == known:
            return known
    raise OptionError(f"precision={precision!r} is unknown: give one of {', '.join(get_args(Precision))}")


def checked_threads(threads: int | None) -> int:
    """The asked threads, or the physical cores. Raises OptionError."""
    if threads is None:
        return physical_cores()
    if threads < 1:
        raise OptionError(f"threads={threads} is out of range: give 1 or more")
    return threads


def physical_cores() -> int:
    """The cores that this process may use: its affinity, without hyper-threads, within the container's quota."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    siblings = {
        _line_of(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed
    }
    quota, _, period = _line_of("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(1, min(len(siblings), -(-int(quota) // int(period))))
    return len(siblings)


def _line_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
