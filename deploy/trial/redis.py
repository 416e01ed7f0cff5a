"""A primary and its replica behind the balancer's one address, and a failover between them. Knows no task."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.load.processes import free_port, running

_START_S = 10.0


@dataclass
class Pair:
    """Two redis-servers; the first is the primary until `fail_over`."""

    ports: tuple[int, int]
    processes: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]

    @property
    def pids(self) -> dict[str, int]:
        """Those that are there, by name."""
        return {f"redis{number}": each.pid for number, each in enumerate(self.processes) if psutil.pid_exists(each.pid)}

    def empty(self) -> None:
        """Whichever is the primary forgets everything."""
        for port in self.ports:
            with suppress(RedisError), Redis(port=port, socket_timeout=2.0) as client:
                client.flushall()

    def fail_over(self, after_s: float) -> None:
        """The primary is killed; so much later the replica is made the primary, with what it holds."""
        self.processes[0].kill()
        self.processes[0].wait()
        time.sleep(after_s)
        with Redis(port=self.ports[1], socket_timeout=2.0) as client:
            client.replicaof("NO", "ONE")


@contextmanager
def redis_pair(folder: Path) -> Iterator[Pair]:
    """Nothing is kept on disk. Raises FileNotFoundError where redis-server is missing."""
    found = shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("redis-server is missing: install the package of that name")
    ports = (free_port(), free_port())
    with ExitStack() as stack:
        processes = []
        for port in ports:
            command = [found, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            command += ["--dir", str(folder), "--repl-diskless-sync-delay", "0"]
            processes.append(stack.enter_context(running(command, folder / f"redis-{port}.log")))
            _wait(port)
        with Redis(port=ports[1], socket_timeout=2.0) as client:
            client.replicaof("127.0.0.1", ports[0])
        yield Pair(ports, (processes[0], processes[1]))


def _wait(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with suppress(RedisError), Redis(port=port, socket_timeout=1.0) as client:
            client.ping()
            return
        time.sleep(0.02)
    raise RuntimeError(f"redis-server on port {port} does not answer within {_START_S:g} s: see its log")
