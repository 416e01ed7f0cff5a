"""What every contender is asked, and the inputs it is asked with. Knows no contender and no framework.

All get the same pixels and token ids and give back arrays, so that what they computed can be held against one another.
Lengths are fixed, as a contender that stops early would seem fast: a caption is 20 tokens, [DEC] among them, an answer
10; questions have 8 tokens and texts to be matched 12, [ENC] and [SEP] among them. Nothing is padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["caption", "answer", "match"]
"""Which checkpoint a task needs: one of each published kind."""
Way = Literal["batch", "calls", "repeated", "shared"]
"""How several texts about one picture are asked. "calls": a call a text, as users of transformers do. "repeated": one
call, the picture repeated for each text. "shared": the picture encoded once, then all texts at once. "batch": there is
nothing to choose, pictures go in together."""

CAPTION_LENGTH, ANSWER_LENGTH = 20, 10
QUESTION_LENGTH, TEXT_LENGTH = 8, 12
SEP, FIRST_WORD, DEC, ENC = 102, 1000, 30522, 30523


@dataclass(frozen=True)
class Task:
    """One thing to measure. does: what is asked; pictures: how many at once; texts: about the one picture."""

    name: str
    kind: Kind
    does: Literal["encode", "caption", "answer", "match"]
    title: str
    pictures: int = 1
    beams: int = 1
    texts: int = 0


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("encode_1", "caption", "encode", "image encoder, 1 photo"),
        Task("encode_8", "caption", "encode", "image encoder, 8 photos", pictures=8),
        Task("greedy_1", "caption", "caption", "greedy caption, 1 photo"),
        Task("greedy_8", "caption", "caption", "greedy captions, 8 photos", pictures=8),
        Task("beam3_1", "caption", "caption", "beam-3 caption, 1 photo", beams=3),
        Task("beam3_8", "caption", "caption", "beam-3 captions, 8 photos", pictures=8, beams=3),
        Task("questions_1", "answer", "answer", "1 question, 1 photo", texts=1),
        Task("questions_8", "answer", "answer", "8 questions, 1 photo", texts=8),
        Task("match_64", "match", "match", "64 texts, 1 photo", texts=64),
    )
}
FIRST: dict[Kind, Task] = {
    "caption": TASKS["greedy_1"],
    "answer": TASKS["questions_1"],
    "match": Task("match_1", "match", "match", "1 text, 1 photo", texts=1),
}
"""What a contender is asked before it counts as loaded: lazy ones would seem quick to load otherwise."""
FOLDERS: dict[Kind, str] = {"caption": "cap", "answer": "vqa", "match": "itm"}
"""Where the checkpoint of each kind lies in the folder of weights."""


@dataclass(frozen=True)
class Inputs:
    """pixels: [pictures, 3, size, size], as a normalised photo's; tokens: [texts, length], starting with [ENC]."""

    pixels: NDArray[np.float32]
    tokens: NDArray[np.int64]


def inputs_of(task: Task, image_size: int) -> Inputs:
    """The inputs of a task: the same for every contender and run. Pictures are coarse, so that they differ as photos
    do, with some noise on top."""
    generator = np.random.default_rng(0)
    grid = -(-image_size // 16)
    coarse = generator.standard_normal((8, 3, grid, grid), dtype=np.float32)
    large = coarse.repeat(16, axis=2).repeat(16, axis=3)[:, :, :image_size, :image_size]
    noise = generator.standard_normal(large.shape, dtype=np.float32)
    pixels = np.ascontiguousarray((large + np.float32(0.1) * noise)[: task.pictures])
    length = QUESTION_LENGTH if task.does == "answer" else TEXT_LENGTH
    tokens = np.random.default_rng(1).integers(FIRST_WORD, DEC, size=(64, length), dtype=np.int64)
    tokens[:, 0], tokens[:, -1] = ENC, SEP
    return Inputs(pixels, tokens[: task.texts])


def agreement(task: Task, found: NDArray[Any], expected: NDArray[Any]) -> dict[str, float]:
    """How a result differs from the reference: the share of generated texts that are the same, the greatest difference
    of a match probability, or the relative error (root mean square) of image states."""
    if found.shape != expected.shape:
        return {"shape_differs": 1.0}
    if task.does in ("caption", "answer"):
        return {"same_texts": float(np.mean([np.array_equal(*pair) for pair in zip(found, expected, strict=True)]))}
    if task.does == "match":
        difference = np.abs(_probability(found) - _probability(expected))
        return {"largest_probability_difference": float(difference.max())}
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean((expected - expected.mean()) ** 2))
    return {"relative_error": float(error)}


def _probability(logits: NDArray[Any]) -> NDArray[Any]:
    """logits: [rows, 2]. Of the second, [rows]."""
    return np.asarray(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])))
