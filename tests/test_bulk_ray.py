"""Many pictures on Ray Data: the records of this machine alone, also where a worker is killed, or a picture kills its
worker."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_photos import photo_bytes, write_photos
from command_line import COMMAND, with_model
from noisy import tiny_checkpoint
from openblip.bulk import on_ray
from openblip.bulk.items import Columns, Item, Stored, find_items
from openblip.bulk.jobs import CaptionJob, Record
from openblip.bulk.on_ray import Model, PictureWorker, checkpoints, compute_on_ray
from openblip.bulk.run import Chunk, chunks
from openblip.errors import MissingExtra
from openblip.pipeline import Blip, Outcome
from shard_files import write_shard

pytestmark = [pytest.mark.ray]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


def captions(record: Record) -> list[str]:
    return [caption["text"] for caption in record["captions"]]


def test_a_worker_does_a_chunk(tmp_path: Path, model: str) -> None:
    """Pictures of a shard are read there; one that is no longer there is its own error."""
    photos = [photo_bytes(seed) for seed in range(3)]
    write_shard(tmp_path / "a.tar", [(f"{n}", photo, {}) for n, photo in enumerate(photos)])
    items = list(find_items([str(tmp_path / "a.tar")], (), Columns(), light=True))
    assert all(isinstance(item.picture, Stored) for item in items)
    items.insert(1, Item("gone", Stored(tmp_path / "gone.tar", "x.jpg", 0, 10)))
    row = PictureWorker()({"work": pickle.dumps((Model(model, precision="f32"), CaptionJob(), "", 7, items))})
    assert (row["place"], row["error"]) == (7, "")
    found = json.loads(row["records"])
    assert [record["source"] for record in found] == [item.source for item in items]
    assert "gone.tar" in found[1].pop("error")
    blip = Blip.load(model, precision="f32", threads=1)
    assert [captions(found[n])[0] for n in (0, 2, 3)] == [caption.text for caption in blip.caption(photos)]
    assert checkpoints(model, CaptionJob()) == {"caption": [blip.part("caption").name, blip.part("caption").revision]}


def test_pictures_of_compressed_shards_travel_as_bytes(tmp_path: Path) -> None:
    """By their place, each would be read by unpacking all that is before it."""
    write_shard(tmp_path / "a.tar", [(f"{n}", photo_bytes(n), {}) for n in range(2)])
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    items = list(find_items([str(tmp_path / "a.tar.gz")], (), Columns(), light=True))
    assert [item.picture for item in items] == [photo_bytes(0), photo_bytes(1)]


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    row = PictureWorker()({"work": pickle.dumps((Model("no-such-model"), CaptionJob(), "", 0, []))})
    assert "no-such-model" in row["error"]


@pytest.mark.parametrize("ordered", [True, False])
def test_chunks_come_in_order_or_as_they_are_done(ordered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(job: Any, model: Any, windows: Iterator[list[Chunk]], *_: Any) -> Iterator[tuple[int, list[Record]]]:
        [window] = windows
        return ((chunk.place, [{"source": item.source} for item in chunk.todo]) for chunk in reversed(window))

    monkeypatch.setattr(on_ray, "_done", backwards)
    compute = compute_on_ray(CaptionJob(), Model("mini"), "local", 1, ordered=ordered)
    found = list(compute(chunks([Item(f"{n}.jpg", Path(f"{n}.jpg")) for n in range(10)], 3)))
    assert [chunk.place for chunk, _ in found] == ([0, 3, 6, 9] if ordered else [9, 6, 3, 0])
    for chunk, records in found:
        assert [item.source for item in chunk.items] == [record["source"] for record in records]


@pytest.mark.parametrize(("limit", "value", "drawn"), [("WINDOW", 2, [2, 4, 5]), ("WINDOW_BYTES", 50, [3, 5])])
def test_no_more_is_read_than_a_window(
    limit: str, value: int, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of which all is settled come out too."""
    seen: list[int] = []

    def done(job: Any, model: Any, windows: Iterator[list[Chunk]], *_: Any) -> Iterator[tuple[int, list[Record]]]:
        for window in windows:
            seen.append(len(read))
            yield from ((chunk.place, [{"source": item.source} for item in chunk.todo]) for chunk in window)

    def given() -> Iterator[Chunk]:
        yield Chunk(0, [Item("settled")], [{"source": "settled"}])
        for place in range(1, 6):
            read.append(place)
            yield Chunk(place, [Item(str(place), b"." * 20)], [None])
        yield Chunk(6, [Item("settled")], [{"source": "settled"}])

    read: list[int] = []
    monkeypatch.setattr(on_ray, limit, value)
    monkeypatch.setattr(on_ray, "_done", done)
    found = [chunk.place for chunk, _ in compute_on_ray(CaptionJob(), Model("mini"), "local", 1, ordered=True)(given())]
    assert [place for place in found if place not in (0, 6)] == list(range(1, 6))
    assert sorted(found) == list(range(7))
    assert seen == drawn


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    compute = compute_on_ray(CaptionJob(), Model("mini"), "local", 1, ordered=True)
    with pytest.raises(MissingExtra, match=r"openblip\[bulk\]"):
        list(compute(chunks([Item("a.jpg", Path("a.jpg"))], 1)))


