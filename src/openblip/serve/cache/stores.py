"""What a store of bytes is: the protocol of the one on disk and the one in Redis.

Knows no format of values, no time bound and no circuit; those are the cache's.
"""

from __future__ import annotations

from typing import Protocol


class StoreFailure(Exception):
    """An operation of a store failed; `answered` says that the store is up nevertheless."""

    def __init__(self, kind: str, *, answered: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.answered = answered


class Lease(Protocol):
    """The right to compute a key, which ends by itself unless renewed."""

    async def renew(self) -> None:
        """Hold it from now on for its whole time; nothing happens where it is lost."""

    async def release(self) -> None:
        """Give it back; nothing happens where it is lost."""


class Store(Protocol):
    """Bytes under a key. Every method raises StoreFailure; the caller bounds its time by cancelling it."""

    shared: bool
    """Whether other processes use it too, so that `lease` and `look` mean something."""

    async def open(self) -> None:
        """Make it ready."""

    async def close(self) -> None:
        """Give up its connections."""

    async def get(self, key: str) -> bytes | None:
        """What is kept there."""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value there, whatever was there before."""

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """The lease of this key, or None if another holds it."""

    async def look(self, key: str) -> tuple[bool, bytes | None]:
        """Whether somebody holds the lease of this key, and the value; with no lease the value is the later look."""
