"""A run that is killed (SIGKILL, a real process) goes on and ends with what an uninterrupted run ends with."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import COMMAND
from noisy import outputs, tiny_checkpoint, write_noisy

KILLS = 10


def command(web: Path, out: Path, model: str, *more: str) -> list[str]:
    return [*COMMAND, "capfilt", str(web), "--out", str(out), "--captioner", model, "--precision", "f32", *more]


def run_to_its_end(arguments: list[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def written(out: Path) -> int:
    """Files that are there whole."""
    return sum(path.is_file() and not path.name.startswith(".") for path in out.rglob("*"))


def kill_when(process: subprocess.Popen[bytes], out: Path, files: int, delay_s: float) -> bool:
    """Kill it once so many more files are there and a moment has passed. False where it ended before."""
    wanted = written(out) + files
    while process.poll() is None and written(out) < wanted:
        time.sleep(0.002)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def children(parent: int) -> list[int]:
    """Processes that have this parent."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def test_killed_ten_times_at_random_it_ends_as_an_uninterrupted_run(tmp_path: Path) -> None:
    web = write_noisy(tmp_path / "web", shards=24, pictures=4)
    model, chosen = tiny_checkpoint(tmp_path / "model"), ("--keep-fraction", "0.5", "--workers", "1")
    run_to_its_end(command(web, tmp_path / "whole", model, *chosen))
    draw, kills, seen = random.Random(20220128), 0, set[int]()
    while kills < KILLS:
        process = subprocess.Popen(command(web, tmp_path / "out", model, *chosen), stderr=subprocess.DEVNULL)
        # Twenty-four shards make 24 files of scores and then 72 of what is kept: ten kills spread over all of it.
        kills += kill_when(process, tmp_path / "out", draw.randint(0, 12), draw.uniform(0, 0.02))
        seen.add(written(tmp_path / "out"))
        assert not (tmp_path / "out" / "report.json").exists(), "it ended before it was killed ten times: add shards"
    assert len(seen) >= KILLS / 2
    said = run_to_its_end(command(web, tmp_path / "out", model, *chosen))
    assert "going on in" in said
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes with ps")
def test_workers_do_not_outlive_a_killed_run(tmp_path: Path) -> None:
    web, model = write_noisy(tmp_path / "web", shards=8, pictures=4), tiny_checkpoint(tmp_path / "model")
    process = subprocess.Popen(
        command(web, tmp_path / "out", model, "--workers", "2"), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not list((tmp_path / "out").glob("scores/*.jsonl")):
        time.sleep(0.005)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while (alive := [pid for pid in workers if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []
    run_to_its_end(command(web, tmp_path / "out", model, "--workers", "2"))
    run_to_its_end(command(web, tmp_path / "whole", model, "--workers", "1"))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_a_killed_worker_is_one_clear_error(tmp_path: Path) -> None:
    web, model = write_noisy(tmp_path / "web", shards=12, pictures=6), tiny_checkpoint(tmp_path / "model")
    process = subprocess.Popen(
        command(web, tmp_path / "out", model, "--workers", "2"), stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not list((tmp_path / "out").glob("scores/*.jsonl")):
        time.sleep(0.005)
    # The resource tracker of multiprocessing is a child too, and the oldest.
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker process was killed" in said
    assert "Traceback" not in said
    run_to_its_end(command(web, tmp_path / "out", model, "--workers", "1"))


def test_ctrl_c_ends_all_of_it_at_once(tmp_path: Path) -> None:
    web, model = write_noisy(tmp_path / "web", shards=40, pictures=8), tiny_checkpoint(tmp_path / "model")
    process = subprocess.Popen(
        command(web, tmp_path / "out", model, "--workers", "2"),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not list((tmp_path / "out").glob("scores/*.jsonl")):
        time.sleep(0.005)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "openblip: error: interrupted"
    assert "Warning" not in said
    deadline = time.monotonic() + 10
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, workers))


def test_a_write_that_fails_is_one_clear_error(tmp_path: Path) -> None:
    """Files may not grow beyond some bytes, as on a full disk; afterwards the run goes on."""
    web, model = write_noisy(tmp_path / "web", shards=2, pictures=20), tiny_checkpoint(tmp_path / "model")
    arguments = command(web, tmp_path / "out", model, "--workers", "1")
    run_to_its_end(command(web, tmp_path / "whole", model, "--workers", "1"))
    limit = (4000, 4000)
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "web-0000.jsonl cannot be written: File too large" in last
    assert "run again" in last
    assert "Traceback" not in done.stderr
    run_to_its_end(arguments)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody waits for an orphan in a container without an init
