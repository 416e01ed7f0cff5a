"""What the machine is and how busy it was, for the notes below a table. Knows nothing that is measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")


def machine(load_before: float, packages: Sequence[str]) -> dict[str, Any]:
    """Processor, cores, load before the run, and the versions of the packages that are installed."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in information.partition("\n\n")[0].splitlines() if ":" in line)
    entries = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(entries.get("flags", "").split())
    return {
        "cpu": entries.get("model name", platform.processor() or platform.machine()),
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(_memory_gib(), 1),
        "load_before": round(load_before, 2),
        "python": platform.python_version(),
        "versions": {package: number for package in packages if (number := _version(package))},
    }


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
