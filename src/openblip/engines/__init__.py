"""The runtimes behind the Engine protocol, by name. Nothing heavy is imported before a name is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openblip.config import ModelConfig, is_large
from openblip.engine import Engine
from openblip.errors import MissingExtra, OptionError

ENGINES = ("openvino", "torch")


def load_engine(
    name: str,
    config: ModelConfig,
    tensors: Mapping[str, NDArray[np.float32]],
    *,
    precision: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    lanes: int = 1,
    cache_dir: Path | None = None,
    revision: str | None = None,
) -> Engine:
    """An engine for the tensors of `config.tensor_shapes`.

    precision: "f32", "bf16" or (openvino) "int8"; default: bf16 where the processor has it, with torch only on CUDA.
    device: "cpu", or (torch) "cuda" and its like; default: CUDA where torch sees it, else the CPU.
    threads: at least 1; default: the physical cores (openvino) or torch's own setting.
    lanes: calls to be done at the same time, see `engines.lanes`; a large model, and torch, do one.
    cache_dir: where openvino keeps compiled graphs for the next start, told apart by the checkpoint's `revision`.
    """
    if name == "openvino":
        if device not in (None, "cpu"):
            raise OptionError(f"device={device!r} is not for the openvino engine: give 'cpu', or engine 'torch'")
        from openblip.engines.lanes import Lanes
        from openblip.engines.openvino.engine import OpenVinoEngine

        def load(threads: int | None) -> OpenVinoEngine:
            return OpenVinoEngine(config, tensors, precision, threads, cache_dir, revision)

        if lanes < 1:
            raise OptionError(f"lanes={lanes} is out of range: give 1 or more")
        wide = load(threads)
        lanes = 1 if is_large(config) else min(lanes, wide.threads)
        if lanes == 1:
            return wide
        return Lanes(wide, [load(wide.threads // lanes) for _ in range(lanes)])
    if name == "torch":
        if find_spec("torch") is None:
            raise MissingExtra("torch", "torch")
        from openblip.engines.torch.engine import TorchEngine

        return TorchEngine(config, tensors, device, precision, threads)
    raise OptionError(f"engine={name!r} is unknown: give one of {', '.join(ENGINES)}")
