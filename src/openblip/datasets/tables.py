"""Tables of paths: CSV, TSV, JSON lines and Parquet, a picture and a text a row."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openblip.datasets.collector import Collector
from openblip.errors import DataError, MissingExtra

Rows = Iterator[tuple[str, Mapping[str, Any]]]
"""Of each row where it stands, in words, and its cells by column."""


def read_table(table: Path, collector: Collector) -> None:
    """Every row of a table. Paths start from the table's folder, unless the collector knows another. Rows with the same
    picture are put together.

    Raises DataError on what cannot be read, or a row without the columns that are needed.
    """
    for where, row in read_rows(table):
        image = row[collector.columns.find(list(row), "image", where)]
        if not isinstance(image, str) or not image.strip():
            kind = " (pictures within the table are not read)" if isinstance(image, (dict, bytes)) else ""
            collector.faults.append(f"{where}: {str(image)[:40]!r} is no path of a picture{kind}")
            continue
        collector.add_file(image.strip(), table.parent, where, row)


def read_rows(table: Path, example: str = '{"image": "dog.jpg", "caption": "a dog"}') -> Rows:
    """The rows of a .csv or .tsv with a header, of a .parquet, and of any other file as JSON lines.

    example: a line of JSON as it should be, for the message about one that is not. Raises DataError that names file and
    line, also while reading.
    """
    suffix = table.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(table)
    return _parquet(table) if suffix == ".parquet" else _json_lines(table, example)


def _csv(table: Path) -> Rows:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if table.suffix.lower() == ".tsv" else ",")
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                if None in row or None in row.values():
                    columns = len(reader.fieldnames or ())
                    raise DataError(f"{where} has not the {columns} cells of the first line: quote cells with commas")
                yield where, row
    except OSError as error:
        raise DataError(f"cannot read the table {table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the table {table}: {error}: save it as UTF-8") from error


def _json_lines(table: Path, example: str) -> Rows:
    try:
        with table.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{table}, line {number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{where} is not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise DataError(f"{where} is no JSON object: write {example}")
                yield where, row
    except OSError as error:
        raise DataError(f"cannot read the table {table}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the table {table}: {error}: save it as UTF-8") from error


def _parquet(table: Path) -> Rows:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow", "train") from error
    try:
        number = 0
        with pyarrow.parquet.ParquetFile(table) as file:
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{table}, row {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read the table {table}: {' '.join(str(error).split())}") from error
