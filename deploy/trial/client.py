"""Requests at given times, whether or not others were answered (an open loop), as a process of its own:
python -m deploy.trial.client PLAN.json. Knows HTTP/1.1 as far as it needs it, to cost little beside the service.

A time counts from the moment at which a request was to be sent. With `retry` a request that fails is sent again just as
`openblip.Client` does it, by its very rules.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.load.mix import CONTENT_TYPE, form
from benchmarks.load.records import verdict
from openblip.client.retries import STATUSES, Attempts, Retries
from openblip.errors import ServiceError

_TRY_S = 60.0
_LEAD_S = 0.5
_MOST_IDLE_S = 5.0  # as httpx has it, and so openblip.Client


@dataclass(frozen=True)
class Plan:
    """times_s: of the requests, from the begin; picture n of the folder goes with request n, but a share of them are of
    the first picture; again: from the first one on where there are too few. records: the file that what came back is
    written to; beside it, with the ending .about, when the first second began and what CPU time the client took."""

    port: int
    pictures: str
    records: str
    times_s: Sequence[float]
    retry: bool = False
    hot: float = 0.0
    again: bool = False

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Sent:
    """start_s: Unix time at which it was to be sent; status: the last one, 0 where the connection broke, -1 where an
    answer of 200 holds no caption; first: of the first try."""

    start_s: float
    seconds: float
    status: int
    first: int
    tries: int
    cached: bool

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.start_s + self.seconds


def read(path: Path) -> list[Sent]:
    """In the order in which they were to be sent."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted((Sent(*json.loads(line)) for line in lines), key=lambda sent: sent.start_s)


class Connections:
    """Kept alive and used again, the latest first, but for those that have been idle for so long: the other side may
    close them just when something is sent."""

    def __init__(self, port: int, most_idle_s: float = _MOST_IDLE_S) -> None:
        self._port, self._most_idle_s = port, most_idle_s
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since_s, reader, writer = self._idle.pop()
            if time.monotonic() - since_s < self._most_idle_s and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def post(self, body: bytes) -> tuple[int, bytes, str]:
        """Status, content and Retry-After; status 0 where the connection breaks, or nothing comes in a minute."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_TRY_S):
                reader, writer = await self._connection()
                head = f"POST /v1/caption HTTP/1.1\r\nhost: service\r\ncontent-type: {CONTENT_TYPE}\r\n"
                writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                status, headers, content = await _answer(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            if writer is not None:
                writer.close()
            return 0, b"", ""
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((time.monotonic(), reader, writer))
        return status, content, headers.get("retry-after", "")

    def close(self) -> None:
        """All of them."""
        for _, _, writer in self._idle:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if "content-length" in headers:
        return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
    headers["connection"] = "close"
    return int(head[0].split()[1]), headers, await reader.read()


async def ask(connections: Connections, body: bytes, due_s: float, retry: bool) -> Sent:
    """One request and, where it may help, again."""
    attempts = Attempts(Retries() if retry else Retries(times=0))
    first, tries = None, 0
    while True:
        status, content, retry_after = await connections.post(body)
        cached = False
        if status == 200:
            status, cached = verdict(content)
        tries, first = tries + 1, status if first is None else first
        if status in STATUSES or status == 0:
            with suppress(ServiceError):
                await asyncio.sleep(attempts.wait_s(ServiceError("the service failed"), retry_after))
                continue
        return Sent(due_s, time.time() - due_s, status, first, tries, cached)


async def send(plan: Plan, bodies: Sequence[bytes], begin_s: float) -> list[Sent]:
    """All requests of a plan, each at its time."""
    connections = Connections(plan.port)
    asked: list[asyncio.Task[Sent]] = []
    for time_s, body in zip(plan.times_s, bodies, strict=True):
        await asyncio.sleep(max(0.0, begin_s + time_s - time.time()))
        asked.append(asyncio.create_task(ask(connections, body, begin_s + time_s, plan.retry)))
    found = [await each for each in asked]
    connections.close()
    return found


def bodies(plan: Plan) -> list[bytes]:
    """Of a plan's requests. Raises ValueError where the folder has too few pictures."""
    count, files = len(plan.times_s), sorted(Path(plan.pictures).glob("*.jpg"))
    if not files or (count > len(files) and not plan.again):
        raise ValueError(f"{count} requests, but {len(files)} pictures in {plan.pictures}: write more of them")
    forms = [form([file.read_bytes()]) for file in files[:count]]
    every = round(1 / plan.hot) if plan.hot else count + 1
    return [forms[0] if number % every == 0 else forms[number % len(forms)] for number in range(count)]


def about(records: Path) -> Path:
    """The file beside the records."""
    return records.with_suffix(".about")


def _say(plan: Plan, **facts: float) -> None:
    path = about(Path(plan.records))
    path.with_suffix(".part").write_text(json.dumps(facts), encoding="utf-8")
    path.with_suffix(".part").rename(path)


def main() -> None:
    """Send what the plan says; write what came back."""
    import uvloop

    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    sent = bodies(plan)
    begin_s, used_s = time.time() + _LEAD_S, time.process_time()
    _say(plan, begin_s=begin_s)
    found = uvloop.run(send(plan, sent, begin_s))
    _say(plan, begin_s=begin_s, cpu_s=time.process_time() - used_s)
    rows = (json.dumps([getattr(sent, name) for name in Sent.__slots__]) + "\n" for sent in found)
    Path(plan.records).write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
