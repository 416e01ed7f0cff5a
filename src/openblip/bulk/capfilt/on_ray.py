"""Tasks on a cluster, through Ray Data. Ray starts a lost worker's task again, and a task may be done twice: it leaves
the same files."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from openblip.bulk.capfilt.processes import TellTask
from openblip.bulk.capfilt.settings import Scoring
from openblip.bulk.capfilt.shard_worker import ShardWorker, Task
from openblip.bulk.clusters import cluster
from openblip.errors import DataError, OpenBlipError


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
    by_place = {task.place: replace(task, path=task.path.resolve(), root=task.root.resolve()) for task in tasks}
    with cluster(address, workers) as ray:
        work = [{"work": pickle.dumps((scoring, task))} for task in by_place.values()]
        rows = ray.data.from_items(work, override_num_blocks=len(work))
        pool = ray.data.ActorPoolStrategy(size=min(workers, len(work)))
        for row in rows.map(RayWorker, compute=pool, num_cpus=1).iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            yield by_place[int(row["place"])]
