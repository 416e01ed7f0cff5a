"""DAQUAR's shards -> questions. Knows how DAQUAR writes its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from openblip.bulk.shards import read_shards
from openblip.errors import DataError
from openblip.language.words import NUMBER_WORDS
from openblip.train.questions.data_set import Question

HELD_OUT = 10
"""One picture of so many is held out."""


def read_daquar(shards: Iterable[Path]) -> dict[str, list[Question]]:
    """The questions of each picture, of kind "daquar".

    Numbers become words up to twelve, "garbage_bin" becomes "garbage bin"; where an answer lists several things each of
    them is one. Raises DataError on a json without "qa".
    """
    samples = read_shards(shards, captioned=False)
    return {
        sample.key: [_question(entry, sample.key) for entry in _entries(sample.metadata, sample.key)]
        for sample in samples
    }


def held_out(key: str) -> bool:
    """Whether a picture is kept from training: a fixed tenth, by a hash of its key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % HELD_OUT == 0


def _entries(data: dict[str, object], key: str) -> list[object]:
    entries = data.get("qa")
    if not isinstance(entries, list):
        raise DataError(f'{key}.json has no "qa": give {{"qa": [{{"question": ..., "answer": ...}}]}}')
    return entries


def _question(entry: object, key: str) -> Question:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ("question", "answer")):
        raise DataError(f'{key}.json: {entry!r} is no question: give {{"question": ..., "answer": ...}}')
    text = " ".join(entry["question"].lower().replace("_", " ").rstrip(" ?").split()) + "?"
    answers = [_answer(answer) for answer in entry["answer"].split(",")]
    return Question("daquar", text, text, dict.fromkeys(filter(None, answers), 1.0))


def _answer(text: str) -> str:
    words = text.strip().lower().replace("_", " ").split()
    return " ".join(
        NUMBER_WORDS[int(word)] if word.isdigit() and int(word) < len(NUMBER_WORDS) else word for word in words
    )
