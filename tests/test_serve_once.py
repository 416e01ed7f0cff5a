"""Work that several want at the same time: done once, for all who stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from openblip.serve.once import Once


class Counted:
    """Work that notes its begins and ends, and goes on when `gate` is open."""

    def __init__(self) -> None:
        self.begun, self.ended, self.gate = 0, 0, asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.gate.wait()
            return self.begun
        finally:
            self.ended += 1


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 20))


async def asking(once: Once[int], work: Counted, count: int, key: str = "a") -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(once.do(key, work)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_all_who_ask_meanwhile_get_the_same_and_later_ones_a_new_one() -> None:
    async def main() -> None:
        once, work = Once[int](), Counted()
        tasks = await asking(once, work, 5)
        other = await asking(once, work, 1, "b")
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2] * 5, "two had begun, one of each key, when the gate was opened"
        assert await asyncio.gather(*other) == [2]
        assert await once.do("a", work) == 3

    run(main)


def test_who_goes_away_harms_nobody_and_the_last_ends_it() -> None:
    async def main() -> None:
        once, work = Once[int](), Counted()
        first, second = await asking(once, work, 2)
        first.cancel()
        await asyncio.wait([first])
        assert (first.cancelled(), second.done(), work.ended) == (True, False, 0)
        second.cancel()
        await asyncio.wait([second])
        [after] = await asking(once, work, 1)  # while the cancelled one is still ending
        assert (work.begun, work.ended) == (2, 1)
        work.gate.set()
        assert await after == 2

    run(main)


def test_an_error_is_for_all_and_is_not_kept() -> None:
    async def main() -> None:
        once = Once[int]()

        async def broken() -> int:
            await asyncio.sleep(0)
            raise ValueError("broken")

        async def whole() -> int:
            return 1

        outcomes = await asyncio.gather(*(once.do("a", broken) for _ in range(3)), return_exceptions=True)
        assert [str(each) for each in outcomes] == ["broken"] * 3
        assert await once.do("a", whole) == 1

    run(main)


def test_nobody_is_left_with_an_error_that_no_one_read(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        once, gate = Once[int](), asyncio.Event()

        async def broken() -> int:
            try:
                await gate.wait()
            finally:
                raise ValueError("broken while it was cancelled")

        task = asyncio.create_task(once.do("a", broken))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.01)

    run(main)
    assert "never retrieved" not in caplog.text
