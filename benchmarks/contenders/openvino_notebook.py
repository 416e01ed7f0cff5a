"""OpenVINO as its BLIP notebook uses it: modules of transformers, traced, in the precision that it chooses by itself.

The files hold float32. On a processor with bfloat16 OpenVINO computes in that; held to an instruction set without it,
the same is asked for by hand, as OpenVINO looks at the processor alone. See `modules` for how it is driven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import openvino as ov
import torch

from benchmarks.contenders import Array, Setup
from benchmarks.contenders.modules import PARTS, Driven, parts_of
from benchmarks.tasks import Kind
from openblip.engines.openvino.processor import has_bfloat16


def prepare(kind: Kind, folder: Path, setup: Setup) -> None:
    """Trace and convert what is not converted yet."""
    if all(_file(setup, kind, part).is_file() for part in PARTS[kind]):
        return
    for part, (module, example) in parts_of(kind, folder, setup).items():
        with torch.no_grad():
            traced = torch.jit.trace(module, example, check_trace=False)
            converted = ov.convert_model(traced, example_input=example)
        ov.save_model(converted, _file(setup, kind, part), compress_to_fp16=False)


def load(kind: Kind, folder: Path, setup: Setup) -> Driven:
    """Compile the converted parts."""
    torch.set_num_threads(setup.threads)
    return Driven(kind, folder, _Runner(kind, setup))


class _Runner:
    def __init__(self, kind: Kind, setup: Setup) -> None:
        self._core = ov.Core()
        properties: dict[str, object] = {"INFERENCE_NUM_THREADS": setup.threads}
        if not has_bfloat16():
            properties["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled = {
            part: self._core.compile_model(_file(setup, kind, part), "CPU", properties) for part in PARTS[kind]
        }

    def run(self, part: str, inputs: Sequence[Array]) -> list[Array]:
        return list(self._compiled[part](list(inputs)).values())

    def seen(self) -> Mapping[str, str]:
        precision = self._compiled["vision"].get_property("INFERENCE_PRECISION_HINT")
        return {"openvino": ov.__version__, "precision": str(precision)}


def _file(setup: Setup, kind: Kind, part: str) -> Path:
    return setup.work / f"openvino-{kind}-{part}.xml"
