"""Records -> one file: JSON lines, CSV, TSV, Parquet, numpy arrays or the lines that a terminal shows. Written whole or
not at all. Knows how each form lays out a job's results; knows no model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any

from openblip.bulk.durable import durable_file
from openblip.bulk.jobs import EmbedJob, Job, Record
from openblip.bulk.vectors import Vector, write_vectors
from openblip.errors import MissingExtra, OptionError
from openblip.image import shown_name
from openblip.types import Embedding

_ROWS_A_GROUP = 10_000


def check_format(path: Path, job: Job) -> None:
    """Raise OptionError where the job's results do not fit the form that a file's name asks for, or MissingExtra."""
    if path.suffix == ".npz" and not isinstance(job, EmbedJob):
        raise OptionError(f"{path.name}: .npz is for embeddings: give .jsonl, .csv or .parquet")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise MissingExtra("pyarrow", "parquet")


def write_records(path: Path, job: Job, records: Iterable[Record], as_json: bool) -> None:
    """Write the file in the form that its name asks for: .jsonl, .csv, .tsv, .parquet or .npz; any other gets the lines
    that are printed. Raises InputError where it cannot be written."""
    write = _WRITERS.get(path.suffix.lower())
    if path.suffix.lower() == ".npz":
        write_vectors(path, _vectors(records))
    elif write is not None:
        with durable_file(path) as file:
            write(file, job, records)
    else:
        with durable_file(path) as file:
            for record in records:
                for line in printed(job, record, as_json):
                    file.write(f"{line}\n".encode(errors="surrogateescape"))


def printed(job: Job, record: Record, as_json: bool) -> Iterator[str]:
    """How a terminal shows a record."""
    if as_json or isinstance(job, EmbedJob):
        yield json.dumps(record)
        return
    for line in job.lines(record):
        yield f"{shown_name(record['source'])}: {line}"


def write_errors(path: Path, failures: Iterable[Record]) -> None:
    """Sources with the reason why nothing was found, as JSON lines; no file where there are none."""
    lines = [json.dumps(record).encode() + b"\n" for record in failures]
    if not lines:
        path.unlink(missing_ok=True)  # of an earlier run
        return
    with durable_file(path) as file:
        file.writelines(lines)


def errors_path(output: Path) -> Path:
    """Where the errors of an output go."""
    return output.with_name(f"{output.name}.errors.jsonl")


def _json_lines(file: IO[bytes], job: Job, records: Iterable[Record]) -> None:
    for record in records:
        file.write(json.dumps(record).encode() + b"\n")


def _csv(file: IO[bytes], job: Job, records: Iterable[Record], delimiter: str = ",") -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    writer = csv.DictWriter(text, ["source", *job.columns], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for record in records:
        for row in job.rows(record):
            writer.writerow({name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in row.items()})
    text.detach()


def _tsv(file: IO[bytes], job: Job, records: Iterable[Record]) -> None:
    _csv(file, job, records, delimiter="\t")


def _parquet(file: IO[bytes], job: Job, records: Iterable[Record]) -> None:
    """A row group at a time, so that a run of millions fits."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds: dict[str, Any] = {
        "text": pyarrow.string(), "number": pyarrow.float64(), "vector": pyarrow.list_(pyarrow.float32())
    }  # fmt: skip
    fields = [("source", kinds["text"]), *((column, kinds[kind]) for column, (_, kind) in job.columns.items())]
    schema = pyarrow.schema(fields)
    rows = (_encodable(row) for record in records for row in job.rows(record))
    with ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _ROWS_A_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _encodable(row: Record) -> Record:
    """Names of files are bytes; Parquet's texts are UTF-8."""
    return {
        name: cell.encode(errors="backslashreplace").decode() if isinstance(cell, str) else cell
        for name, cell in row.items()
    }


def _vectors(records: Iterable[Record]) -> Iterator[Vector]:
    for record in records:
        kind: Any = "source" if "source" in record else "text"
        yield kind, record[kind], Embedding(tuple(record["vector"]), record["model"])


_WRITERS: dict[str, Callable[[IO[bytes], Job, Iterable[Record]], None]] = {
    ".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet
}  # fmt: skip
