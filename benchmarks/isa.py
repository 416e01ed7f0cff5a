"""Instruction sets: how a process is held to a lower one, and what its libraries then say they use.

oneDNN (inside OpenVINO and torch), torch's own kernels and MKL each have a variable of their own, read when the library
is loaded: so the environment of a child is set. Knows no contender.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter

ENVIRONMENT: dict[str, dict[str, str]] = {
    "native": {},
    "avx512_vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
FORBIDDEN: dict[str, str] = {
    "native": r"^$",
    "avx512_vnni": r"amx|avx512(_core)?_(bf16|fp16)",
    "avx2": r"avx512|amx",
}
"""What the name of a kernel may not hold, where the library obeys. (gemm:jit:bf16 computes in f32.)"""


def environment(isa: str, threads: int) -> dict[str, str]:
    """The whole environment of a child: its instruction set, and as many threads for everything."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**os.environ, **counts, **ENVIRONMENT[isa], "TOKENIZERS_PARALLELISM": "false"}


def probe(isa: str, threads: int) -> dict[str, str]:
    """What OpenVINO and torch use when they are held to an instruction set, seen in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.isa"]
    surroundings = {**environment(isa, threads), "ONEDNN_VERBOSE": "profile_exec"}
    output = subprocess.run(command, env=surroundings, check=True, capture_output=True, text=True).stdout
    seen: dict[str, str] = json.loads(output.splitlines()[-1])
    kernels = Counter(line.split(",")[6] for line in output.splitlines() if _is_execution(line))
    seen["oneDNN's kernels"] = ", ".join(sorted(kernels)) or "not used"
    return seen


def obeys(isa: str, seen: dict[str, str]) -> dict[str, bool]:
    """Whether each of what was seen keeps to the instruction set."""
    return {name: not re.search(FORBIDDEN[isa], value.lower()) for name, value in seen.items()}


def _is_execution(line: str) -> bool:
    return line.startswith("onednn_verbose") and ",exec,cpu," in line


def _look() -> dict[str, str]:
    """In the child: compile and run something small with both libraries."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as opset

    from openblip.engines.openvino.processor import has_bfloat16

    core = ov.Core()
    inputs = opset.parameter([1, 64, 256], np.float32)
    weights = opset.constant(np.ones((256, 256), np.float32))
    graph = ov.Model([opset.softmax(opset.gelu(opset.matmul(inputs, weights, False, True), "erf"), 2)], [inputs])
    precision = "bf16" if has_bfloat16() else "f32"
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    kernels = {
        node.get_rt_info()["primitiveType"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if "primitiveType" in node.get_rt_info()
    }
    seen = {
        "OpenVINO's kernels": ", ".join(sorted(kernels - {"Input_F32", "unknown_FP32"})),
    }
    try:
        import torch
    except ImportError:
        return seen
    layer = torch.nn.Linear(256, 256, dtype=torch.bfloat16)
    with torch.inference_mode():
        layer(torch.ones(64, 256, dtype=torch.bfloat16))
    return {**seen, "torch's kernels": torch.backends.cpu.get_cpu_capability()}


if __name__ == "__main__":
    print(json.dumps(_look()))
