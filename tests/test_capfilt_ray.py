"""The same run on Ray Data: on a local cluster of two workers, one of which is killed in the middle."""

from __future__ import annotations

import importlib.util
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import COMMAND
from noisy import outputs, tiny_checkpoint, write_noisy
from openblip.bulk.capfilt.on_ray import RayWorker, run_on_ray
from openblip.bulk.capfilt.settings import Scoring
from openblip.bulk.capfilt.shard_worker import Task
from openblip.errors import MissingExtra

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


pytestmark = [pytest.mark.ray]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without a CPU and two nodes with one each: so two workers."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    # A busy machine answers late; a node that was killed refuses at once.
    patience = {"health_check_initial_delay_ms": 60_000, "health_check_timeout_ms": 60_000}
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "_system_config": patience})
    try:
        for _ in range(2):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


def command(web: Path, out: Path, model: str, *more: str) -> list[str]:
    fixed = ("--captioner", model, "--precision", "f32", "--keep-fraction", "0.5")
    return [*COMMAND, "capfilt", str(web), "--out", str(out), *fixed, *more]


def at_work(node: Any) -> bool:
    """Whether a worker of ours runs on the node."""
    raylet = node.all_processes["raylet"][0].process.pid
    listed = subprocess.run(["ps", "-o", "args=", "--ppid", str(raylet)], capture_output=True, text=True, check=False)
    return "RayWorker" in listed.stdout


def finish(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_lost_worker_changes_nothing(tmp_path: Path, cluster: Any) -> None:
    web, model = write_noisy(tmp_path / "web", shards=40, pictures=8), tiny_checkpoint(tmp_path / "model")
    finish(command(web, tmp_path / "plain", model, "--workers", "1"))
    scores = tmp_path / "ray" / "scores"
    arguments = command(web, tmp_path / "ray", model, "--ray", cluster.address, "--workers", "2")
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not all(map(at_work, cluster.worker_nodes)):
        time.sleep(0.05)
    first = len(list(scores.glob("*.jsonl")))
    while process.poll() is None and len(list(scores.glob("*.jsonl"))) < first + 2:
        time.sleep(0.01)
    lost = next(iter(cluster.worker_nodes))
    assert at_work(lost)
    cluster.remove_node(lost, allow_graceful=False)
    done = len(list(scores.glob("*.jsonl")))
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert 2 <= done < 40, "the worker was to be killed in the middle"
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "plain")


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone(tmp_path: Path) -> None:
    web, model = write_noisy(tmp_path / "web", shards=3, pictures=4), tiny_checkpoint(tmp_path / "model")
    finish(command(web, tmp_path / "plain", model, "--workers", "1"))
    finish(command(web, tmp_path / "ray", model, "--ray", "local", "--workers", "2"))
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "plain")


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    web, model = write_noisy(tmp_path / "web", shards=1, pictures=1), tiny_checkpoint(tmp_path / "model")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = subprocess.run(
            command(web, tmp_path / "out", model, "--ray", address),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"openblip: error: no Ray cluster at {address} ")
    assert "Traceback" not in done.stderr


def test_a_worker_hands_back_what_went_wrong(tmp_path: Path) -> None:
    worker, task = RayWorker(), Task(4, "x", tmp_path / "none.tar", tmp_path, None, "", 0)
    row = worker({"work": pickle.dumps((Scoring(str(tmp_path / "nothing"), None), task))})
    assert row["place"] == 4
    assert "there is no" in row["error"]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"openblip\[bulk\]"):
        list(run_on_ray(Scoring("mini", None), [], "local", 1, lambda place, done: None))


def test_ray_is_loaded_by_nothing_but_its_own_module() -> None:
    code = "import sys, openblip.bulk.capfilt.run; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert importlib.util.find_spec("ray") is not None
