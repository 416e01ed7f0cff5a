"""Rows of tables: CSV, TSV, JSON lines and Parquet, each as a mapping from column to cell. Does not know what the
columns mean."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openblip.errors import DataError, MissingExtra

Rows = Iterator[tuple[str, Mapping[str, Any]]]
"""Of each row where it stands, in words, and its cells by column."""
RowsOrFaults = Iterator[tuple[str, Mapping[str, Any] | DataError]]
"""The same; in a row's place, why it is none."""

EXAMPLE = '{"image": "dog.jpg", "caption": "a dog"}'


def read_rows(table: Path, example: str = EXAMPLE) -> Rows:
    """The rows of a .csv or .tsv with a header, of a .parquet, and of any other file as JSON lines.

    example: a line of JSON as it should be, for the message about one that is not. Raises DataError that names file and
    line, also while reading.
    """
    for where, row in iterate_rows(table, example):
        if isinstance(row, DataError):
            raise row
        yield where, row


def iterate_rows(table: Path, example: str = EXAMPLE) -> RowsOrFaults:
    """The same; a row that is none comes out as its error, and the rest follows. Raises DataError where the table
    itself cannot be read, and MissingExtra."""
    suffix = table.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(table)
    return _parquet(table) if suffix == ".parquet" else _json_lines(table, example)


def _csv(table: Path) -> RowsOrFaults:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if table.suffix.lower() == ".tsv" else ",")
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                if None in row or None in row.values():
                    columns = len(reader.fieldnames or ())
                    fault = f"{where} has not the {columns} cells of the first line: quote cells with commas"
                    yield where, DataError(fault)
                else:
                    yield where, row
    except OSError as error:
        raise DataError(f"cannot read the table {table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the table {table}: {error}: save it as UTF-8") from error


def _json_lines(table: Path, example: str) -> RowsOrFaults:
    try:
        with table.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    where = f"{table}, line {number}"
                    yield where, _json(line, where, example)
    except OSError as error:
        raise DataError(f"cannot read the table {table}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the table {table}: {error}: save it as UTF-8") from error


def _json(line: str, where: str, example: str) -> dict[str, Any] | DataError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return DataError(f"{where} is not JSON: {error}")
    return row if isinstance(row, dict) else DataError(f"{where} is no JSON object: write {example}")


def _parquet(table: Path) -> RowsOrFaults:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    try:
        number = 0
        with pyarrow.parquet.ParquetFile(table) as file:
            for batch in file.iter_batches(64):  # cells may be whole pictures
                for row in batch.to_pylist():
                    number += 1
                    yield f"{table}, row {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read the table {table}: {' '.join(str(error).split())}") from error
