"""The index over vectors, on a real table: what it misses, what it does not know yet, when it is built; and the
benchmark of searching, small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import search as benchmark
from openblip.engine import Floats
from openblip.library import neighbours
from openblip.library.records import Facts, ModelStamp, Place, Record
from openblip.library.table import PhotoTable

MODEL = ModelStamp("tiny", "", 64)
COUNT = 3000


def vectors(count: int, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    drawn = generator.normal(size=(count, MODEL.width)).astype(np.float32)
    return benchmark.around(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), count, generator)


def records(rows: Floats, first: int = 0) -> list[Record]:
    return [
        Record(Place(f"/{first + number}.jpg", 1, 0), Facts("0" * 64, 1, 1), "", MODEL, row)
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PhotoTable:
    """With an index, built from 2,000 rows on."""
    made = PhotoTable.create(tmp_path_factory.mktemp("library") / "db", MODEL)
    made.write(records(vectors(COUNT)), fresh=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "ANN_ROWS", 2000)
        made.tidy()
    return made


def indexed(table: PhotoTable) -> list[str]:
    return [index.index_type for index in table._photos.list_indices() if "vector" in index.columns]


def test_the_index_finds_what_comparing_all_finds(table: PhotoTable) -> None:
    assert len(indexed(table)) == 1
    shared = []
    for query in vectors(20, seed=1):
        found, exact = (table.nearest(query, 10, exact=way) for way in (False, True))
        shared.append(len({near.record.id for near in found} & {near.record.id for near in exact}))
        assert [near.score for near in found] == sorted((near.score for near in found), reverse=True)
    assert np.mean(shared) >= 9.5


def test_exact_is_exact(table: PhotoTable) -> None:
    rows = vectors(COUNT).astype(np.float16).astype(np.float32)
    for query in vectors(5, seed=2):
        best = np.argsort(-(rows @ query) / np.linalg.norm(rows, axis=1))[:10]
        found = [near.record.place.path for near in table.nearest(query, 10, exact=True)]
        assert found == [f"/{place}.jpg" for place in best]


def test_what_comes_after_the_index_is_found_too(table: PhotoTable) -> None:
    [row] = vectors(1, seed=3)
    table.write(records(row[None], COUNT), fresh=True)
    assert table.nearest(row, 1)[0].record.place.path == f"/{COUNT}.jpg"
    [gone] = records(row[None], COUNT)
    assert table.delete([gone.id]) == 1
    assert table.nearest(row, 1)[0].record.place.path != f"/{COUNT}.jpg"


def test_rows_that_moved_meanwhile_are_looked_up(table: PhotoTable) -> None:
    """As a search sees it that runs while another process compacts."""
    near = table.nearest(vectors(1, seed=6)[0], 3)
    ids = [each.record.id for each in near]
    assert [record.id for record in table._taken(ids, [0, 1, 2])] == ids
    assert table._taken([], []) == []


def test_a_filter_holds_with_the_index(tmp_path: Path) -> None:
    """Sixty clusters, each in a part of its own: those that are nearest hold nothing that the filter lets through."""
    from lancedb.index import IvfRq

    generator, clusters = np.random.default_rng(4), 60
    centres = np.linalg.qr(generator.normal(size=(MODEL.width, MODEL.width)))[0][:clusters]
    rows = np.repeat(centres, 30, axis=0) + 0.02 * generator.normal(size=(30 * clusters, MODEL.width))
    made = PhotoTable.create(tmp_path / "db", MODEL)
    made.write(records((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)), fresh=True)
    config = IvfRq(distance_type="cosine", num_partitions=clusters, sample_rate=64)
    made._photos.create_index("vector", config=config)
    query = (centres.T @ np.linspace(1, 0.5, clusters)).astype(np.float32)
    query /= np.linalg.norm(query)
    for cluster in range(clusters):
        wanted = {f"/{30 * cluster + number}.jpg" for number in range(3)}
        found = made.nearest(query, 10, f"path IN ({', '.join(map(repr, sorted(wanted)))})")
        assert {near.record.place.path for near in found} == wanted


def test_a_small_library_has_no_index(tmp_path: Path) -> None:
    table = PhotoTable.create(tmp_path / "db", MODEL)
    table.write(records(vectors(50)), fresh=True)
    table.tidy()
    assert indexed(table) == []


def test_the_benchmark_measures(tmp_path: Path) -> None:
    found = benchmark._build(tmp_path / "db", vectors(40), 500)
    found |= {"vectors": 500} | benchmark._ask(tmp_path / "db", vectors(6, seed=5))
    assert (found["recall"], found["index"]) == (1.0, None)
    assert 0 < found["found_ms"] <= found["found_p95_ms"]
    assert found["asking_mib"] > 50
    machine = {"cpu": "x", "cores": 2, "load_before": 0.1, "python": "3.11", "versions": {"lancedb": "0.40"}}
    result = {"figures": [found], "machine": machine, "model": "m", "photos": 40, "queries": 6, "command": "c"}
    assert "| 500 | " in benchmark.markdown(json.loads(json.dumps(result)))
