"""Work for the result cache: computations that are counted, and clients that ask. Knows no test."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from openblip.serve.cache import CacheSettings, ResultCache
from openblip.serve.cache.results import EVENTS

TIMEOUT_S = 0.1
SLACK_S = 0.25  # scheduling of a busy machine; the stated bounds are timeouts beyond the computation
PREFIX = "openblip:1:result:"


class Work:
    """A computation that counts how often it began, ended and was cancelled."""

    def __init__(self, value: bytes = b'{"caption": "a dog"}', seconds: float = 0.0) -> None:
        self.value = value
        self.seconds = seconds
        self.begun = self.cancelled = 0

    async def __call__(self) -> bytes:
        self.begun += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.value


def with_cache(
    settings: CacheSettings, body: Callable[[ResultCache], Awaitable[Any]], events: Counter[str] | None = None
) -> Counter[str]:
    """Run the body with an open cache, in a loop that reports nothing lost; what was counted."""
    counts = Counter() if events is None else events
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        cache = ResultCache(settings, lambda event: counts.update([event]))
        await cache.open()
        try:
            await body(cache)
        finally:
            await cache.close()

    asyncio.run(run())
    assert complaints == []
    assert set(counts) <= set(EVENTS)
    return counts


async def stored(cache: ResultCache) -> None:
    """Wait until nothing is being stored any more."""
    if cache._tasks:
        await asyncio.wait(cache._tasks)


async def load(cache: ResultCache, seconds: float, clients: int = 8, keys: int = 50) -> list[float]:
    """Clients that ask one key after another; every answer is checked, and its time beyond the computation returned."""
    lateness: list[float] = []
    work_s, end = 0.01, time.monotonic() + seconds

    async def client(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            turn += 1
            key = f"{turn * 7 % keys}"
            began = time.monotonic()
            value, _ = await cache.get_or_compute(key, Work(key.encode() * 50, work_s))
            lateness.append(time.monotonic() - began - work_s)
            assert value == key.encode() * 50

    await asyncio.gather(*(client(number * 31) for number in range(clients)))
    return lateness
