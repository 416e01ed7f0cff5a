"""The servers that are measured: how each is started and when it is ready. Knows no load."""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import psutil

from benchmarks.load.mix import CONTENT_TYPE, form
from benchmarks.load.processes import free_port, redis_server, running, wait_for

CHECKOUT = Path(__file__).resolve().parents[2]
_READY_S = 300.0  # a first start of base weights compiles graphs on a busy machine


@dataclass(frozen=True)
class Server:
    """command: gets the port and Redis's URL; redis: whether it is given one; environment: beside ours;
    redis_variable: the variable that shall hold the URL."""

    name: str
    title: str
    command: Callable[[int, str], list[str]]
    redis: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    redis_variable: str = ""


@dataclass(frozen=True)
class Running:
    """A server that is ready. start_s: how long that took. redis: its process."""

    url: str
    pid: int
    start_s: float
    redis: psutil.Process | None

    @property
    def pids(self) -> dict[str, int]:
        """What is to be watched."""
        return {"server": self.pid, **({"redis": self.redis.pid} if self.redis else {})}


def openblip(model: str, precision: str | None, threads: int, *, cache: str, kept: Path) -> Server:
    """Ours. cache: "disk", "redis" or "none"; kept: folder of compiled graphs, shared by the runs."""
    environment = {"OPENBLIP_CACHE": str(kept), "OPENBLIP_THREADS": str(threads)}
    if precision:
        environment["OPENBLIP_PRECISION"] = precision
    if cache == "none":
        environment["OPENBLIP_CACHE_URL"] = "none"

    def command(port: int, url: str) -> list[str]:
        return [sys.executable, "-m", "openblip", "serve", "--model", model, "--port", str(port)]

    name, title = f"openblip-{precision or 'default'}-{cache}", f"openblip {precision or ''}".strip()
    redis = cache == "redis"
    return Server(name, title, command, redis, environment, "OPENBLIP_CACHE_URL" if redis else "")


def tutorial(folder: Path, threads: int) -> Server:
    """Rival (a)."""

    def command(port: int, url: str) -> list[str]:
        return _module("rival_tutorial", str(folder), str(port), str(threads), url)

    return Server("tutorial", "FastAPI, transformers f32, Redis", command, redis=True)


def litserve(folder: Path, threads: int, precision: str, batch: int) -> Server:
    """Rival (b)."""

    def command(port: int, url: str) -> list[str]:
        return _module("rival_litserve", str(folder), str(port), str(threads), precision, str(batch))

    return Server(f"litserve-{precision}-{batch}", f"LitServe, transformers {precision}, batches of {batch}", command)


@contextmanager
def serving(server: Server, work: Path) -> Iterator[Running]:
    """Start it with empty caches, wait until it is ready, and stop it in the end, whatever happens."""
    folder = Path(mkdtemp(prefix=f"{server.name}-", dir=work))
    with ExitStack() as stack:
        url, redis = "", None
        if server.redis:
            url, redis = stack.enter_context(redis_server(folder))
        port, log = free_port(), folder / "server.log"
        environment = {"OPENBLIP_CACHE_FOLDER": str(folder / "results"), **server.environment}
        if server.redis_variable:
            environment[server.redis_variable] = url
        started = time.monotonic()
        process = stack.enter_context(running(server.command(port, url), log, environment, CHECKOUT))
        wait_for(lambda: status(f"http://127.0.0.1:{port}/readyz") == 200, process, _READY_S, log)
        yield Running(f"http://127.0.0.1:{port}", process.pid, time.monotonic() - started, redis)


def status(url: str) -> int:
    """Of a GET; 0 where nobody answers."""
    with suppress(OSError, http.client.HTTPException):
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
    return 0


def captions(url: str, pictures: Sequence[bytes], timeout_s: float = 120.0) -> list[str]:
    """The caption of each picture, asked one by one."""
    found = []
    for picture in pictures:
        request = urllib.request.Request(f"{url}/v1/caption", form([picture]), {"Content-Type": CONTENT_TYPE})
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            found.append(json.load(response)["results"][0]["captions"][0]["text"])
    return found


def counters(url: str) -> dict[str, float]:
    """What /metrics counts, "name{label=value}" by number; empty where there is no such route."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
            text = response.read().decode()
    except OSError:
        return {}
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.load.{name}", *arguments]
