"""Tasks on this machine: in this process, or in several that each load the models on one thread.

A worker that dies ends the run with a clear error, and workers end when the run does, however it does: nothing is left
behind that goes on computing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.synchronize import Lock
from typing import Any

from openblip.bulk.capfilt.settings import Scoring
from openblip.bulk.capfilt.shard_worker import ShardWorker, Task
from openblip.errors import DataError

TellTask = Callable[[int, int], None]
"""Told (place of the task, pictures scored of it)."""

_WARNINGS = "PYTHONWARNINGS"
_LOOK_S = 0.5
_AHEAD = 2  # tasks a worker that wait for it


def run_here(scoring: Scoring, tasks: Sequence[Task], tell: TellTask) -> Iterator[Task]:
    """Do the tasks in this process, one after the other; each comes out when it is done."""
    worker = ShardWorker(scoring)
    for task in tasks:
        worker.run(task, lambda done, place=task.place: tell(place, done))  # type: ignore[misc]
        yield task


def run_processes(scoring: Scoring, tasks: Sequence[Task], workers: int, tell: TellTask) -> Iterator[Task]:
    """Do the tasks in so many processes; each comes out when it is done, in any order.

    Raises what a task raises, and DataError where a worker was killed. Other tasks are then given up.
    """
    _start_tracker()
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of the engine half alive
    places = max((task.place for task in tasks), default=0) + 1
    counts: Any = context.RawArray("q", places)  # written by one worker each, so it needs no lock
    workers = min(workers, len(tasks))
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(scoring, counts, context.Lock()))
    to_come, waiting = iter(tasks), dict[Future[None], Task]()
    try:
        while True:
            for task in islice(to_come, _AHEAD * workers - len(waiting)):
                waiting[pool.submit(_work, task)] = task
            if not waiting:
                return
            done, _ = wait(waiting, timeout=_LOOK_S, return_when="FIRST_COMPLETED")
            for task in waiting.values():
                tell(task.place, counts[task.place])
            for future in done:
                future.result()
                yield waiting.pop(future)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed, perhaps for want of memory: run again with fewer --workers, which goes on "
            "from here"
        ) from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start_tracker() -> None:
    """Start the process that multiprocessing leaves behind to tidy up, told not to warn of what a Ctrl-C left to it."""
    before = os.environ.get(_WARNINGS)
    os.environ[_WARNINGS] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[_WARNINGS]
        else:
            os.environ[_WARNINGS] = before


_worker: ShardWorker
_counts: Any
_loading: Lock


def _start_worker(scoring: Scoring, counts: Any, loading: Lock) -> None:
    """In a new worker."""
    global _worker, _counts, _loading
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends its workers
    _worker, _counts, _loading = ShardWorker(scoring), counts, loading
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> None:
    if task.needs_models():
        with _loading:  # the first compiles and keeps the graphs, at several times their size; the others read them
            _worker.load()

    def tell(done: int) -> None:
        _counts[task.place] = done

    _worker.run(task, tell)
