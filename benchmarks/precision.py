"""What bf16 and int8 cost in quality: figures of `mini` on real photos, and how far a published size's numbers move.

For each precision of the OpenVINO engine, all against f32 in one run: CIDEr-D and recall at 1 of `mini` on a shard of
photos with captions, how many of its captions are the same text; and, for a random model of ViT-B/16 at 384 px, the
relative error of the image states and of the next-word logits behind a fixed text.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.tasks import DEC, FIRST_WORD, TASKS, inputs_of
from openblip import Blip
from openblip.bulk.shards import find_shards, read_shards
from openblip.checkpoint import load_checkpoint
from openblip.engines import load_engine
from openblip.evaluate import evaluate_captions, evaluate_retrieval
from openblip.search.logits import rows_of

PRECISIONS = ("f32", "bf16", "int8")
CHECKOUT = Path(__file__).resolve().parent.parent
TEXT_LENGTH = 12


@dataclass(frozen=True)
class Outputs:
    """Of the random model: states [pictures, tokens, width], logits [pictures, TEXT_LENGTH, vocabulary]."""

    states: NDArray[np.float32]
    logits: NDArray[np.float32]


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="What bf16 and int8 cost in quality.")
    parser.add_argument("--data", nargs="+", required=True, help="WebDataset shards of photos with captions")
    parser.add_argument("--limit", type=int, help="only the first so many photos")
    parser.add_argument("--weights", type=Path, help="folder of a captioning checkpoint; default: a random one is made")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "benchmarks" / "results" / "precision.json")
    arguments = parser.parse_args()
    rows = _of_mini(arguments.data, arguments.limit)
    with tempfile.TemporaryDirectory() as made:
        for row, found in zip(rows, _of_base(arguments.weights or _random(Path(made))), strict=True):
            row.update(found)
    result = {"machine": machine(0.0, ("openblip", "openvino", "numpy")), "precisions": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(rows))
    return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, a column a precision."""
    lines = {
        "CIDEr-D of mini, 3 beams": ("cider", "{:.3f}"),
        "R@1 of mini, text to image, ITC": ("text_to_image_r1", "{:.3f}"),
        "R@1 of mini, image to text, ITC": ("image_to_text_r1", "{:.3f}"),
        "captions of mini that are those of f32": ("same_captions", "{:.1%}"),
        "error of image states, ViT-B/16 at 384 px": ("states_error", "{:.2%}"),
        "error of logits there": ("logits_error", "{:.2%}"),
        "next words there that are those of f32": ("same_words", "{:.1%}"),
    }
    header = ["", *(row["precision"] for row in rows)]
    body = [[title, *(form.format(row[key]) for row in rows)] for title, (key, form) in lines.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *body))


def _of_mini(data: Sequence[str], limit: int | None) -> list[dict[str, Any]]:
    shards = [shard for source in data for shard in find_shards(source)]
    samples = list(islice(read_shards(shards), limit))
    rows: list[dict[str, Any]] = []
    expected: Sequence[str] = ()
    for precision in PRECISIONS:
        blip = Blip.load("mini", precision=precision)
        scores = evaluate_captions(blip, samples).scores
        recalls = evaluate_retrieval(blip, samples, rerank=0).itc
        expected = expected or scores.captions
        rows.append(
            {
                "precision": precision,
                "photos": len(samples),
                "cider": scores.cider,
                "text_to_image_r1": recalls.text_to_image_r1,
                "image_to_text_r1": recalls.image_to_text_r1,
                "same_captions": float(np.mean(np.array(scores.captions) == np.array(expected))),
            }
        )
    return rows


def _of_base(folder: Path) -> list[dict[str, float]]:
    """Errors are root mean squares, relative to the spread of what f32 gives."""
    outputs = [_outputs(folder, precision) for precision in PRECISIONS]
    exact = outputs[0]
    return [
        {
            "states_error": _relative_error(found.states, exact.states),
            "logits_error": _relative_error(found.logits, exact.logits),
            "same_words": float((found.logits.argmax(axis=-1) == exact.logits.argmax(axis=-1)).mean()),
        }
        for found in outputs
    ]


def _outputs(folder: Path, precision: str) -> Outputs:
    """Every picture is given the same text, word by word, whatever the model would say."""
    checkpoint = load_checkpoint(folder)
    engine = load_engine("openvino", checkpoint.config, checkpoint.tensors, precision=precision)
    pixels = inputs_of(TASKS["beam3_8"], checkpoint.config.vision.image_size).pixels
    pictures = len(pixels)
    images = engine.encode_images(pixels)
    start = np.full((pictures, 1), DEC, np.int64)
    decode, first = engine.decode(images, start, np.ones(pictures, np.int64), 1, TEXT_LENGTH)
    words = np.random.default_rng(0).integers(FIRST_WORD, DEC, TEXT_LENGTH - 1)
    row = np.zeros((pictures, 1), np.int64)
    steps = (decode.step(np.full((pictures, 1), word, np.int64), row) for word in words)
    logits = [rows_of(each).to_host().copy() for each in (first, *steps)]
    states: Any = images
    return Outputs(np.array(states.states), np.stack(logits, axis=1))


def _relative_error(found: NDArray[np.float32], exact: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2)) / exact.std())


def _random(folder: Path) -> Path:
    from benchmarks import random_blip

    random_blip.save(random_blip.random_blip("BlipForConditionalGeneration"), folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
