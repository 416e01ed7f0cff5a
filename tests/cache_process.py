"""Processes that use a cache, for the tests.

cache_process.py URL KEY SECONDS START: at the time START, ask Redis for one key; prints "computing" when it begins to
compute, then the value and whether it was cached.
cache_process.py FOLDER: keep one result after another on disk until killed; prints the number of each one that is kept.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from openblip.serve.cache import CacheSettings, ResultCache


async def main(url: str, key: str, seconds: float, start: float) -> None:
    async def compute() -> bytes:
        sys.stdout.write("computing\n")
        sys.stdout.flush()
        await asyncio.sleep(seconds)
        return f"by {os.getpid()}".encode()

    cache = ResultCache(CacheSettings(url=url, lock_s=0.5))
    await cache.open()
    await asyncio.sleep(max(0.0, start - time.time()))
    value, cached = await cache.get_or_compute(key, compute)
    sys.stdout.write(f"{value.decode()} {cached}\n")
    await cache.close()


async def fill(folder: str) -> None:
    kept = 0

    def count(event: str) -> None:
        nonlocal kept
        if event == "stored":
            sys.stdout.write(f"{kept}\n")
            sys.stdout.flush()
            kept += 1

    async def compute() -> bytes:
        return b"%d" % kept * 20_000

    cache = ResultCache(CacheSettings(folder=Path(folder), timeout_s=2.0, lock_s=4.0), count)
    await cache.open()
    while True:
        before = kept
        await cache.get_or_compute(f"{kept}", compute)
        while kept == before:
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(fill(sys.argv[1]))
    else:
        asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
