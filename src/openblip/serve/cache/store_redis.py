"""Bytes in Redis or Valkey, shared by all processes that name the same database.

redis-py is asked for one attempt an operation: the cache bounds its time, and a request goes on without it anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from openblip.serve.cache.stores import Lease, StoreFailure

_MOST_CONNECTIONS = 32


def connection_pool(url: str, timeout_s: float) -> BlockingConnectionPool:
    """Few connections, one attempt an operation; whoever uses them cancels what takes too long."""
    return BlockingConnectionPool.from_url(
        url,
        max_connections=_MOST_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # no greeting: a new connection costs no round trip more
        driver_info=None,
    )


class RedisStore:
    """Values as strings with an expiry, leases as locks of redis-py."""

    shared = True

    def __init__(self, url: str, timeout_s: float) -> None:
        self._redis = Redis.from_pool(connection_pool(url, timeout_s))
        self._token = uuid4().hex.encode("ascii")

    async def open(self) -> None:
        """Say ping; a server that is down may come up later."""
        with translated():
            await self._redis.ping()

    async def close(self) -> None:
        """Close all connections."""
        with translated():
            await self._redis.aclose()

    async def get(self, key: str) -> bytes | None:
        """What is kept there."""
        with translated():
            value: bytes | None = await self._redis.get(key)
            return value

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value there, whatever was there before."""
        with translated():
            await self._redis.set(key, value, px=max(1, round(ttl_s * 1000)))

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """The lock of this key, or None if another holds it."""
        lock = Lock(self._redis, _lock_name(key), timeout=seconds, blocking=False, thread_local=False)
        with translated():
            return RedisLease(lock) if await lock.acquire(token=self._token) else None

    async def look(self, key: str) -> tuple[bool, bytes | None]:
        """Whether another holds the lock, and then the value: a holder stores before it gives the lock back.

        A lock of ours is one whose reply was lost: who waits here holds none. One without an expiry is nobody's.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.pttl(_lock_name(key))
        pipeline.get(_lock_name(key))
        pipeline.get(key)
        with translated():
            left_ms, token, value = await pipeline.execute(raise_on_error=False)
            for answer in (left_ms, value):
                if isinstance(answer, Exception):
                    raise answer
        return left_ms > 0 and token != self._token, value


class RedisLease:
    """A lock of redis-py, renewed and released by scripts that look at its token first."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def renew(self) -> None:
        """Hold it from now on for its whole time; nothing happens where it is lost."""
        with translated(), suppress(exceptions.LockError):
            await self._lock.reacquire()

    async def release(self) -> None:
        """Give it back; nothing happens where it is lost."""
        with translated(), suppress(exceptions.LockError):
            await self._lock.release()


def _lock_name(key: str) -> str:
    return f"{key}:lock"


@contextmanager
def translated() -> Iterator[None]:
    """Errors of redis-py, and of a server that does not speak its protocol, as StoreFailure."""
    try:
        yield
    except (exceptions.RedisError, OSError, ValueError, TypeError, LookupError, EOFError) as error:
        raise _failure(error) from error


def _failure(error: Exception) -> StoreFailure:
    match error:
        case exceptions.AuthenticationError() | exceptions.AuthorizationError() | exceptions.NoPermissionError():
            return StoreFailure("login")
        case exceptions.TimeoutError() | TimeoutError():
            return StoreFailure("timeout")
        case exceptions.ConnectionError() | OSError():
            return StoreFailure("connection")
        case exceptions.OutOfMemoryError():
            return StoreFailure("full", answered=True)
        case exceptions.ResponseError() if str(error).startswith("WRONGTYPE"):
            return StoreFailure("wrong_type", answered=True)
        case exceptions.ResponseError() if str(error).startswith("NOAUTH"):
            return StoreFailure("login")
        case exceptions.ResponseError() | exceptions.LockError():
            return StoreFailure("error", answered=True)
    return StoreFailure("rubbish")  # not the protocol of Redis
