"""openblip's OpenVINO engine behind its own doors: engine and search, without strings and pictures of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Array, NotSupported, Setup
from benchmarks.tasks import ANSWER_LENGTH, CAPTION_LENGTH, DEC, Kind, Task, Way
from openblip.checkpoint import open_checkpoint
from openblip.engines import load_engine
from openblip.errors import OptionError
from openblip.search import generate
from openblip.types import GenerateOptions


def prepare(kind: Kind, folder: Path, setup: Setup) -> None:
    """Forget the graphs of an earlier run."""
    rmtree(_kept(kind, setup), ignore_errors=True)


def load(kind: Kind, folder: Path, setup: Setup) -> Openblip:
    """From the kept graphs where there are some, as `Blip.load` does. Raises NotSupported where the processor lacks the
    precision."""
    checkpoint = open_checkpoint(folder)
    try:
        loaded = load_engine(
            "openvino", checkpoint.config, checkpoint.tensors, precision=setup.precision, threads=setup.threads,
            cache_dir=_kept(kind, setup), revision=checkpoint.revision,
        )  # fmt: skip
    except OptionError as error:
        raise NotSupported(str(error)) from error
    return Openblip(loaded)


class Openblip:
    """One engine; see `Contender`. Texts about one picture are always read with its states shared."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def ways(self, task: Task) -> tuple[Way, ...]:
        """The one way there is."""
        return ("shared",) if task.texts else ("batch",)

    def encode(self, pixels: NDArray[np.float32]) -> Array:
        """Image states [pictures, tokens, width]."""
        return np.asarray(self._engine.encode_images(pixels).states)

    def caption(self, pixels: NDArray[np.float32], beams: int) -> Array:
        """Token ids [pictures, CAPTION_LENGTH]."""
        return self._generate(self._engine.encode_images(pixels), len(pixels), CAPTION_LENGTH, beams)

    def answer(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """Token ids [texts, ANSWER_LENGTH]."""
        images = self._engine.encode_images(pixels)
        questions = self._engine.encode_questions(images, np.zeros(len(tokens), np.int64), tokens, _lengths(tokens))
        return self._generate(questions, len(tokens), ANSWER_LENGTH, 1)

    def match(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """ITM logits [texts, 2]."""
        images = self._engine.encode_images(pixels)
        return np.asarray(self._engine.match(images, np.zeros(len(tokens), np.int64), tokens, _lengths(tokens)))

    def seen(self) -> Mapping[str, str]:
        """The precision and threads that the engine chose."""
        return {"precision": self._engine.precision, "threads": str(self._engine.threads)}

    def _generate(self, states: Any, rows: int, length: int, beams: int) -> Array:
        options = GenerateOptions(num_beams=beams, min_length=length, max_length=length)
        start = np.full((rows, 1), DEC, np.int64)
        found = generate(self._engine, states, start, np.ones(rows, np.int64), options)
        return np.array([[DEC, *hypotheses[0].tokens] for hypotheses in found], np.int64)


def _kept(kind: Kind, setup: Setup) -> Path:
    return setup.work / "compiled" / f"{kind}-{setup.precision}"


def _lengths(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.full(len(tokens), tokens.shape[1], np.int64)
