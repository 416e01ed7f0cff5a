"""Searching libraries of up to a million photos: how long it takes, what the index misses, how much memory it wants.

`python -m benchmarks.search DATA` encodes the photos of WebDataset shards, makes libraries of 1,000, 100,000 and
1,000,000 vectors around theirs, and asks for the ten nearest of real captions: by the index that the library chooses,
and exactly, by the same code in the same process, one query after the other in turn. Building and searching are
processes of their own, whose peak memory (VmHWM, Linux) is stated. Prints a Markdown table and writes it and the
figures beside the other results.

The vectors are synthetic: each lies between two real photos, at random but nearer to one, with noise, so that
neighbours are as dense as a million photos of the same everyday scenes. Queries are real captions, which lie apart from
all photos, as they do in use: for an index the hard case.

`--part recall` indexes the shards and prints R@1, 5 and 10 of every caption's own photo, by the library and by
`openblip eval retrieval`; `--part index` how long indexing a folder of them takes beside encoding alone, and again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import peak_mib
from benchmarks.machine import machine as described
from openblip import Blip
from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.engine import Floats
from openblip.image import ImageSource
from openblip.library.encode import text_vector

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("openblip", "openvino", "lancedb", "pyarrow", "numpy")
ROWS_A_WRITE, QUERIES, WANTED = 50_000, 50, 10
NOISE = 0.35  # length of what is added to a vector of unit length


def main() -> int:
    """Measure, print, write."""
    if sys.argv[1:2] in (["build"], ["ask"]):
        return _child(*sys.argv[1:])
    arguments = _arguments()
    shards = [shard for source in arguments.data for shard in find_shards(source)]
    samples = list(islice(read_shards(shards), arguments.photos))
    blip = Blip.load(arguments.model)
    if arguments.part == "recall":
        print(recall_table(blip, samples, [str(shard) for shard in shards]))
        return 0
    if arguments.part == "index":
        print(index_table(blip, samples, arguments.rounds))
        return 0
    load_before = os.getloadavg()[0]
    words = [sample.captions[0] for sample in samples[:QUERIES]]
    figures = _scale(
        blip.embed_images([sample.image_bytes for sample in samples]),
        np.stack([text_vector(blip, text) for text in words]),
        [int(size) for size in arguments.sizes.split(",")],
    )
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.search", *map(os.path.relpath, arguments.data)]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": blip.name,
        "photos": len(samples),
        "queries": len(words),
        "machine": described(load_before, PACKAGES),
        "figures": figures,
    }
    table = markdown(result)
    print(table)
    arguments.output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(table, encoding="utf-8")
    return 0


def markdown(result: dict[str, Any]) -> str:
    """The table of a result, and what it was measured with."""
    heads = (
        "vectors", "search, ms: median (95th percentile)", "exact search", "recall@10", "memory, searching", "on disk",
        "index", "built in", "memory, building",
    )  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in result["figures"]:
        index = "none: exact" if each["index"] is None else each["index"]
        rows.append(
            f"| {each['vectors']:,} | **{each['found_ms']:.1f}** ({each['found_p95_ms']:.1f}) | {each['exact_ms']:.1f} "
            f"({each['exact_p95_ms']:.1f}) | {each['recall']:.3f} | {each['asking_mib']:,.0f} MiB | "
            f"{each['disk_mib']:,.0f} MiB | {index} | {each['index_s']:.0f} s | {each['building_mib']:,.0f} MiB |"
        )
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    notes = (
        f"The {WANTED} nearest of {result['queries']} captions, whole records read; vectors of {result['model']} "
        f"around those of {result['photos']:,} photos.\n{machine['cpu']}, {machine['cores']} cores, load before: "
        f"{machine['load_before']}. Python {machine['python']}, {versions}.\nCommand: `{result['command']}`\n"
    )
    return "\n".join([*rows, "", notes])


def recall_table(blip: Blip, samples: list[Sample], shards: list[str]) -> str:
    """R@1, 5 and 10 of all captions: by the library, and by the evaluation."""
    from openblip.evaluate import evaluate_retrieval
    from openblip.library import Library, index_photos
    from openblip.library.table import PhotoTable

    with tempfile.TemporaryDirectory() as folder:
        report = index_photos(shards, Path(folder) / "db", lambda: blip)
        table, places = PhotoTable.open(Library.open(Path(folder) / "db").database), list[int]()
        for sample in samples:
            for caption in sample.captions:
                near = [each.record.place.key for each in table.nearest(text_vector(blip, caption), 10)]
                places.append(near.index(sample.key) if sample.key in near else 10)
    expected = evaluate_retrieval(blip, samples, rerank=0).itc.to_dict()
    recalls = [100 * statistics.mean(place < depth for place in places) for depth in (1, 5, 10)]
    other = [100 * expected[f"text_to_image_r{depth}"] for depth in (1, 5, 10)]
    lines = [
        f"{report.photos:,} photos, {len(places):,} captions, {blip.name}",
        "",
        "| text to image | R@1 | R@5 | R@10 |",
        "|---|---|---|---|",
        f"| the library | {' | '.join(f'{value:.2f}' for value in recalls)} |",
        f"| openblip eval retrieval | {' | '.join(f'{value:.2f}' for value in other)} |",
    ]
    return "\n".join(lines)


def index_table(blip: Blip, samples: list[Sample], rounds: int) -> str:
    """Seconds of encoding the files of a folder and of indexing it, in turn, and of indexing it again."""
    from openblip.library import index_photos

    lines = [
        "| photos a second: encoding alone | first index | of encoding | second index | times as fast |",
        "|---" * 5 + "|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for sample in samples:
            (photos / f"{sample.key}.jpg").write_bytes(sample.image_bytes)
        files: list[ImageSource] = [*sorted(photos.glob("*.jpg"))]
        blip.embed_images(files[:64])
        for turn in range(rounds):
            start = time.perf_counter()
            count = sum(outcome.error is None for outcome in blip.embed_each(files))
            raw_s = time.perf_counter() - start
            first = index_photos([str(photos)], Path(folder) / f"db{turn}", lambda: blip)
            again = index_photos([str(photos)], Path(folder) / f"db{turn}", lambda: blip)
            cells = (
                f"{count / raw_s:.1f}", f"{count / first.seconds:.1f}", f"{raw_s / first.seconds:.0%}",
                f"{count / again.seconds:,.0f}", f"{first.seconds / again.seconds:,.0f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{count:,} photos, {blip.name}; without loading the model and LanceDB."])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", nargs="+", help="WebDataset shards with captions")
    parser.add_argument("--part", choices=["scale", "recall", "index"], default="scale")
    parser.add_argument("--model", default="mini", help="a model's name or folder")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2, help="of --part index")
    parser.add_argument("--sizes", default="1000,100000,1000000", help="vectors, separated by commas")
    parser.add_argument("--output", type=Path, default=RESULTS / "search.md", help="its .json is written too")
    return parser.parse_args()


def _scale(photos: Floats, captions: Floats, sizes: list[int]) -> list[dict[str, Any]]:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "vectors.npz", photos=photos, captions=captions)
        for size in sizes:
            print(f"{size:,} vectors ...", file=sys.stderr, flush=True)
            found: dict[str, Any] = {"vectors": size}
            for action in ("build", "ask"):
                command = [sys.executable, "-m", "benchmarks.search", action, folder, str(size)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found |= json.loads(done.stdout.splitlines()[-1])
            figures.append(found)
    return figures


def _child(action: str, folder: str, size: str) -> int:
    vectors = np.load(Path(folder) / "vectors.npz")
    database = Path(folder) / f"{size}.lance"
    building = action == "build"
    found = _build(database, vectors["photos"], int(size)) if building else _ask(database, vectors["captions"])
    print(json.dumps(found))
    return 0


def _build(database: Path, photos: Floats, size: int) -> dict[str, Any]:
    from openblip.library.records import ModelStamp
    from openblip.library.table import PhotoTable

    generator = np.random.default_rng(20220128)
    table = PhotoTable.create(database, ModelStamp("mini", "", photos.shape[1]))
    for start in range(0, size, ROWS_A_WRITE):
        count = min(ROWS_A_WRITE, size - start)
        table._photos.add(_rows(table._schema, start, around(photos, count, generator)))
    start_s = time.perf_counter()
    table.tidy()
    seconds = time.perf_counter() - start_s
    disk = sum(file.stat().st_size for file in database.rglob("*") if file.is_file())
    return {"index_s": round(seconds, 1), "building_mib": peak_mib(), "disk_mib": round(disk / 2**20, 1)}


def around(photos: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Unit vectors [count, width], each between two of the photos, with noise."""
    share = generator.uniform(0.5, 1.0, (count, 1)).astype(np.float32)
    first, second = generator.integers(0, len(photos), (2, count))
    vectors = share * photos[first] + (1 - share) * photos[second]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    width = vectors.shape[1]
    vectors += generator.normal(0, NOISE / width**0.5, vectors.shape).astype(np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _rows(schema: Any, start: int, vectors: Floats) -> Any:
    """Records as Arrow, without one object a record."""
    import pyarrow as pa

    count = len(vectors)
    numbers = range(start, start + count)
    known: dict[str, Any] = {
        "id": [f"{number:020x}" for number in numbers],
        "path": [f"/photos/{number // 1000:04d}/{number:07d}.jpg" for number in numbers],
        "sha256": [f"{number:064x}" for number in numbers],
        "caption": [""] * count, "key": [""] * count, "model": ["mini"] * count, "revision": ["0" * 12] * count,
        "taken": [None] * count,
    }  # fmt: skip
    columns = []
    for field in schema:
        if field.name == "vector":
            flat = pa.array(vectors.astype(np.float16).ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        else:
            columns.append(pa.array(known.get(field.name, list(numbers)), field.type))
    return pa.table(columns, schema=schema)


def _ask(database: Path, captions: Floats) -> dict[str, Any]:
    """Every query once for the memory, then each by the index and exactly, in turn."""
    from openblip.library.table import PhotoTable

    table = PhotoTable.open(database)
    for vector in captions:
        table.nearest(vector, WANTED)
    asking_mib = peak_mib()
    times: dict[bool, list[float]] = {False: [], True: []}
    shared = 0
    for vector in captions:
        answers = {}
        for exact in times:
            start = time.perf_counter()
            answers[exact] = {near.record.id for near in table.nearest(vector, WANTED, exact=exact)}
            times[exact].append((time.perf_counter() - start) * 1000)
        shared += len(answers[False] & answers[True])
    indices = [index.index_type for index in table._photos.list_indices() if "vector" in index.columns]
    return {
        "found_ms": _median(times[False]), "found_p95_ms": _p95(times[False]),
        "exact_ms": _median(times[True]), "exact_p95_ms": _p95(times[True]),
        "recall": round(shared / (WANTED * len(captions)), 4), "asking_mib": asking_mib,
        "asking_and_exact_mib": peak_mib(), "index": indices[0] if indices else None,
    }  # fmt: skip


def _median(times: list[float]) -> float:
    return round(statistics.median(times), 2)


def _p95(times: list[float]) -> float:
    return round(float(np.quantile(times, 0.95)), 2)


if __name__ == "__main__":
    sys.exit(main())
