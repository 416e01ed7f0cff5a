"""Embeddings of photos and texts -> one file of numpy arrays.

Knows how they are laid out: sources and texts as strings [n], image_vectors and text_vectors [n, projection], model a
string. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from openblip.bulk.sidecars import whole_file
from openblip.types import Embedding

Vector = tuple[Literal["source", "text"], str, Embedding]
"""What was embedded, and its embedding."""


def write_vectors(path: Path, vectors: Iterable[Vector]) -> None:
    """Write a .npz, whole or not at all. Raises InputError where it cannot be written, before a vector is asked for."""
    import numpy as np

    with whole_file(path) as part, part.open("wb") as stream:
        names: dict[str, list[str]] = {"source": [], "text": []}
        rows: dict[str, list[np.ndarray[tuple[int], np.dtype[np.float32]]]] = {"source": [], "text": []}
        model, width = "", 0
        for kind, name, embedding in vectors:
            names[kind].append(name)
            rows[kind].append(np.array(embedding.vector, np.float32))
            model, width = embedding.model, len(embedding.vector)
        np.savez(
            stream,
            sources=np.array(names["source"], np.str_),
            image_vectors=np.array(rows["source"], np.float32).reshape(len(rows["source"]), width),
            texts=np.array(names["text"], np.str_),
            text_vectors=np.array(rows["text"], np.float32).reshape(len(rows["text"]), width),
            model=np.array(model),
        )
