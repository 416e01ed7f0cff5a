"""Servers and clients as processes of their own: started, watched, stopped. Knows no HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY_S = 0.5


@dataclass(frozen=True)
class Sample:
    """time_s: Unix time; cpu_s: of the process and its children since their start; rss_mib: of all of them."""

    time_s: float
    cpu_s: float
    rss_mib: float


def free_port() -> int:
    """One that nobody listens on at this moment, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stop_s: float = 15.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, its output in `log`. Behind the block the whole group is gone: asked to by
    SIGTERM, killed when it does not obey within stop_s."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        yield process
    finally:
        _stop(process, stop_s)


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """An empty redis-server on loopback that keeps nothing on disk: its URL and process. Raises FileNotFoundError
    where the program is missing."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is missing: install the package of that name")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running([*command, "--dir", str(folder)], folder / "redis.log") as process:
        wait_for(lambda: _listens(port), process, 10.0, folder / "redis.log")
        yield f"redis://127.0.0.1:{port}/0", psutil.Process(process.pid)


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], limit_s: float, log: Path) -> None:
    """Until `ready()` is true. Raises RuntimeError with the end of the log where the process ends before, or it takes
    too long."""
    deadline = time.monotonic() + limit_s
    while not ready():
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = log.read_text(encoding="utf-8", errors="replace")[-1500:]
            what = f"ended with {process.returncode}" if ended else f"was not ready within {limit_s:g} s"
            raise RuntimeError(f"{log.parent.name} {what}:\n{tail}")
        time.sleep(0.05)


class Watch:
    """Samples processes by name, each with its children, until the block ends. A child that ended in between is
    missed: what is watched here keeps its children."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self.samples: dict[str, list[Sample]] = {name: [] for name in processes}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cpu_share(self, name: str, start_s: float, end_s: float) -> float:
        """Cores that were busy with it on average in the window: 1.0 is one core. 0 where nothing was seen."""
        inside = self.inside(name, start_s, end_s)
        if len(inside) < 2:
            return 0.0
        return (inside[-1].cpu_s - inside[0].cpu_s) / (inside[-1].time_s - inside[0].time_s)

    def inside(self, name: str, start_s: float, end_s: float) -> list[Sample]:
        """The samples of a window."""
        return [sample for sample in self.samples[name] if start_s <= sample.time_s <= end_s]

    def _run(self) -> None:
        while not self._ended.is_set():
            for name, process in self._processes.items():
                with suppress(psutil.Error):
                    self.samples[name].append(sampled(process))
            self._ended.wait(_EVERY_S)


def sampled(process: psutil.Process) -> Sample:
    """What it and its children took so far. Memory that they share counts once for each."""
    cpu_s = rss = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            cpu_s += times.user + times.system
            rss += each.memory_info().rss
    return Sample(time.time(), cpu_s, rss / 2**20)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def _stop(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """The group was made by us, and has the process's own number."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
