"""Counters in memory for the rate limit of one process: the storage of limits, bounded.

The storage of limits looks at all its counters at every hit (measured: 0.8 ms with 10,000, 24 ms with 100,000; this one
0.015 and 0.03 ms), and holds as many as there are clients.
"""

from __future__ import annotations

import time

from limits.aio.storage import MemoryStorage

MOST_COUNTERS = 100_000
"""Two an identity at most; beyond it the oldest is forgotten. Measured: 22 MB with IPv6 addresses."""


class Counters(MemoryStorage):  # type: ignore[misc]  # its types are not looked at
    """Counters that expire in the order in which they were made, because all live equally long."""

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter, which ends `expiry` seconds after it began; its count."""
        now = time.time()
        self._forget(now)
        self.storage[key] += amount
        self.expirations.setdefault(key, now + expiry)
        count: int = self.storage[key]
        return count

    def _forget(self, now: float) -> None:
        """Drop what has expired, and the oldest where there are too many."""
        while self.expirations:
            oldest = next(iter(self.expirations))
            if self.expirations[oldest] > now and len(self.expirations) < MOST_COUNTERS:
                return
            del self.expirations[oldest]
            self.storage.pop(oldest, None)
