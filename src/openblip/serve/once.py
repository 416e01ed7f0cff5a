"""Work that several want at the same time, done once. Knows asyncio, nothing of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(eq=False)
class _Call(Generic[Result]):
    task: asyncio.Task[Result]
    waiting: int = 0


class Once(Generic[Result]):
    """Calls by key: who asks for what is under way gets its outcome too. Nothing is kept when it has ended."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, _Call[Result]] = {}

    async def do(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What the work of this key returns. It is cancelled when the last who waits for it is. Raises what it raises,
        to all of them."""
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(asyncio.create_task(work()))
            call.task.add_done_callback(_looked_at)
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if not call.waiting:
                del self._calls[key]
                call.task.cancel()


def _looked_at(task: asyncio.Task[Any]) -> None:
    """Else asyncio logs an error that came when nobody waited any more."""
    if not task.cancelled():
        task.exception()
