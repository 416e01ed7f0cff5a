"""The batcher alone: who is grouped with whom, who gets which result, and what happens when things go wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.serve.batcher import Batcher, Closed, Refused

T = TypeVar("T")
Doubling = Batcher[int, int]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(2)
    yield pool
    pool.shutdown()


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(asyncio.wait_for(main(), 20))


class Engine:
    """Doubles numbers, notes its batches, waits for `gate`, and cannot do negative numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.gate.wait(10)
        if any(work < 0 for work in batch):
            raise ValueError(f"cannot do {[work for work in batch if work < 0]}")
        return [2 * work for work in batch]


def batcher(
    engine: Engine, threads: ThreadPoolExecutor, max_queue: int = 100, max_batch: int = 8, lanes: int = 1
) -> Doubling:
    return Doubling(engine, threads=threads, max_queue=max_queue, max_batch=max_batch, max_rows=24, lanes=lanes)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0.002)


def test_what_waits_while_the_engine_is_busy_is_one_batch(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> list[int]:
        door = batcher(engine, threads)
        engine.gate.clear()
        first = asyncio.create_task(door.submit(1, "a"))
        await settle()
        rest = [asyncio.create_task(door.submit(number, "a")) for number in range(2, 7)]
        await settle()
        assert (door.in_hand, door.waiting) == (1, 5)
        engine.gate.set()
        return [(await task).result for task in [first, *rest]]

    assert run(main) == [2, 4, 6, 8, 10, 12]
    assert engine.batches == [[1], [2, 3, 4, 5, 6]]


def test_a_lone_piece_of_work_does_not_wait_for_company(threads: ThreadPoolExecutor) -> None:
    async def main() -> float:
        door = batcher(Engine(), threads)
        await door.submit(1, "a")
        start = time.perf_counter()
        for number in range(20):
            await door.submit(number, "a")
        return time.perf_counter() - start

    assert run(main) < 0.5


def test_only_the_same_key_shares_a_batch_and_the_oldest_goes_first(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        door = batcher(engine, threads)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(0, "x"))]
        await settle()
        tasks += [asyncio.create_task(door.submit(number, "odd" if number % 2 else "even")) for number in range(1, 7)]
        await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)

    run(main)
    assert engine.batches == [[0], [1, 3, 5], [2, 4, 6]]


def test_batches_are_bounded_in_pieces_and_in_rows(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        door = batcher(engine, threads)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(0, "a"))]
        await settle()
        tasks += [asyncio.create_task(door.submit(number, "a")) for number in range(1, 11)]
        tasks += [asyncio.create_task(door.submit(number, "b", rows=10)) for number in range(11, 16)]
        tasks += [asyncio.create_task(door.submit(16, "c", rows=1000))]
        await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)

    run(main)
    assert [len(batch) for batch in engine.batches] == [1, 8, 2, 2, 2, 1, 1]


def test_a_second_batch_begins_beside_the_first_when_it_is_full(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        door = batcher(engine, threads, max_batch=4, lanes=2)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(0, "a"))]
        await settle()
        tasks += [asyncio.create_task(door.submit(number, "a")) for number in (1, 2, 3)]
        await settle()
        assert (door.in_hand, door.waiting) == (1, 3)
        tasks += [asyncio.create_task(door.submit(number, "a")) for number in range(4, 14)]
        await settle()
        assert (door.in_hand, door.waiting) == (5, 9)
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert (door.in_hand, door.waiting) == (0, 0)

    run(main)
    assert sorted(engine.batches)[:2] == [[0], [1, 2, 3, 4]]
    assert sorted(number for batch in engine.batches for number in batch) == list(range(14))
    assert [len(batch) for batch in engine.batches].count(4) == 3


def test_what_comes_when_a_lane_has_just_ended_is_done(threads: ThreadPoolExecutor) -> None:
    """Its task is still there, but it has seen that nothing waits."""

    async def main() -> list[int]:
        door = batcher(Engine(), threads, lanes=2)
        return [(await door.submit(number, "a")).result for number in range(200)]

    assert run(main) == list(range(0, 400, 2))


def test_closing_waits_for_all_lanes(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> tuple[bool, list[int]]:
        door = batcher(engine, threads, max_batch=2, lanes=2)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(number, "a")) for number in range(5)]
        await settle()
        assert door.in_hand == 4
        assert not await door.close(0.01)
        engine.gate.set()
        return await door.close(10), [(await task).result for task in tasks[:4]]

    assert run(main) == (True, [0, 2, 4, 6])


