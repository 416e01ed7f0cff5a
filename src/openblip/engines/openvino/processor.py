"""What this process may use of the processor: instructions and cores. Knows no model and no graph."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import openvino as ov

from openblip.errors import OptionError

_TOO_OLD = ("SSE41", "AVX")
_WITHOUT_ROUNDING = ("AVX2", "AVX2_VNNI", "AVX512_CORE")
_WITHOUT_BFLOAT16 = (*_WITHOUT_ROUNDING, "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA. OpenVINO looks past it at the processor itself when it chooses bfloat16 or to round
activations to 8 bits, and then finds no kernel (seen with 2026.4 on a processor with AVX512_CORE_BF16)."""


def instruction_limit() -> str:
    """The set that ONEDNN_MAX_CPU_ISA holds this process to, "" where it holds it to none."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")
    return "" if limit.upper() in ("ALL", "DEFAULT") else limit.upper()


def check_instruction_limit() -> None:
    """Raises OptionError where this process is held to instructions that OpenVINO does not work with."""
    limit = instruction_limit()
    if limit in _TOO_OLD:
        raise OptionError(f"ONEDNN_MAX_CPU_ISA={limit} is too little for OpenVINO: unset it, or give AVX2 or above")


def has_bfloat16() -> bool:
    """Whether this process may multiply in bfloat16 natively."""
    listed = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return listed and instruction_limit() not in _WITHOUT_BFLOAT16


def rounds_activations() -> bool:
    """Whether OpenVINO rounds activations to 8 bits as they come: where the processor has products for them (VNNI), or
    it is not known. Where it does not, it unpacks 8-bit weights in each product."""
    has_products = not _flags() or bool({"avx512_vnni", "avx_vnni"} & _flags())
    return has_products and instruction_limit() not in _WITHOUT_ROUNDING


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


@cache
def _flags() -> frozenset[str]:
    """What an x86 processor can do, as Linux tells; elsewhere nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())


def _line_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
