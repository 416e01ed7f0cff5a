"""Bytes in a bounded SQLite file below a folder.

diskcache-community is the kept fork of diskcache, which had no release since 2023 and has CVE-2025-69872: it unpickles
what it finds in its folder. The fork's SafeDisk does not, and reads nothing outside the folder.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from errno import EDQUOT, ENOSPC
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

from diskcache_community import Cache, SafeDisk, Timeout

from openblip.errors import OptionError
from openblip.serve.cache.stores import Lease, StoreFailure

T = TypeVar("T")


class DiskStore:
    """One thread reads and one writes, so that no read waits for a write."""

    shared = False

    def __init__(self, folder: Path, max_bytes: int, timeout_s: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._cache: Cache | None = None
        self._reader = ThreadPoolExecutor(1, "openblip-cache-reader")
        self._writer = ThreadPoolExecutor(1, "openblip-cache-writer")

    async def open(self) -> None:
        """Open or create the file; one that is no database is replaced. Raises OptionError for a useless folder."""
        self._cache = await asyncio.get_running_loop().run_in_executor(self._writer, self._open)

    def _open(self) -> Cache:
        try:
            try:
                return self._connect()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # not a database, or a broken one
                for end in ("", "-wal", "-shm"):
                    (self._folder / f"cache.db{end}").unlink(missing_ok=True)
                return self._connect()
        except (OSError, Timeout, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error) or "locked"
            raise OptionError(f"the cache folder {self._folder} cannot be used ({reason}): name another one") from None

    def _connect(self) -> Cache:
        return Cache(
            str(self._folder),
            timeout=self._timeout_s,
            disk=SafeDisk,
            size_limit=self._max_bytes,
            eviction_policy="least-recently-stored",  # the others write at every read
        )

    async def close(self) -> None:
        """Close the file in both threads."""
        cache, self._cache = self._cache, None
        for thread in (self._reader, self._writer):
            if cache is not None:
                await _in(thread, cache.close)
            thread.shutdown(wait=False)

    async def get(self, key: str) -> bytes | None:
        """What is kept there."""
        value = await _in(self._reader, lambda: self._opened().get(key))
        if value is None or isinstance(value, bytes):
            return value
        raise StoreFailure("wrong_type", answered=True)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value there; the oldest go where the limit is reached."""
        await _in(self._writer, lambda: self._opened().set(key, value, expire=ttl_s))

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """Never: no other process shares it."""
        return None

    async def look(self, key: str) -> tuple[bool, bytes | None]:
        """No lease, and the value."""
        return False, await self.get(key)

    def _opened(self) -> Cache:
        if self._cache is None:
            raise StoreFailure("connection")
        return self._cache


async def _in(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """The work done in this thread; cancelled before it began, it is not done at all. Raises StoreFailure."""
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    except Timeout as error:  # another process writes
        raise StoreFailure("timeout") from error
    except OSError as error:
        raise StoreFailure("full" if error.errno in (ENOSPC, EDQUOT) else "error") from error
    except sqlite3.Error as error:
        raise StoreFailure("full" if "full" in str(error) else "error") from error
    except (UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:  # an entry that is no value
        raise StoreFailure("rubbish", answered=True) from error
