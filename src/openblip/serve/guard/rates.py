"""How often one client may ask: a sliding window per identity, shared in Redis where there is one.

Knows identities, not what they ask for. The counting is the library limits': its sliding window counter keeps two
numbers an identity, whatever the rate, where its moving window keeps a time for each request. Source of the method:
Cloudflare, "How we built rate limiting capable of scaling to millions of domains", 2017.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from openblip.errors import MissingExtra, OptionError
from openblip.serve.cache.settings import NOWHERE, CacheSettings
from openblip.serve.cache.stores import StoreFailure
from openblip.serve.circuit import Circuit

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

EVENTS = (
    *("allowed", "refused", "local", "opened", "closed", "skipped"),
    *("timeout", "connection", "login", "full", "wrong_type", "rubbish", "error"),
)
"""All that `count` is told: how each check ended; whether it was counted in this process alone because Redis failed;
what the circuit did; and the failures of Redis by kind, as for the cache."""

_PREFIX = "openblip:1:rate"
_LARGEST_AMOUNT = 1_000_000_000
_LONGEST_WINDOW_S = 366 * 86_400
_SUBNET_BITS = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What came of one check."""

    allowed: bool
    remaining: int
    """How many more requests are allowed at present."""
    reset_s: float
    """Seconds until one more than that is allowed, by the spread that the window assumes: Retry-After, rounded up."""


def identity(owner: str | None, address: str | None) -> str:
    """Who is counted: the owner of the key that was presented, else the address of the client.

    An IPv6 address counts with its whole /64, which is what one customer gets; an IPv4 address written as IPv6 counts
    as IPv4. Without an address (a Unix socket) all count together.
    """
    if owner is not None:
        return f"key:{owner}"
    try:
        parsed: IPv4Address | IPv6Address = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "address:unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return f"address:{parsed.ipv4_mapped}"
        bits = 128 - _SUBNET_BITS
        return f"address:{IPv6Address(int(parsed) >> bits << bits)}/{_SUBNET_BITS}"
    return f"address:{parsed}"


def parse_rate(rate: str) -> RateLimitItem:
    """A rate such as `600/minute`, `10/second` or `5000/6hours`. Raises OptionError and MissingExtra."""
    try:
        from limits import parse_many
    except ImportError as error:
        raise MissingExtra("limits", "serve") from error
    try:
        [item] = parse_many(rate)
    except ValueError:
        raise OptionError(
            f"the rate limit {rate[:50]!a} cannot be read: give one number and one span, as in 600/minute or 10/second"
        ) from None
    if not 1 <= item.amount <= _LARGEST_AMOUNT or not 1 <= item.get_expiry() <= _LONGEST_WINDOW_S:
        raise OptionError(
            f"the rate limit {rate[:50]!a} is out of range: give 1 to {_LARGEST_AMOUNT:,} requests in at most 1 year"
        )
    item.namespace = _PREFIX
    return item


def _count_nothing(event: str) -> None:
    """For those who do not measure."""


class RateLimit:
    """Requests of one identity in a sliding window; a refused request does not count.

    Used in one event loop, until `close`. `redis_url` is that of the cache: without it, or with "none", the counts are
    this process's own. A Redis that fails raises nothing and costs a check `timeout_s`: the process goes on with its
    own counts, which begin empty, and after `circuit_failures` in a row does not ask Redis for `circuit_retry_s`.
    `count` is told EVENTS.

    `limit` requests are allowed in `window_s` seconds.
    Raises OptionError for a rate or URL that cannot be used, and MissingExtra.
    """

    def __init__(
        self,
        rate: str,
        redis_url: str | None = None,
        *,
        timeout_s: float = 0.1,
        circuit_failures: int = 5,
        circuit_retry_s: float = 2.0,
        count: Callable[[str], None] = _count_nothing,
    ) -> None:
        self._item = parse_rate(rate)
        self.limit: int = self._item.amount
        self.window_s: int = self._item.get_expiry()
        self._count = count
        self._timeout_s = timeout_s
        self._circuit = Circuit(circuit_failures, circuit_retry_s)
        self._local = _local_limiter()
        self._shared = None
        self._place = ""
        if redis_url and redis_url != NOWHERE:
            self._place = CacheSettings(url=redis_url, timeout_s=timeout_s, lock_s=2 * timeout_s).place
            self._shared = _shared_limiter(redis_url, timeout_s)

    async def check(self, who: str) -> Verdict:
        """Count a request of `who` (see `identity`), and whether it is allowed. Raises nothing."""
        verdict = await self._check_shared(who)
        if verdict is None:
            if self._shared is not None:
                self._count("local")
            verdict = await self._ask(self._local, who)
        self._count("allowed" if verdict.allowed else "refused")
        return verdict

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._shared is None:
            return
        from openblip.serve.cache.store_redis import translated

        with suppress(StoreFailure, TimeoutError), translated():
            async with asyncio.timeout(1.0):
                await self._shared.storage.bridge.storage.aclose()

    async def _check_shared(self, who: str) -> Verdict | None:
        """The verdict of Redis, or None where it is not asked or fails."""
        if self._shared is None:
            return None
        if not self._circuit.allows():
            self._count("skipped")
            return None
        from openblip.serve.cache.store_redis import translated

        try:
            async with asyncio.timeout(self._timeout_s):
                with translated():
                    verdict = await self._ask(self._shared, who)
        except TimeoutError:
            self._failed(StoreFailure("timeout"))
            return None
        except StoreFailure as failure:
            self._failed(failure)
            return None
        except BaseException:
            self._circuit.abandoned()
            raise
        self._answered()
        return verdict

    async def _ask(self, limiter: SlidingWindowCounterRateLimiter, who: str) -> Verdict:
        allowed = await limiter.hit(self._item, who)
        stats = await limiter.get_window_stats(self._item, who)
        remaining = min(max(stats.remaining, 0), self.limit) if allowed else 0
        return Verdict(allowed, remaining, min(max(stats.reset_time - time.time(), 0.0), float(self.window_s)))

    def _failed(self, failure: StoreFailure) -> None:
        """Count a failure and tell the circuit; a Redis that answered with an error is up."""
        self._count(failure.kind)
        if failure.answered:
            self._answered()
        elif self._circuit.failed():
            self._count("opened")
            _log.warning("rate limit in %s: each process counts alone for a while (%s)", self._place, failure.kind)

    def _answered(self) -> None:
        if self._circuit.succeeded():
            self._count("closed")
            _log.warning("rate limit in %s: counts together again", self._place)


def _local_limiter() -> SlidingWindowCounterRateLimiter:
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    from openblip.serve.guard.rate_counters import Counters

    return SlidingWindowCounterRateLimiter(Counters())


def _shared_limiter(url: str, timeout_s: float) -> SlidingWindowCounterRateLimiter:
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    try:
        from openblip.serve.cache.store_redis import connection_pool
    except ImportError as error:
        raise MissingExtra("redis", "serve") from error
    # The pool knows the URL; limits would only split it into parts, password and all.
    pool = connection_pool(url, timeout_s)
    storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=_PREFIX, connection_pool=pool)
    return SlidingWindowCounterRateLimiter(storage)
