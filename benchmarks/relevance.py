"""What it costs to see where matching looks: milliseconds a call of `Engine.relevance` beside `match`, and how far the
maps of the lower precisions are from those of float32.

One text on one photo, and ten photos with a text each, for every precision of the OpenVINO engine, in one run; calls of
both kinds take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.checkpoint import Checkpoint, load_checkpoint
from openblip.engine import Engine, Relevance
from openblip.engines import load_engine
from openblip.errors import OptionError
from openblip.hub import find_model
from openblip.image import load_image, preprocess_batch
from openblip.text import Tokenizer

PRECISIONS = ("f32", "bf16", "int8")
PHOTOS = 10
CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Calls:
    """Some photos with a text each, to be matched or looked into."""

    match: Callable[[], Any]
    relevance: Callable[[], Relevance]


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="What it costs to see where matching looks.")
    parser.add_argument("--model", default="mini", help="a model's name or folder")
    parser.add_argument("--layer", type=int, default=-2, help="of the text transformer (default: the last but one)")
    parser.add_argument("--text", default="a dog runs on the grass")
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(find_model(arguments.model).path)
    print(f"load before: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print("| precision | rows | match, ms | relevance, ms | maps off by | correlation |\n|---|---|---|---|---|---|")
    exact: dict[int, Relevance] = {}
    for precision in PRECISIONS:
        try:
            engine = load_engine("openvino", checkpoint.config, checkpoint.tensors, precision=precision)
        except OptionError as error:  # bf16 where the processor has none
            print(error, file=sys.stderr)
            continue
        for rows in (1, PHOTOS):
            calls = _calls(engine, checkpoint, rows, arguments.text, arguments.layer)
            match_ms, relevance_ms = _medians(calls, arguments.runs)
            found = calls.relevance()
            apart, correlation = _distance(found, exact.setdefault(rows, found))
            print(f"| {precision} | {rows} | {match_ms:.1f} | {relevance_ms:.1f} | {apart:.1%} | {correlation:.4f} |")
    return 0


def _calls(engine: Engine, checkpoint: Checkpoint, rows: int, text: str, layer: int) -> Calls:
    photos = sorted((CHECKOUT / "samples").glob("*.jpg"))
    sources = [load_image(photos[index % len(photos)]) for index in range(rows)]
    images = engine.encode_images(preprocess_batch(sources, checkpoint.config.vision))
    texts = Tokenizer.from_vocabulary(checkpoint.vocabulary).encode_grounded([text] * rows, 35)
    picture = np.arange(rows)
    return Calls(
        lambda: engine.match(images, picture, texts.tokens, texts.lengths),
        lambda: engine.relevance(images, picture, texts.tokens, texts.lengths, layer),
    )


def _medians(calls: Calls, runs: int) -> tuple[float, float]:
    """Milliseconds of `match` and of `relevance`, the first two calls of each left out."""
    times: list[tuple[float, float]] = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        calls.match()
        between = time.perf_counter()
        calls.relevance()
        times.append((between - start, time.perf_counter() - between))
    match_s, relevance_s = np.median(times[2:], axis=0)
    return 1e3 * float(match_s), 1e3 * float(relevance_s)


def _distance(found: Relevance, exact: Relevance) -> tuple[float, float]:
    """Relative error of the cam, and the smallest correlation of a picture's map: the mean over heads and tokens."""
    error = float(np.linalg.norm(found.cam - exact.cam) / np.linalg.norm(exact.cam))
    pairs = zip(_maps(found), _maps(exact), strict=True)
    return error, min(float(np.corrcoef(one, other)[0, 1]) for one, other in pairs)


def _maps(relevance: Relevance) -> NDArray[np.float32]:
    """[rows, image tokens without CLS]"""
    return relevance.cam.mean(axis=(1, 2))[:, 1:]


if __name__ == "__main__":
    raise SystemExit(main())
