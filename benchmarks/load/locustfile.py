"""The users, for Locust. One class a way of asking: name it on the command line.

    locust -f benchmarks/load/locustfile.py --headless --host http://127.0.0.1:8000 -u 16 -t 60s --pictures FOLDER Mix

FOLDER holds what `python -m benchmarks.load --pictures-only FOLDER` writes. In one process only: the next fresh
picture is counted in memory. A refusal (429) is waited out as its Retry-After says, and is no failure.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import time
from typing import Any

import gevent
from locust import between, constant, events
from locust.contrib.fasthttp import FastHttpUser

from benchmarks.load.mix import CONTENT_TYPE, TASKS, fields_of, form
from benchmarks.load.pictures import zipf
from benchmarks.load.records import Record, verdict, write

_LONGEST_WAIT_S = 5.0
_HEADERS = {"Content-Type": CONTENT_TYPE}


class Supply:
    """What there is to send. fresh: files that nobody was sent yet; pool: pictures to repeat, the most popular
    first."""

    def __init__(self, options: Any) -> None:
        folder = Path(options.pictures)
        self.random = Random(options.seed)
        self.fresh = iter(sorted((folder / "fresh").glob("*.jpg")))
        self.pool = [file.read_bytes() for file in sorted((folder / "pool").glob("*.jpg"))]
        self.large = [form([file.read_bytes()]) for file in sorted((folder / "large").glob("*.jpg"))]
        self.repeats = float(options.repeats)
        self.ranks: Iterator[int] = zipf(max(1, len(self.pool)), options.zipf, self.random)


class State:
    """Of this process: the supply, and what was seen."""

    supply: Supply
    records: list[Record]
    environment: Any


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--pictures", required=True, help="folder with fresh, pool and large")
    parser.add_argument("--records", default="", help="file to write every request to, as JSON lines")
    parser.add_argument(
        "--repeats", type=float, default=0.6, help="share of the mix's pictures that come from the pool"
    )
    parser.add_argument("--zipf", type=float, default=1.0, help="exponent of their popularity")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")


def _start(environment: Any, **_: Any) -> None:
    State.supply, State.records, State.environment = Supply(environment.parsed_options), [], environment


def _quit(environment: Any, **_: Any) -> None:
    if path := environment.parsed_options.records:
        part = Path(f"{path}.part")
        write(State.records, part)
        part.replace(path)


events.init_command_line_parser.add_listener(_options)
events.test_start.add_listener(_start)
events.quitting.add_listener(_quit)


class _User(FastHttpUser):  # type: ignore[misc]
    abstract = True
    network_timeout = connection_timeout = 300.0

    def fresh(self) -> bytes:
        """A picture that nobody was sent yet; ends the test where there is none left."""
        file = next(State.supply.fresh, None)
        if file is None:
            State.environment.runner.quit()
            raise gevent.GreenletExit
        return file.read_bytes()

    def ask(self, task: str, body: bytes) -> None:
        """Send it and note what came back."""
        started = time()
        with self.client.post(
            f"/v1/{task}", data=body, headers=_HEADERS, name=task, catch_response=True
        ) as response:  # fmt: skip
            seconds = time() - started
            content = response.content or b""
            status, cached = int(response.status_code), False
            if status == 200:
                status, cached = verdict(content)
            if status in (200, 429):
                response.success()
            else:
                response.failure(f"{status}: {content[:200]!r}")
            users = State.environment.runner.user_count
            State.records.append(Record(started, seconds, task, status, cached, len(body), users))
        if status == 429:
            gevent.sleep(min(_LONGEST_WAIT_S, float(response.headers.get("retry-after") or 1.0)))


def _caption_fresh(user: _User) -> None:
    user.ask("caption", form([user.fresh()]))


def _caption_large(user: _User) -> None:
    user.ask("caption", State.supply.random.choice(State.supply.large))


def _mixed(user: _User) -> None:
    supply = State.supply
    task = supply.random.choices(list(TASKS), weights=list(TASKS.values()))[0]
    repeated = supply.random.random() < supply.repeats
    picture = supply.pool[next(supply.ranks)] if repeated else user.fresh()
    user.ask(task, form([picture], fields_of(task, supply.random)))


class Uncached(_User):
    """Captions, each of a picture that was never sent: what the model can do."""

    wait_time = constant(0)
    tasks = (_caption_fresh,)


class Cached(_User):
    """Captions of a few photos of 500 kB, over and over: what the cache can do."""

    wait_time = constant(0)
    tasks = (_caption_large,)


class Mix(_User):
    """All tasks about pictures of all sizes, some of them popular."""

    wait_time = between(0.1, 0.5)
    tasks = (_mixed,)
