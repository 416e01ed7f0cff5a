"""ONNX Runtime on modules of transformers exported to ONNX, in float32. See `modules` for how they are driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from benchmarks.contenders import Array, Setup
from benchmarks.contenders.modules import PARTS, Driven, parts_of
from benchmarks.tasks import Kind

_NAMES = {
    "vision": ["pixels"],
    "reader": ["tokens", "mask", "states", "states_mask"],
    "decoder": ["tokens", "mask", "states", "states_mask"],
}


def prepare(kind: Kind, folder: Path, setup: Setup) -> None:
    """Export what is not exported yet."""
    if all(_file(setup, kind, part).is_file() for part in PARTS[kind]):
        return
    for part, (module, example) in parts_of(kind, folder, setup).items():
        inputs, outputs, axes = _axes(part, len(example))
        with torch.no_grad():
            torch.onnx.export(
                module, example, _file(setup, kind, part), dynamo=False, opset_version=17, input_names=inputs,
                output_names=outputs, dynamic_axes=axes,
            )  # fmt: skip


def load(kind: Kind, folder: Path, setup: Setup) -> Driven:
    """Open a session for each exported part."""
    torch.set_num_threads(setup.threads)
    return Driven(kind, folder, _Runner(kind, setup))


class _Runner:
    def __init__(self, kind: Kind, setup: Setup) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setup.threads
        self._sessions = {
            part: onnxruntime.InferenceSession(_file(setup, kind, part), options, ["CPUExecutionProvider"])
            for part in PARTS[kind]
        }

    def run(self, part: str, inputs: Sequence[Array]) -> list[Array]:
        session = self._sessions[part]
        names = [*_NAMES[part], *(f"past{index}" for index in range(len(inputs) - len(_NAMES[part])))]
        # An input that the module ignores is not in the file: transformers has dropped the mask of the states.
        wanted = {each.name for each in session.get_inputs()}
        given = {name: array for name, array in zip(names, inputs, strict=True) if name in wanted}
        found: list[Array] = session.run(None, given)
        return found

    def seen(self) -> Mapping[str, str]:
        return {"onnxruntime": onnxruntime.__version__}


def _axes(part: str, inputs: int) -> tuple[list[str], list[str], dict[str, dict[int, str]]]:
    """Names of inputs and outputs, and which of their axes vary."""
    pasts = [f"past{index}" for index in range(inputs - len(_NAMES[part]))]
    presents = [f"present{index}" for index in range(len(pasts))]
    axes: dict[str, dict[int, Any]] = {name: {0: "rows"} for name in (*_NAMES[part], *pasts, *presents, "found")}
    for name, axis in (("tokens", "length"), ("mask", "seen"), ("states", "looked_at"), ("states_mask", "looked_at")):
        if name in axes and not (part == "decoder" and name == "tokens"):
            axes[name][1] = axis
    for name in (*pasts, *presents):
        axes[name][2] = "past" if name.startswith("past") else "grown"
    return [*_NAMES[part], *pasts], ["found", *presents], axes


def _file(setup: Setup, kind: Kind, part: str) -> Path:
    return setup.work / f"onnx-{kind}-{part}.onnx"
