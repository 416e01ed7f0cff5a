"""benchmarks/load: pictures that are new, popularity, percentiles, tables; both rivals as processes, asked by
Locust."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.parser import BytesParser
from email.policy import HTTP
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from PIL import Image

from benchmarks.load import pictures, report
from benchmarks.load.load import Plan, Steps, hit_rate, run, run_steps
from benchmarks.load.mix import CONTENT_TYPE, TASKS, fields_of, form
from benchmarks.load.plot import draw
from benchmarks.load.processes import Watch, running
from benchmarks.load.records import Record, percentiles_ms, read, summary, verdict, write
from benchmarks.load.servers import Server, captions, litserve, serving, tutorial
from openblip import Blip
from openblip.image import load_image
from photos import photo, saved
from required import program


def record(start_s: float, seconds: float, status: int = 200, *, cached: bool = False) -> Record:
    return Record(start_s, seconds, "caption", status, cached, 1000, 4)


def test_popularity_falls_as_zipf_says() -> None:
    drawn = Counter(islice(pictures.zipf(50, 1.0, Random(0)), 100_000))
    assert set(drawn) <= set(range(50))
    assert_allclose(drawn[0] / drawn[9], 10, rtol=0.1)
    assert_allclose(drawn[1] / drawn[4], 2.5, rtol=0.1)
    level = Counter(islice(pictures.zipf(4, 0.0, Random(0)), 40_000))
    assert_allclose([level[rank] for rank in range(4)], 10_000, rtol=0.05)


def test_no_two_fresh_pictures_are_alike_even_decoded_small(tmp_path: Path) -> None:
    """Of one photo, which differ in nothing but their number; a 2,048 picture for 224 pixels is decoded at an
    eighth."""
    for side, small in ((128, 96), (640, 224), (2048, 224)):
        files = pictures.write_fresh(tmp_path / str(side), [photo(64, 48)], 20, {side: 1.0}, first=1 << 20)
        assert [file.name for file in files] == [f"{number:07d}.jpg" for number in range(1 << 20, (1 << 20) + 20)]
        seen = set()
        for file in files:
            with Image.open(file) as image:
                assert max(image.size) == side
                image.draft("RGB", (small, small))
                seen.add(image.resize((small, small)).tobytes())
        assert len(seen) == 20


@given(st.integers(0, 2**pictures.BITS - 1))
def test_a_number_can_be_read_from_its_picture(number: int) -> None:
    decoded = load_image(pictures.jpeg(pictures.numbered(photo(160, 120), number)))
    code = np.asarray(decoded)[120 - 32 :, :48].mean(axis=2)
    squares = code.reshape(4, 8, 6, 8).mean(axis=(1, 3)).ravel() > 128
    assert sum(int(bit) << index for index, bit in enumerate(squares)) == number


def test_too_many_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="24 bits"):
        pictures.write_fresh(tmp_path, [photo()], 2, {640: 1.0}, first=2**24 - 1)


def test_large_photos_have_their_size(tmp_path: Path) -> None:
    for file in pictures.write_large(tmp_path, [photo(64, 48), photo(48, 64, seed=1)], 2):
        assert_allclose(file.stat().st_size, pictures.LARGE_BYTES, rtol=0.1)


def test_samples_and_the_data_folder_are_read(shared_data: Path) -> None:
    samples = Path(__file__).parent.parent / "samples"
    alone, more = pictures.photos(samples, None), pictures.photos(samples, shared_data)
    assert len(alone) == 4
    assert len(more) > 100
    assert {image.mode for image in more} == {"RGB"}


def test_a_form_is_what_a_parser_reads() -> None:
    for task in TASKS:
        fields = fields_of(task, Random(0))
        head = f"Content-Type: {CONTENT_TYPE}\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + form([b"\xff\xd8one", b"two"], fields)).iter_parts())
        assert [part.get_payload(decode=True) for part in parts[:2]] == [b"\xff\xd8one", b"two"]
        names = [part.get_param("name", header="content-disposition") for part in parts]
        assert names == ["images", "images", *(name for name, _ in fields)]
        assert [part.get_payload(decode=True).decode() for part in parts[2:]] == [value for _, value in fields]  # type: ignore[union-attr]


def test_percentiles_are_times_that_were_measured() -> None:
    assert percentiles_ms([number / 1000 for number in range(1, 101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles_ms([0.5, 0.1]) == {"p50": 100.0, "p95": 500.0, "p99": 500.0}
    assert percentiles_ms([]) == {}


def test_the_rate_is_that_of_whole_batches() -> None:
    seen = [
        record(8, 4), record(10, 5, cached=True), record(19, 2), record(2, 1), record(12, 1, 429), record(13, 1, 500),
        record(14, 1, -1), record(30, 1),
    ]  # fmt: skip
    found = summary(seen, 10, 20)
    assert_allclose(found.rate, 2 / (15 - 3))
    assert (found.answered, found.cached, found.refused, found.errors) == (2, 0.5, 1, {"-1": 1, "500": 1})
    assert found.percentiles_ms == {"p50": 4000.0, "p95": 5000.0, "p99": 5000.0}
    # Batches of 8 that take 3 s, one behind the other: whatever the window, the same rate.
    batches = [record(3.0 * batch, 3.0) for batch in range(20) for _ in range(8)]
    for start_s, end_s in ((1, 10), (4, 11), (5, 12.5), (5.5, 7)):
        assert_allclose(summary(batches, start_s, end_s).rate, 8 / 3)
    one_by_one = [record(0, 2.5 * (place + 1)) for place in range(16)]  # nothing before the window
    assert_allclose(summary(one_by_one, 0, 21).rate, 1 / 2.5)
    assert summary(batches, 0, 3).rate == summary(batches, 100, 200).rate == 0.0


def test_records_survive_their_file(tmp_path: Path) -> None:
    seen = [record(2, 1), record(1, 3, 429)]
    write(seen, tmp_path / "records.jsonl")
    assert read(tmp_path / "records.jsonl") == sorted(seen, key=lambda each: each.start_s)


def test_what_an_answer_says() -> None:
    fine = {"captions": [], "cached": True, "error": None}
    assert verdict(json.dumps({"results": [fine, fine]}).encode()) == (200, True)
    assert verdict(json.dumps({"results": [fine, {**fine, "cached": False}]}).encode()) == (200, False)
    assert verdict(json.dumps({"results": [{**fine, "error": {"title": "no picture"}}]}).encode())[0] == -1
    for broken in (b"", b"<html>", b"[]", b'{"results": []}', b'{"results": [1]}', b"\xff"):
        assert verdict(broken)[0] == -1


def test_hit_rate_of_the_servers_counters() -> None:
    counted = {"openblip_cache_total{event=hit}": 3.0, "openblip_cache_total{event=miss}": 1.0, "other{event=hit}": 9.0}
    assert hit_rate(counted) == 0.75
    assert hit_rate({}) is None


WINDOW = {
    "users": 64, "summary": {"seconds": 60.0, "answered": 600, "rate": 80.0,
                             "percentiles_ms": {"p50": 700.0, "p95": 900.0, "p99": 1000.5}, "cached": 0.25,
                             "refused": 7, "errors": {"500": 2}},
    "cpu": {"server": 1.6, "client": 0.2, "redis": 0.1}, "rss_mib": {"begin": 400.0, "end": 404.0, "most": 405.0},
    "memory": [[0.0, 400.0], [60.0, 404.0]],
}  # fmt: skip
RESULT: dict[str, Any] = {
    "command": "python -m benchmarks.load", "date": "2026-01-01", "model": "mini", "precision": None, "base": "base",
    "threads": 2, "photos": 4, "failed": {"cached": "redis-server is missing"},
    "machine": {"cpu": "A processor", "instructions": ["avx2"], "cores": 2, "memory_gib": 8.0, "load_before": 0.1,
                "python": "3.11", "versions": {"locust": "2"}},
    "uncached": {"name": "openblip", "title": "openblip", **WINDOW, "engine": [99.0, 98.0, 100.0]},
    "cached": [{"cache": "redis", "name": "openblip", "title": "openblip", **WINDOW}],
    "rivals": [
        {"name": name, "title": name, "same_captions": 8, "compared": 8, **WINDOW,
         "summary": {**WINDOW["summary"], "rate": rate}}  # type: ignore[dict-item]
        for name, rate in (("tutorial", 0.5), ("litserve", 2.0), ("openblip-int8", 5.0))
    ] + [{"name": "openblip-f32", "title": "openblip f32", "failed": "no memory"}],
    "mix": {"hit_rate": 0.5, "steps": [WINDOW]},
}  # fmt: skip


def test_tables_show_the_shares_that_matter(tmp_path: Path) -> None:
    text = report.markdown(RESULT)
    assert "80.0 captions/s**, 80% of the engine alone" in text
    assert "400 MiB at the window's begin, 404 at its end" in text
    assert "| redis | 64 | **80.0** | 700 | 900 | 1000 | 7 | 2 x 500 | 1.60 | 0.20 | 0.10 | 50 | 25.0% |" in text
    [row] = [line for line in text.splitlines() if "| openblip-int8 |" in line]
    assert row.startswith("| openblip-int8 | **5.00** | 10.0 x | 2.5 x | 0.70 | 1.00 | 2 x 500 |")
    assert "| (b) litserve | **2.00** | 4.0 x | 1.0 x |" in text
    assert "- openblip f32: no memory" in text
    assert "Failed: cached: redis-server is missing" in text
    for table in text.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1
    assert "###" not in report.markdown({name: RESULT[name] for name in RESULT if name not in report.PARTS})


def test_tables_go_between_the_marks_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{report.BEGIN}\nold\n{report.END}\nend\n", encoding="utf-8")
    for _ in range(2):
        report.put_into(page, "| \\1 new |\n")
    assert page.read_text(encoding="utf-8") == f"# Title\n{report.BEGIN}\n\n| \\1 new |\n\n{report.END}\nend\n"
    page.write_text("# Title\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no place"):
        report.put_into(page, "new")
    own = Path(__file__).parent.parent / "docs" / "load.md"
    text = own.read_text(encoding="utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_plot(tmp_path: Path) -> None:
    assert draw(RESULT, tmp_path / "load.svg")
    assert "int8" in (tmp_path / "load.svg").read_text(encoding="utf-8")
    assert not draw({"machine": RESULT["machine"]}, tmp_path / "none.svg")


def test_a_process_is_watched_and_gone_with_its_children(tmp_path: Path) -> None:
    """Parent and child both shrug off SIGTERM; the child is busy all the time."""
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork()\n"
        "while not child: pass\n"
        "print(child, flush=True); time.sleep(60)"
    )
    started = time.time()
    with running([sys.executable, "-c", code], tmp_path / "log", stop_s=0.2) as process:
        with Watch({"it": process.pid}) as watch:
            time.sleep(2.2)
        child = int((tmp_path / "log").read_text())
        assert psutil.pid_exists(child)
    assert process.returncode == -9
    assert _gone(child)
    share = watch.cpu_share("it", started + 0.4, time.time())
    assert 0.1 < share < 1.2
    assert watch.samples["it"][-1].rss_mib > 5
    assert watch.cpu_share("it", started - 10, started - 5) == 0.0


def _gone(pid: int) -> bool:
    """Within 5 s: a signal is delivered when the process is next looked at."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for _ in range(100):
            if process.status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.05)
        else:
            return False
    return True


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    server = Server("broken", "broken", lambda port, url: [sys.executable, "-c", "raise SystemExit('no model')"])
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1.*no model"), serving(server, tmp_path):
        pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import random_blip

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    random_blip.save(random_blip.random_blip("BlipForConditionalGeneration", image_size=32, size="tiny"), folder)
    return folder


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    originals = [photo(64, 48, seed) for seed in range(4)]
    pictures.write_fresh(folder / "fresh", originals, 3000, {64: 1.0})
    pictures.write_fresh(folder / "pool", originals, 10, {64: 1.0}, first=1 << 20)
    return folder


