"""Index runs that are killed, over photos and over a catalogue: the next one completes them, and nothing is there
twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import COMMAND, start, with_model
from noisy import tiny_checkpoint
from openblip.errors import DataError
from openblip.library import Library
from shard_files import photo
from shop import products, write_csv


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


def command(folder: Path, database: Path, model: str) -> list[str]:
    arguments = ["index", str(folder), "--db", str(database), "--model", model, "--precision", "f32", "--threads", "1"]
    return [*COMMAND, *arguments, "--batch-size", "16"]


def rows(database: Path) -> int:
    """In the library now, 0 where there is none yet."""
    try:
        return len(Library.open(database))
    except DataError:
        return 0


def kill_when(process: subprocess.Popen[bytes], database: Path, wanted: int) -> bool:
    """Kill it once so many rows are there. False where it ended before."""
    while process.poll() is None and rows(database) < wanted:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def places(database: Path) -> set[str]:
    """None may be there twice."""
    found = Library.open(database).list(limit=10_000)
    names = {record.name for record in found}
    assert len(names) == len(found)
    return names


def complete(database: Path, folder: Path) -> None:
    found = places(database)
    assert found == {str(path) for path in folder.rglob("*.jpg")}


def many(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}.jpg").write_bytes(photo(number))
    return folder


def test_killed_once_it_completes_without_duplicates(model: str, tmp_path: Path) -> None:
    folder, database = many(tmp_path / "album", 600), tmp_path / "photos.lance"
    process = subprocess.Popen(command(folder, database, model), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert kill_when(process, database, 50), "it ended before it was killed: add photos"
    there = rows(database)
    assert 50 <= there < 600
    done = subprocess.run(command(folder, database, model), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{there:,} unchanged" in done.stdout
    assert f"{600 - there:,} encoded" in done.stdout
    complete(database, folder)


@pytest.mark.slow
def test_killed_ten_times_it_completes_without_duplicates(model: str, tmp_path: Path) -> None:
    """Ten kills spread over the whole run, some of them while nothing and some while a batch is being written."""
    folder, database, draw = many(tmp_path / "album", 1500), tmp_path / "photos.lance", random.Random(20220128)
    for kill in range(10):
        process = subprocess.Popen(
            command(folder, database, model), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        wanted = min(1400, rows(database) + draw.randint(1, 200)) if kill else 1
        assert kill_when(process, database, wanted), "it ended before it was killed ten times: add photos"
        there = places(database)
        assert len(there) < 1500
    done = subprocess.run(command(folder, database, model), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    complete(database, folder)


def test_killed_over_a_catalogue_it_completes(model: str, tmp_path: Path) -> None:
    """Killed once some batches are written: the next run does the others, and no item is there twice."""
    (tmp_path / "pictures").mkdir()
    generator, things = np.random.default_rng(0), []
    for number in range(160):
        patches = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((40, 32)).save(tmp_path / "pictures" / f"{number}.png")
        things.append({"id": str(number), "title": f"thing {number}", "picture": f"pictures/{number}.png"})
    table, database = write_csv(tmp_path / "c.csv", things), tmp_path / "shop.lance"
    command = ["index", table, "--db", str(database), "--batch-size", "4", *with_model(model)]
    process = subprocess.Popen([*COMMAND, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert kill_when(process, database, 8), "it ended before it was killed: add items"
    there = rows(database)
    assert 8 <= there < 160
    done = start(command, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert f"{160 - there} added, {there} unchanged" in done.stdout
    assert len(products(Library.open(database))) == 160