# On a cluster


def workers_of(parent: int) -> list[int]:
    """Processes of ours below a process, at work."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    below, found = {parent}, list[int]()
    for _ in range(4):
        below |= {int(row[0]) for row in rows if int(row[1]) in below}
    for row in rows:
        if int(row[0]) in below and re.search(r"ray::.*PictureWorker", row[2]):
            found.append(int(row[0]))
    return found


@pytest.mark.slow
def test_a_killed_worker_of_a_thousand_photos_with_thirty_broken(tmp_path: Path, model: str) -> None:
    """The output is that of this machine alone; each picture is there once."""
    bad = write_photos(tmp_path / "album", 1000, 30, lambda place: photo_bytes(place % 50))
    asked = ["caption", "album", *with_model(model)]
    here = subprocess.run(
        [*COMMAND, *asked, "--output", "here.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert here.returncode == 1, here.stderr
    journal = tmp_path / "ray.jsonl.part"
    process = subprocess.Popen(
        [*COMMAND, *asked, "--output", "ray.jsonl", "--ray", "local", "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < 4):
        time.sleep(0.02)
    assert process.poll() is None, "a worker was to be killed in the middle"
    lost = workers_of(process.pid)
    assert lost, "no worker was found at work"
    os.kill(lost[0], signal.SIGKILL)
    done = len(journal.read_bytes().splitlines()) - 1
    assert done < 1000 // on_ray.CHUNK, "the worker was to be killed in the middle"
    printed, said = process.communicate(timeout=240)
    assert printed == "", "stdout is for results"
    assert process.returncode == 1, said
    assert said.splitlines()[-1].startswith("openblip: 970 done, 30 failed, 0 skipped; ")
    found = [json.loads(line) for line in (tmp_path / "ray.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (tmp_path / "here.jsonl").read_text().splitlines()]
    assert [each["source"] for each in found] == [each["source"] for each in expected]
    assert [captions(each) for each in found] == [captions(each) for each in expected]
    failed = [json.loads(line)["source"] for line in (tmp_path / "ray.jsonl.errors.jsonl").read_text().splitlines()]
    assert [Path(name).name for name in failed] == bad


class PoisonJob(CaptionJob):
    """One of its pictures ends the process that works on it, as a crash in a library does."""

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        found = list(items)
        if any("poison" in item.source for item in found):
            os.kill(os.getpid(), signal.SIGKILL)
        return CaptionJob.outcomes(self, blip, found)


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_is_given_up_after_two(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(on_ray, "WINDOW", 4)  # of six chunks: a second window follows
    write_photos(tmp_path, 12)
    (tmp_path / "00004.jpg").rename(tmp_path / "00004-poison.jpg")
    items = [Item(str(path), path) for path in sorted(tmp_path.glob("*.jpg"))]
    compute = compute_on_ray(PoisonJob(), Model(model, precision="f32"), "local", 1, ordered=False)
    found = {record["source"]: record for _, records in compute(chunks(items, 2)) for record in records}
    assert len(found) == 12
    failed = [record for record in found.values() if "error" in record]
    assert sorted(Path(record["source"]).name for record in failed) == ["00004-poison.jpg", "00005.jpg"]
    assert all("was lost twice" in record["error"] for record in failed)
