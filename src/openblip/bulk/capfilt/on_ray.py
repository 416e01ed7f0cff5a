"""Tasks on a cluster, through Ray Data. Ray starts a lost worker's task again, and a task may be done twice: it leaves
the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from openblip.bulk.capfilt.processes import TellTask
from openblip.bulk.capfilt.settings import Scoring
from openblip.bulk.capfilt.shard_worker import ShardWorker, Task
from openblip.errors import DataError, MissingExtra, OpenBlipError

LOCAL = "local"
_STORE_BYTES = 2**27  # rows are names: a local cluster needs next to no object store


class RayWorker:
    """The worker as Ray Data calls it: a row with a task's place goes in and comes out, with the error if there was
    one. Ray makes one in each of its processes, and makes it again where the process was lost."""

    def __init__(self, scoring: Scoring, tasks: Mapping[int, Task]) -> None:
        self._worker, self._tasks = ShardWorker(scoring), tasks

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """row: {"place": of the task}."""
        place = int(row["place"])
        try:
            self._worker.run(self._tasks[place])
        except OpenBlipError as error:
            return {"place": place, "error": str(error)}
        return {"place": place, "error": ""}


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

    started = not ray.is_initialized()
    if started:
        _connect(ray, address, workers)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    by_place = {task.place: replace(task, path=task.path.resolve(), root=task.root.resolve()) for task in tasks}
    try:
        rows = ray.data.from_items([{"place": place} for place in by_place], override_num_blocks=len(by_place))
        done = rows.map(
            RayWorker,
            fn_constructor_args=(scoring, by_place),
            concurrency=(1, min(workers, len(by_place))),
            num_cpus=1,
        )
        for row in done.iter_rows():
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
            ray.init(address=address, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"no Ray cluster at {address} ({_first_line(error)}): start one with 'ray start --head', or give "
            "--ray local"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
