"""Which form a source has, and all its pictures.

What makes a source useless as a whole (no such file, no such column, no JSON) is a DataError at once that names the
file and the line. What is wrong with single entries (a missing picture, an empty caption) is gathered, so that all of
it can be told at once.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openblip.datasets.collector import Collector, Wanted
from openblip.datasets.columns import Columns
from openblip.datasets.examples import Picture
from openblip.errors import DataError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""What says more about the pictures of a folder than files beside them, as Hugging Face's ImageFolder has it."""

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})


@dataclass(frozen=True)
class Found:
    """What the sources hold. faults: a line for every entry that cannot be used, and why."""

    pictures: list[Picture]
    faults: list[str]


def read_pictures(
    sources: Sequence[str],
    wanted: Wanted,
    images: str = "",
    columns: Columns = Columns(),  # noqa: B008 (it is frozen)
) -> Found:
    """All pictures of the sources with what is wanted of them: "captions" or "questions".

    sources: WebDataset shards (a .tar, a glob or a range of them, a folder of them), a folder of pictures with a .txt
    beside each, or with a metadata.jsonl, .csv or .parquet; a .csv, .tsv, .jsonl or .parquet of paths; a COCO .json of
    captions, or those of VQA v2 (questions and annotations, two sources). images: the folder that paths in tables and
    JSON start from; empty: that of the file. columns: what the columns of tables are called.

    Raises DataError.
    """
    if not sources:
        raise DataError("there is no data: name shards, a folder, a table or a COCO file")
    collector = Collector(wanted, Path(images) if images else None, columns)
    documents: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.suffix.lower() == ".json" and path.is_file():
            documents.append(path)
        else:
            _read(source, path, collector)
    if documents:
        from openblip.datasets.coco import read_documents

        read_documents(documents, collector)
    pictures = collector.pictures()
    if not pictures and not collector.faults:
        raise DataError(f"{', '.join(sources)} hold no pictures with {wanted}: check what they name")
    return Found(pictures, collector.faults)


def is_shards(source: str) -> bool:
    """Whether `read_pictures` takes it for WebDataset shards: by its name, and in a folder by what it holds."""
    path = Path(source)
    if path.is_dir():
        return any(path.glob("*.tar"))
    return path.suffix.lower() not in TABLES | {".json"}


def _read(source: str, path: Path, collector: Collector) -> None:
    if path.is_dir() and not is_shards(source):
        table = next((path / name for name in METADATA if (path / name).is_file()), None)
        if table is None:
            from openblip.datasets.folders import read_folder

            read_folder(path, collector)
            return
        path = table
    if path.suffix.lower() in TABLES:
        from openblip.datasets.tables import read_table

        if not path.is_file():
            raise DataError(f"there is no table {path}: check the path")
        read_table(path, collector)
        return
    if path.suffix.lower() == ".json":
        raise DataError(f"there is no file {path}: check the path")
    if not path.exists() and path.suffix != ".tar" and not glob.has_magic(source) and ".." not in source:
        raise DataError(
            f"there is no {source}: give shards (.tar), a folder, a .csv, .tsv, .jsonl, .parquet or a COCO .json"
        )
    from openblip.datasets.folders import read_tars

    read_tars(source, collector)
