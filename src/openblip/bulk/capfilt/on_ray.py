"""Tasks on a cluster, through Ray Data. Ray starts a lost worker's task again, and a task may be done twice: it leaves
the same files."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from openblip.bulk.capfilt.processes import TellTask
from openblip.bulk.capfilt.settings import Scoring
from openblip.bulk.capfilt.shard_worker import ShardWorker, Task
from openblip.errors import DataError, MissingExtra, OpenBlipError

LOCAL = "local"
_STORE_BYTES = 2**27  # rows are tasks: a local cluster needs next to no object store
_REACH_S = 10.0


class RayWorker:
    """The worker as Ray Data calls it: a row with a task goes in, and one with its error, if there was one, comes out.

    Ray makes one in each of its processes, and anew where the process was lost. It takes no arguments, which would have
    to outlive the node that holds them: each row brings all that it needs.
    """

    def __init__(self) -> None:
        self._worker: ShardWorker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """row: {"work": the pickled Scoring, the same in all rows, and Task}."""
        scoring, task = pickle.loads(row["work"])
        self._worker = self._worker or ShardWorker(scoring)
        try:
            self._worker.run(task)
        except OpenBlipError as error:
            return {"place": task.place, "error": str(error)}
        return {"place": task.place, "error": ""}


def run_on_ray(scoring: Scoring, tasks: Sequence[Task], address: str, workers: int, tell: TellTask) -> Iterator[Task]:
    """Do the tasks on the cluster at the address ("local" starts one here, "auto" takes the one of this machine), with
    at most so many workers of one CPU each; a task comes out when it is done.

    Every node must see shards, models and the output folder under the same paths, and have openblip. Raises
    MissingExtra without Ray, DataError with what a task raises, or where the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers without a GPU leave its variables alone
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("ray", "bulk") from error

    by_place = {task.place: replace(task, path=task.path.resolve(), root=task.root.resolve()) for task in tasks}
    started = not ray.is_initialized()
    if started:
        _connect(ray, address, workers)
    try:
        _silence(ray)
        work = [{"work": pickle.dumps((scoring, task))} for task in by_place.values()]
        rows = ray.data.from_items(work, override_num_blocks=len(work))
        pool = ray.data.ActorPoolStrategy(size=min(workers, len(work)))
        for row in rows.map(RayWorker, compute=pool, num_cpus=1).iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            yield by_place[int(row["place"])]
    except ray.exceptions.RayError as error:
        raise DataError(f"Ray gave up: {_first_line(error)}: run again, which goes on from here") from error
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == LOCAL:
            ray.init(num_cpus=workers, object_store_memory=_STORE_BYTES, include_dashboard=False, **quiet)
        else:
            _check_reach(address)
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises a plain Exception where a node does not start in time
        remedy = "try again" if address == LOCAL else "start one with 'ray start --head', or give --ray local"
        raise DataError(f"no Ray cluster at {address} ({_first_line(error).rstrip('.')}): {remedy}") from error


def _check_reach(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT, or ray://HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


def _silence(ray: Any) -> None:
    """The run has its own lines."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
