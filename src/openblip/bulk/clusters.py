"""A Ray cluster for the time of a run: reached, or started on this machine, and kept quiet. Knows no task."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from openblip.errors import DataError, MissingExtra

LOCAL = "local"
_STORE_BYTES = 2**27  # rows are tasks: a local cluster needs next to no object store
_REACH_S = 10.0


@contextmanager
def cluster(address: str, workers: int) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at the address: "local" starts one here with so many CPUs, "auto"
    takes the one of this machine. What Ray raises becomes a DataError. Until it ends, sys.stdout is stderr.

    Raises MissingExtra without Ray, DataError where the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers without a GPU leave its variables alone
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("ray", "bulk") from error

    started = not ray.is_initialized()
    with redirect_stdout(
        sys.stderr
    ):  # Ray tells of lost workers on stdout, which is for results, and while it ends too
        if started:
            _connect(ray, address, workers)
        try:
            _silence(ray)
            yield ray
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
