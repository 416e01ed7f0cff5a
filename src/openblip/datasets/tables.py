"""Tables of paths: CSV, TSV, JSON lines and Parquet, a picture and a text a row."""

from __future__ import annotations

from pathlib import Path

from openblip.bulk.rows import read_rows
from openblip.datasets.collector import Collector


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
