"""Who is compared, by name. A contender is a module with `load`; nothing of it is imported before it is asked for.

To add one: a module that has `load(kind, folder, setup) -> Contender`, `prepare(kind, folder, setup)` where there is
something to convert beforehand, and its name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks import Kind, Task, Way

Array = NDArray[Any]


class NotSupported(Exception):
    """This contender cannot run, or not on this processor; the message says why, in one line."""


@dataclass(frozen=True)
class Setup:
    """precision: of the contender's name; variant: what else it says; work: a folder to keep conversions in."""

    precision: str
    variant: str
    threads: int
    work: Path


class Contender(Protocol):
    """A loaded checkpoint of one kind, ready to be asked.

    Pixels are [pictures, 3, size, size] in float32 and tokens [texts, length] in int64, whatever is used inside.
    """

    def ways(self, task: Task) -> tuple[Way, ...]:
        """The ways in which it does a task; none where it cannot."""
        ...

    def encode(self, pixels: NDArray[np.float32]) -> Array:
        """Image states [pictures, tokens, width]."""
        ...

    def caption(self, pixels: NDArray[np.float32], beams: int) -> Array:
        """Token ids [pictures, CAPTION_LENGTH], [DEC] included."""
        ...

    def answer(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """Token ids [texts, ANSWER_LENGTH], [DEC] included, found greedily."""
        ...

    def match(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """ITM logits [texts, 2]."""
        ...

    def seen(self) -> Mapping[str, str]:
        """What it says about itself: versions, instruction sets."""
        ...


@dataclass(frozen=True)
class Entry:
    """Where a contender is found. native_only: no way is known to lower its instruction set. prepared: it runs
    what was converted beforehand, or must forget what it kept. keeps: it keeps something for its later starts, so that
    its first start is measured beside them."""

    title: str
    module: str
    precision: str
    variant: str = ""
    native_only: bool = False
    prepared: bool = False
    keeps: bool = False


CONTENDERS: dict[str, Entry] = {
    "transformers-f32": Entry("transformers f32", "huggingface", "f32"),
    "transformers-bf16": Entry("transformers bf16", "huggingface", "bf16"),
    "transformers-sdpa": Entry("transformers f32, SDPA", "huggingface", "f32", "sdpa"),
    "transformers-compile-f32": Entry("transformers f32, compiled", "huggingface", "f32", "compile"),
    "transformers-compile-bf16": Entry("transformers bf16, compiled", "huggingface", "bf16", "compile"),
    "openvino-notebook": Entry("OpenVINO, its BLIP notebook", "openvino_notebook", "default", prepared=True),
    "onnxruntime": Entry("ONNX Runtime", "onnx_runtime", "f32", native_only=True, prepared=True),
    "openblip-f32": Entry("**openblip f32**", "openblip_engine", "f32", prepared=True, keeps=True),
    "openblip-bf16": Entry("**openblip bf16**", "openblip_engine", "bf16", prepared=True, keeps=True),
    "openblip-int8": Entry("**openblip int8**", "openblip_engine", "int8", prepared=True, keeps=True),
}


def load(name: str, kind: Kind, folder: Path, threads: int, work: Path) -> Contender:
    """Load a contender with the checkpoint in `folder`. Raises NotSupported, or whatever it fails with."""
    entry = CONTENDERS[name]
    module = import_module(f"benchmarks.contenders.{entry.module}")
    contender: Contender = module.load(kind, folder, Setup(entry.precision, entry.variant, threads, work))
    return contender


def prepare(name: str, kind: Kind, folder: Path, threads: int, work: Path) -> None:
    """Convert what the contender runs, or drop what it kept; the time is not measured."""
    entry = CONTENDERS[name]
    module = import_module(f"benchmarks.contenders.{entry.module}")
    module.prepare(kind, folder, Setup(entry.precision, entry.variant, threads, work))
