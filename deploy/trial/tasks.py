"""A service task as a process of its own: `openblip serve`, on one core. Knows no balancer and no other task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.processes import free_port
from openblip.errors import OptionError


@dataclass(frozen=True)
class Recipe:
    """How tasks are started. settings: variables of the service beside those; compiled: folder of compiled graphs that
    all share; cores: task n is pinned to the n-th of them, in turn; none pins nothing. program: what gets --model and
    --port."""

    model: str
    compiled: Path
    threads: int = 1
    cores: tuple[int, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (sys.executable, "-m", "openblip", "serve")

    def __post_init__(self) -> None:
        if unknown := set(self.cores) - os.sched_getaffinity(0):
            raise OptionError(f"cores {sorted(unknown)} are not this machine's: give some of {os.sched_getaffinity(0)}")


class TaskProcess:
    """Started at once; it is ready some seconds later."""

    def __init__(self, recipe: Recipe, number: int, log: Path) -> None:
        self.number, self.port, self.log = number, free_port(), log
        self.began_s = time.time()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLIP_")}
        environment |= {
            "OPENBLIP_CACHE": str(recipe.compiled), "OPENBLIP_MODEL": recipe.model, "OPENBLIP_PAGE": "false",
            "OPENBLIP_THREADS": str(recipe.threads), "OPENBLIP_PORT": str(self.port), **recipe.settings,
        }  # fmt: skip
        command = [*recipe.program, "--model", recipe.model, "--port", str(self.port)]
        if recipe.cores:
            core = recipe.cores[number % len(recipe.cores)]
            command = ["taskset", "--cpu-list", str(core), *command]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def is_ready(self) -> bool:
        """What /readyz says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:  # URLError is one
            return False

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        """SIGTERM, as ECS sends it."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._send(signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """It computes nothing until `resume`."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
