"""A real `openblip serve` on a free loopback port, for the tests, and a tiny model that it can serve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from openblip.checkpoint import save_checkpoint
from tiny import random_tensors, write_vocabulary
from tiny_blip import WHOLE

START_S = 60.0


class Server:
    """A running service. url: of its root; log: the file that its standard error goes to."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log, self.url = process, log, ""

    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last one may not be whole yet
                found.append(json.loads(line))
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def counted(self, sample: str) -> float:
        """A figure of /metrics by its full name, labels and all; 0 where it is not there yet."""
        values = dict(line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines() if line[:1] != "#")
        return float(values.get(sample, 0.0))

    def wait_listening(self) -> None:
        """Until the address is known."""
        self._wait(lambda: any(line.get("message") == "listening" for line in self.lines()), "listen")
        [self.url] = [line["address"] for line in self.lines() if line.get("message") == "listening"]

    def wait_ready(self) -> None:
        """Until /readyz says so."""
        self._wait(lambda: self.get("/readyz")[0] == 200, "get ready")

    def stop(self, within_s: float = 30.0) -> int:
        """SIGTERM, and the exit code; SIGKILL and an AssertionError where it takes longer."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the service did not end in {within_s} s:\n{self._tail()}") from None

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}:\n{self._tail()}")
            with suppress(OSError):
                if done():
                    return
            time.sleep(0.02)
        raise AssertionError(f"the service did not {what} in {START_S} s:\n{self._tail()}")

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8")[-3000:]


@contextmanager
def serving(
    folder: Path, *options: str, settings: Mapping[str, str] | None = None, ready: bool = True
) -> Iterator[Server]:
    """The service as its own process, ended when the block is left.

    folder: takes its caches and its log. options: of `openblip serve`. settings: its environment variables, beside
    PATH and the like; none of the caller's own OPENBLIP_ variables reach it. ready: wait until it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLIP_")}
    environment |= {"OPENBLIP_CACHE": str(folder / "cache"), **(settings or {})}
    command = [sys.executable, "-m", "openblip", "serve", "--port", "0", *options]
    log = folder / "serve.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
    server = Server(process, log)
    try:
        server.wait_listening()
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def whole_model(folder: Path) -> Path:
    """Write a tiny random model that does every task beside mini, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_vocabulary(folder)
    save_checkpoint(folder / "tiny", WHOLE, random_tensors(WHOLE), vocabulary)
    return folder / "tiny"