def test_one_that_cannot_be_done_harms_only_itself(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> list[Any]:
        door = batcher(engine, threads)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(0, "a"))]
        await settle()
        tasks += [asyncio.create_task(door.submit(number, "a")) for number in (1, -2, 3)]
        await settle()
        engine.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    zero, one, poisoned, three = run(main)
    assert (zero.result, one.result, three.result) == (0, 2, 6)
    assert isinstance(poisoned, ValueError)
    assert str(poisoned) == "cannot do [-2]"


def test_a_full_queue_refuses_and_says_when_to_come_back(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> int:
        door = batcher(engine, threads, max_queue=3, max_batch=1)
        engine.gate.clear()
        slow = asyncio.create_task(door.submit(0, "a"))
        await asyncio.sleep(1.2)
        engine.gate.set()
        await slow  # more than a second each, as the batcher has seen now
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(1, "a"))]
        await settle()
        tasks += [asyncio.create_task(door.submit(number, "a")) for number in (2, 3, 4)]
        await settle()
        with pytest.raises(Refused) as refused:
            await door.submit(5, "a")
        engine.gate.set()
        await asyncio.gather(*tasks)
        await door.submit(6, "a")
        return refused.value.retry_after_s

    assert run(main) >= 4
    assert [5] not in engine.batches


def test_a_held_place_is_one_of_those_that_may_wait_and_is_not_counted_twice(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        door = batcher(engine, threads, max_queue=2)
        engine.gate.clear()
        first = asyncio.create_task(door.submit(1, "a"))
        await settle()
        waiting = asyncio.create_task(door.submit(2, "a"))
        await settle()
        with door.place():
            assert door.waiting == 2
            with pytest.raises(Refused), door.place():
                pass
            with pytest.raises(Refused):
                door.admit()
            made_ready = asyncio.create_task(door.submit(3, "a"))  # the work whose place it was: there is room for it
            await settle()
        assert door.waiting == 2
        engine.gate.set()
        await asyncio.gather(first, waiting, made_ready)
        with door.place():
            assert door.waiting == 1
        assert door.waiting == 0

    run(main)
    assert engine.batches == [[1], [2, 3]]


def test_who_goes_away_frees_the_place_and_is_not_computed(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        door = batcher(engine, threads, max_queue=1)
        engine.gate.clear()
        first = asyncio.create_task(door.submit(1, "a"))
        await settle()
        gone = asyncio.create_task(door.submit(2, "a"))
        await settle()
        gone.cancel()
        await settle()
        assert door.waiting == 0
        last = asyncio.create_task(door.submit(3, "a"))
        await settle()
        engine.gate.set()
        await asyncio.gather(first, last)

    run(main)
    assert engine.batches == [[1], [3]]


def test_closing_finishes_what_there_is_and_takes_no_more(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> tuple[bool, list[int]]:
        door = batcher(engine, threads, max_batch=1)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(number, "a")) for number in range(4)]
        await settle()
        closing = asyncio.create_task(door.close(10))
        await settle()
        with pytest.raises(Closed):
            await door.submit(9, "a")
        engine.gate.set()
        return await closing, [(await task).result for task in tasks]

    assert run(main) == (True, [0, 2, 4, 6])


def test_closing_in_no_time_tells_those_who_wait(threads: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> list[Any]:
        door = batcher(engine, threads, max_batch=1)
        engine.gate.clear()
        tasks = [asyncio.create_task(door.submit(number, "a")) for number in range(3)]
        await settle()
        assert not await door.close(0.01)
        engine.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = run(main)
    assert first.result == 0
    assert all(isinstance(each, Closed) for each in others)


@given(
    work=st.lists(st.tuples(st.integers(-3, 20), st.sampled_from("abc"), st.integers(1, 30)), min_size=1, max_size=40),
    max_batch=st.integers(1, 9),
    lanes=st.integers(1, 3),
)
def test_each_gets_its_own_result_whatever_comes_together(
    work: list[tuple[int, str, int]], max_batch: int, lanes: int
) -> None:
    engine = Engine()

    async def main() -> list[Any]:
        with ThreadPoolExecutor(lanes) as threads:
            door = batcher(engine, threads, max_batch=max_batch, lanes=lanes)
            calls = [door.submit(number, key, rows) for number, key, rows in work]
            return await asyncio.gather(*calls, return_exceptions=True)

    for (number, _, _), found in zip(work, run(main), strict=True):
        assert isinstance(found, ValueError) if number < 0 else found.result == 2 * number
    assert all(len(batch) <= max_batch for batch in engine.batches)