def test_the_tutorials_server_under_locust(weights: Path, sent: Path, tmp_path: Path) -> None:
    program("redis-server")
    files = [saved(photo(48, 40, seed), "PNG") for seed in range(3)]
    with serving(tutorial(weights, 1), tmp_path) as started:
        texts = captions(started.url, files)
        blip = Blip.load(str(weights), precision="f32", threads=1)
        assert texts == [caption.text for caption in blip.caption(files)]
        assert captions(started.url, files) == texts
        found = run(started, Plan("Uncached", 2, 3.0, lead_s=0.5, tail_s=0.5), sent, tmp_path, 60.0)
        assert found.summary.answered > 0
        assert (found.summary.errors, found.summary.refused, found.summary.cached) == ({}, 0, 0.0)
        assert found.cpu["server"] > found.cpu["redis"]
        # It knows captions alone: what else the mix asks is an error that must be seen as one.
        [first, second] = run_steps(started, Steps("Mix", (1, 3), 2.0, lead_s=0.5), sent, tmp_path, 60.0)
        assert (first.users, second.users) == (1, 3)
        assert set(first.summary.errors) | set(second.summary.errors) == {"404"}
    assert not psutil.pid_exists(started.pid)
    logs = sorted(tmp_path.glob("locust-*/records.jsonl"), key=os.path.getmtime)
    mixed = [each for each in read(logs[-1]) if each.status == 200]
    assert any(each.cached for each in mixed)


def test_litserve_answers_in_batches(weights: Path, tmp_path: Path) -> None:
    files = [saved(photo(48, 40, seed), "PNG") for seed in range(4)]
    expected = [caption.text for caption in Blip.load(str(weights), precision="f32", threads=1).caption(files)]
    with serving(litserve(weights, 1, "f32", 4), tmp_path) as started, ThreadPoolExecutor(4) as pool:
        assert captions(started.url, files[:1]) == expected[:1]
        assert list(pool.map(lambda file: captions(started.url, [file]), files)) == [[text] for text in expected]
