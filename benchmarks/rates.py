"""What a machine can do: matrix products a second at each precision, and bytes read a second. The measures of a floor.

Runs in a process of its own, held to an instruction set as the contenders are: `python -m benchmarks.rates THREADS
WIDTH MLP_WIDTH TOKENS`. The best of all repetitions counts: a floor is what the machine can do at its best.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.isa import environment
from openblip.config import VisionConfig

_LAYERS = 4
_REPEATS = 12
_GROUP, _AS_THEY_COME = 128, "int8 as they come"
_READ_BYTES = 1 << 29  # far beyond any cache


def measure(isa: str, threads: int, vision: VisionConfig) -> dict[str, float]:
    """Operations a second by precision, and bytes a second under "read"; a precision that the processor lacks is not
    there."""
    sizes = (threads, vision.width, vision.mlp_width, vision.tokens)
    command = [sys.executable, "-m", "benchmarks.rates", *map(str, sizes)]
    output = subprocess.run(command, env=environment(isa, threads), check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def _products_per_s(precision: str, threads: int, shapes: list[tuple[int, int]], rows: int) -> float:
    """The products of some encoder layers, [rows, inputs] by [inputs, outputs] each. "int8": rounded to a range that is
    known; "int8 as they come": to the range of each group."""
    import openvino as ov

    from openblip.engines.openvino.processor import has_bfloat16, rounds_activations

    graph, operations = _products(precision, shapes, rows)
    properties = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" or not has_bfloat16() else "bf16",
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if precision == _AS_THEY_COME and rounds_activations() else 0,
    }  # fmt: skip
    request = ov.Core().compile_model(graph, "CPU", properties).create_infer_request()
    generator = np.random.default_rng(0)
    for index, inputs in enumerate(graph.inputs):
        values = generator.standard_normal(inputs.shape, dtype=np.float32)
        request.set_input_tensor(index, ov.Tensor(values))
    return operations / _best_s(request.infer)


def _products(precision: str, shapes: list[tuple[int, int]], rows: int) -> tuple[Any, float]:
    import openvino as ov
    from openvino import opset13 as opset

    generator, results, operations = np.random.default_rng(0), [], 0.0
    widths = sorted({inputs for inputs, _ in shapes})
    parameters = {width: opset.parameter([1, rows, width], np.float32) for width in widths}
    for inputs, outputs in shapes * _LAYERS:
        weights = generator.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(inputs**0.5)
        left, right = parameters[inputs], opset.constant(weights)
        if precision == "int8":
            low, high = opset.constant(np.float32(-4.0)), opset.constant(np.float32(4.0 - 8.0 / 256))
            left = opset.fake_quantize(left, low, high, low, high, 256)
        if precision in ("int8", _AS_THEY_COME):
            scale = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
            levels = opset.convert(opset.constant(np.rint(weights / scale).astype(np.int8)), "f32")
            right = opset.multiply(levels, opset.constant(scale))
        results.append(opset.matmul(left, right, False, True))
        operations += 2.0 * rows * inputs * outputs
    return ov.Model([opset.result(result) for result in results], list(parameters.values())), operations


def _read_per_s(threads: int) -> float:
    """Sums of an array that fits no cache, a part of it in each thread."""
    parts = np.array_split(np.ones(_READ_BYTES // 4, np.float32), threads)
    with ThreadPoolExecutor(threads) as pool:
        return _READ_BYTES / _best_s(lambda: list(pool.map(np.sum, parts)))


def _best_s(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _main() -> None:
    from openblip.engines.openvino.processor import has_bfloat16

    threads, width, mlp_width, tokens = map(int, sys.argv[1:])
    shapes = [(width, 3 * width), (width, width), (width, mlp_width), (mlp_width, width)]
    precisions = ["f32", *(["bf16"] if has_bfloat16() else []), "int8", _AS_THEY_COME]
    found = {
        precision: max(_products_per_s(precision, threads, shapes, rows) for rows in (tokens, 4 * tokens))
        for precision in precisions
    }
    found["int8"] = max(found["int8"], found.pop(_AS_THEY_COME))
    print(json.dumps({**found, "read": _read_per_s(threads)}))


if __name__ == "__main__":
    _main()
