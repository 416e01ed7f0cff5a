"""One value under way, and those who wait for it; knows neither key nor store."""

from __future__ import annotations

import asyncio


class Flight:
    """A task that brings a value to any number of waiters, and ends when the last of them goes away."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[tuple[bytes, bool]] = asyncio.get_running_loop().create_future()
        self._waiting = 0

    @property
    def serves(self) -> bool:
        """Whether it has a value, or may still have."""
        return not self._outcome.done() or not (self._outcome.cancelled() or self._outcome.exception())

    async def wait(self) -> tuple[bytes, bool]:
        """The value, and whether it was there already."""
        if self._outcome.done():  # and is being stored
            return self._outcome.result()[0], True
        self._waiting += 1
        try:
            return await asyncio.shield(self._outcome)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.cancel()

    def succeed(self, value: bytes, *, cached: bool) -> None:
        """Hand the value to all who wait, if any still do."""
        if not self._outcome.done():
            self._outcome.set_result((value, cached))

    def fail(self, error: Exception) -> None:
        """Hand the exception to all who wait, if any still do."""
        if not self._outcome.done():
            self._outcome.set_exception(error)

    def cancel(self) -> None:
        """Stop it, unless it has its value already."""
        if not self._outcome.done():
            self._outcome.cancel()
            if self.task is not None:
                self.task.cancel()
