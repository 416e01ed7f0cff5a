"""The notebooks of the documentation: each runs from top to bottom, and what stands in it came of that.

Run them again with: python tests/test_notebooks.py [NAME]...
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 500_000
QUIET = {"JUPYTER_PLATFORM_DIRS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def executed(path: Path, scratch: Path) -> Any:
    """A copy that has been run, in the folder where it lies. scratch: takes what the kernel keeps of a run."""
    notebook = read(path)
    homes = {name: str(scratch) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    client = NotebookClient(
        notebook,
        timeout=120,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    return client.execute(env={**os.environ, **QUIET, **homes})


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shapes(notebook: Any) -> list[list[tuple[str, tuple[str, ...]]]]:
    """What kinds of output each cell has."""
    return [
        [(output.output_type, tuple(sorted(output.get("data", {})))) for output in cell.outputs]
        for cell in code_cells(notebook)
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_stands_in_it(path: Path, tmp_path: Path) -> None:
    """The kinds of output alone: figures differ from one processor to the next."""
    assert shapes(executed(path, tmp_path)) == shapes(read(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_whole_small_and_of_no_machine(path: Path) -> None:
    notebook, text = read(path), path.read_text(encoding="utf-8")
    nbformat.validate(notebook)
    assert len(text) < MOST_BYTES
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not re.search(r"/(?:home|Users|root|tmp|work|var)/", re.sub(r"base64,[\w+/=]+", "", text))
    assert "<script" not in text


def test_the_notebooks_are_linked() -> None:
    assert NOTEBOOKS
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"(notebooks/{path.name})" not in page] == []


if __name__ == "__main__":
    for path in [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as scratch:
            notebook = executed(path, Path(scratch))
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(notebook, path)
