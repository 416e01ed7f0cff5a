"""Results that are computed once: kept on disk or in Redis, found again, and never in the way of a request.

Knows bytes under keys; what a key covers and what the bytes say is the caller's. redis-py and diskcache are used
directly, behind `Store`. cashews, which has both, pickles values, does not tell a failure from a miss, waits for a lock
in steps of a fixed length, and keeps the counts of its circuit breaker in the very store that fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

from openblip.errors import MissingExtra
from openblip.serve.cache.flight import Flight
from openblip.serve.cache.settings import NOWHERE, CacheSettings
from openblip.serve.cache.stores import Lease, Store, StoreFailure
from openblip.serve.circuit import Circuit

T = TypeVar("T")
Compute = Callable[[], Awaitable[bytes]]

FAILURES = ("timeout", "connection", "login", "full", "wrong_type", "rubbish", "error")
"""Kinds of failed operations of a store, as `count` is told."""
EVENTS = ("hit", "miss", "joined", "shared", "stored", "too_large", "skipped", "opened", "closed", *FAILURES)
"""All that `count` is told. A call of `get_or_compute` is a hit, a miss, or joined another call of this process; a miss
may be shared: another process computed it. Skipped is an operation that an open circuit spared."""

_RESULT, _ALIAS = "openblip:1:result:", "openblip:1:alias:"
_OPEN_S, _LOCAL_OPEN_S, _LOCAL_WRITE_S = 1.0, 30.0, 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.02
_MAGIC = b"oblip\x01"
_DIGEST_BYTES = 16
_SEAL_BYTES = len(_MAGIC) + _DIGEST_BYTES

_log = logging.getLogger(__name__)


def _count_nothing(event: str) -> None:
    """For those who do not measure."""


class ResultCache:
    """Bytes by key, computed once however many ask at the same time.

    Used in one event loop, between `open` and `close`. Nothing that happens to the store reaches a caller: what cannot
    be read is computed. A store that fails costs a call `settings.timeout_s` beyond the computation, one that is slow
    at most three times that; a call that waits for another process goes on alone after `settings.wait_s`. `count` is
    told EVENTS.
    """

    def __init__(self, settings: CacheSettings, count: Callable[[str], None] = _count_nothing) -> None:
        self._settings = settings
        self._count = count
        self._store = _store_of(settings)
        self._circuit = Circuit(settings.circuit_failures, settings.circuit_retry_s)
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def circuit_open(self) -> bool:
        """Whether the store is left alone at present, because it kept failing."""
        return self._circuit.is_open

    async def open(self) -> None:
        """Open the store. A server that is down is no error; raises OptionError for a folder that cannot be used."""
        if self._store is None:
            return
        with suppress(StoreFailure):
            await self._ask(lambda store: store.open(), _OPEN_S if self._store.shared else _LOCAL_OPEN_S)

    async def close(self) -> None:
        """Finish what is being stored, cancel what is being computed, and close the store."""
        for flight in list(self._flights.values()):
            flight.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=4 * self._settings.timeout_s)
        if self._store is not None:
            with suppress(StoreFailure, TimeoutError):
                async with asyncio.timeout(_OPEN_S):
                    await self._store.close()

    async def get_or_compute(self, key: str, compute: Compute) -> tuple[bytes, bool]:
        """The value of a key, and whether it was there already: False for all who waited for its computation.

        The first caller's `compute` serves all who come before it ends; its exception reaches each of them and is not
        kept. It is cancelled when none of them waits any more.
        """
        flight = self._flights.get(key)
        if flight is not None and flight.serves:
            self._count("joined")
        else:
            flight = self._flights[key] = Flight()
            flight.task = self._start(self._fly(flight, key, compute))
            flight.task.add_done_callback(partial(self._landed, key, flight))
        return await flight.wait()

    async def get(self, key: str) -> bytes | None:
        """The value of a key, or None: where `get_or_compute` does not suit, since it comes in pieces."""
        value, _ = await self._look_up(_RESULT + key)
        return value

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value of a key, in the background: it takes none of the caller's time."""
        self._start(self._write(_RESULT + key, value))

    async def get_alias(self, key: str) -> str | None:
        """The short text that `set_alias` kept under a key, or None."""
        try:
            value = await self._fetch(_ALIAS + key)
        except StoreFailure:
            return None
        return None if value is None else value.decode("utf-8")

    async def set_alias(self, key: str, value: str) -> None:
        """Keep a short text under a key, in the background: it takes none of the caller's time."""
        self._start(self._write(_ALIAS + key, value.encode("utf-8")))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _landed(self, key: str, flight: Flight, _: asyncio.Task[None]) -> None:
        flight.cancel()  # where the computation cancelled itself
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(self, flight: Flight, key: str, compute: Compute) -> None:
        """Find the value for all who wait, or compute and store it; who comes while it is stored finds this flight."""
        name = _RESULT + key
        lease = None
        try:
            value, up = await self._look_up(name)
            if value is not None:
                return flight.succeed(value, cached=True)
            if up:
                lease, value = await self._claim(name)
            if value is not None:
                self._count("shared")
                return flight.succeed(value, cached=False)
            async with self._renewed(lease):
                value = await compute()
            flight.succeed(value, cached=False)
            await self._write(name, value)
        except Exception as error:  # noqa: BLE001 (whatever the computation raises is for its callers)
            flight.fail(error)
        finally:
            if lease is not None:
                await self._release(lease)

    async def _look_up(self, name: str) -> tuple[bytes | None, bool]:
        """What is kept under a name, and whether it makes sense to ask other processes for it."""
        shared = self._store is not None and self._store.shared
        try:
            value = await self._fetch(name)
        except StoreFailure as failure:
            value, shared = None, shared and failure.answered
        self._count("miss" if value is None else "hit")
        return value, shared

    async def _claim(self, name: str) -> tuple[Lease | None, bytes | None]:
        """The lease to compute under, or what another process computed meanwhile; neither where both fail.

        Whoever sees a lease end without a value (its holder failed or died, or the value was not kept) computes.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.wait_s
        pause_s = _FIRST_PAUSE_S
        lease = None
        try:
            lease = await self._take_lease(name)
            if lease is not None:  # another may have finished since we looked
                return lease, await self._fetch(name)
            while clock() < deadline:
                await asyncio.sleep(pause_s)
                pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)
                held, sealed = await self._ask(lambda store: store.look(name))
                value = self._unsealed(name, sealed)
                if value is not None:
                    return None, value
                if not held:
                    return await self._take_lease(name), None
        except StoreFailure:
            return lease, None
        return None, None

    async def _take_lease(self, name: str) -> Lease | None:
        return await self._ask(lambda store: store.lease(name, self._settings.lock_s))

    @asynccontextmanager
    async def _renewed(self, lease: Lease | None) -> AsyncIterator[None]:
        """Renew a lease while the body runs."""
        if lease is None:
            yield
            return
        renewing = self._start(self._renew(lease))
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._settings.lock_s / 3)
            with suppress(StoreFailure):
                await self._ask(lambda _: lease.renew())

    async def _release(self, lease: Lease) -> None:
        with suppress(StoreFailure):
            await self._ask(lambda _: lease.release())

    async def _fetch(self, name: str) -> bytes | None:
        """What is kept under a name, with None for rubbish. Raises StoreFailure."""
        if self._store is None:
            return None
        return self._unsealed(name, await self._ask(lambda store: store.get(name)))

    async def _write(self, name: str, value: bytes) -> None:
        if self._store is None:
            return
        if len(value) > self._settings.max_value_bytes:
            self._count("too_large")
            return
        with suppress(StoreFailure):
            # Nobody waits for it. On disk it may take its time: a busy processor is no reason to leave the disk alone.
            bound_s = None if self._store.shared else max(_LOCAL_WRITE_S, self._settings.timeout_s)
            await self._ask(lambda store: store.put(name, _seal(name, value), self._settings.ttl_s), bound_s)
            self._count("stored")

    def _unsealed(self, name: str, sealed: bytes | None) -> bytes | None:
        """The value of what was found; None, and counted, where `_seal` did not make it for this name."""
        if sealed is None:
            return None
        value = sealed[_SEAL_BYTES:]
        if sealed[:_SEAL_BYTES] != _seal(name, value)[:_SEAL_BYTES]:
            self._count("rubbish")
            return None
        return value

    async def _ask(self, operation: Callable[[Store], Awaitable[T]], timeout_s: float | None = None) -> T:
        """One operation of the store in its time, unless the circuit is open. Raises StoreFailure, counted."""
        assert self._store is not None
        if not self._circuit.allows():
            self._count("skipped")
            raise StoreFailure("skipped")
        try:
            async with asyncio.timeout(timeout_s or self._settings.timeout_s):
                result = await operation(self._store)
        except TimeoutError:
            raise self._noted(StoreFailure("timeout")) from None
        except StoreFailure as failure:
            raise self._noted(failure) from None
        except BaseException:
            self._circuit.abandoned()
            raise
        self._answered()
        return result

    def _noted(self, failure: StoreFailure) -> StoreFailure:
        """Count a failure and tell the circuit; a store that answered with an error is up."""
        self._count(failure.kind)
        if failure.answered:
            self._answered()
        elif self._circuit.failed():
            self._count("opened")
            _log.warning("cache %s: left alone for a while (%s)", self._settings.place, failure.kind)
        return failure

    def _answered(self) -> None:
        if self._circuit.succeeded():
            self._count("closed")
            _log.warning("cache %s: answers again", self._settings.place)


def _seal(name: str, value: bytes) -> bytes:
    """The value behind a checksum that covers its name too: another key's value is rubbish."""
    return _MAGIC + blake2b(value, digest_size=_DIGEST_BYTES, key=_short(name)).digest() + value


def _short(name: str) -> bytes:
    return blake2b(name.encode("utf-8"), digest_size=_DIGEST_BYTES).digest()


def _store_of(settings: CacheSettings) -> Store | None:
    """The store that the settings name. Raises MissingExtra."""
    if settings.url == NOWHERE:
        return None
    if settings.url:
        try:
            from openblip.serve.cache.store_redis import RedisStore
        except ImportError as error:
            raise MissingExtra("redis", "serve") from error
        return RedisStore(settings.url, settings.timeout_s)
    try:
        from openblip.serve.cache.store_disk import DiskStore
    except ImportError as error:
        raise MissingExtra("diskcache-community", "serve") from error
    assert settings.folder is not None
    return DiskStore(settings.folder, settings.max_bytes, settings.timeout_s)
