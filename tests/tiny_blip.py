"""A tiny random model that does every task, behind `Blip`, and pictures for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip import Blip
from openblip.config import TASKS, ModelConfig
from openblip.engines import load_engine
from openblip.text import Tokenizer
from tiny import random_pixels, random_tensors, tiny_config, write_vocabulary

WHOLE: ModelConfig = replace(tiny_config("vit"), tasks=TASKS)


def tiny_blip(engine: str, folder: Path) -> Blip:
    """In float32, called "tiny". folder: takes its vocabulary."""
    tokenizer = Tokenizer.from_vocabulary(write_vocabulary(folder))
    return Blip(load_engine(engine, WHOLE, random_tensors(WHOLE), precision="f32"), tokenizer, "tiny")


def counted_blip(engine: str, folder: Path) -> Blip:
    """The same, with its engine's calls counted; `calls(blip, name)` reads them."""
    plain = tiny_blip(engine, folder)
    counted: Any = Counted(plain.engine)
    return Blip(counted, plain.tokenizer, "tiny")


def calls(blip: Blip, name: str) -> int:
    engine: Any = blip.engine
    return int(engine.calls.get(name, 0))


def picture(seed: int) -> NDArray[np.uint8]:
    """[height, width, 3]."""
    pixels = random_pixels(WHOLE, 1, seed)[0].transpose(1, 2, 0)
    return (pixels * 40 + 128).clip(0, 255).astype(np.uint8)


class Counted:
    """An engine that counts its calls by name, and its decodes' steps."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.config, self.precision, self.lanes = engine.config, engine.precision, engine.lanes
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)

        def counted(*arguments: Any) -> Any:
            self.calls[name] = self.calls.get(name, 0) + 1
            result = method(*arguments)
            if name == "decode":
                return CountedDecode(result[0], self.calls), result[1]
            return result

        return counted


class CountedDecode:
    def __init__(self, decode: Any, calls: dict[str, int]) -> None:
        self._decode, self._calls = decode, calls

    def step(self, *arguments: Any) -> Any:
        self._calls["step"] = self._calls.get("step", 0) + 1
        return self._decode.step(*arguments)

    def keep(self, *arguments: Any) -> None:
        self._decode.keep(*arguments)
