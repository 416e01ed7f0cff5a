"""Work done a few items ahead of who wants it, in threads and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

_THREADS, _AHEAD = 4, 32
Item = TypeVar("Item")


def ahead(items: Iterator[Item], work: Callable[[Item], Item]) -> Iterator[Item]:
    """Every item with its work done. The items are taken by the caller's thread."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="openblip-read")
    waiting: deque[Future[Item]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the caller stops early
        pool.shutdown(wait=False, cancel_futures=True)
