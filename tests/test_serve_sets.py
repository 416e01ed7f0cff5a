"""Several models in one process: which is loaded, and which has to go. Workers are counted, not real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from openblip.errors import ModelNotFound
from openblip.serve.sets import ModelSets

T = TypeVar("T")
NAMES = ["first", "second", "third"]


class Process:
    """Loads and unloads models of 100 bytes each."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.held = 50

    async def load(self, name: str) -> Any:
        await asyncio.sleep(0.01)
        self.loads.append(name)
        self.held += 100
        return Loaded(self)

    def sets(self, **options: Any) -> ModelSets:
        return ModelSets(NAMES, self.load, resident=lambda: self.held, **options)


class Loaded:
    def __init__(self, process: Process) -> None:
        self.process = process

    async def close(self, within_s: float) -> bool:
        self.process.held -= 100
        return True


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(asyncio.wait_for(main(), 20))


async def touch(sets: ModelSets, *names: str) -> None:
    for name in names:
        async with sets.use(name):
            await asyncio.sleep(0.001)


def test_the_first_is_the_default_and_is_there_from_the_start() -> None:
    process = Process()

    async def main() -> list[str]:
        sets = process.sets()
        await sets.start()
        loaded = list(sets.loaded)
        await touch(sets, "", "first")
        await sets.stop(1)
        return loaded

    assert run(main) == ["first"]
    assert process.loads == ["first"]


def test_a_model_is_loaded_once_however_many_ask() -> None:
    process = Process()

    async def main() -> None:
        sets = process.sets()
        await asyncio.gather(*(touch(sets, "second") for _ in range(20)))

    run(main)
    assert process.loads == ["second"]


def test_a_name_that_is_not_served_is_refused_with_those_that_are() -> None:
    async def main() -> None:
        async with Process().sets().use("fourth"):
            raise AssertionError

    with pytest.raises(ModelNotFound, match="'fourth' is not served here: name one of first, second, third"):
        run(main)


def test_above_the_bound_the_one_used_longest_ago_goes_but_never_the_first_nor_one_in_use() -> None:
    process = Process()

    async def main() -> list[list[str]]:
        sets = process.sets(memory_bytes=260)
        await touch(sets, "first", "second")
        found = []
        async with sets.use("second"):
            await touch(sets, "third")
            found.append(list(sets.loaded))  # second is in use: it stays
        await touch(sets, "second")
        await sets._make_room()
        found.append(list(sets.loaded))
        return found

    assert run(main) == [["first", "second", "third"], ["first", "second"]]


def test_what_is_idle_is_unloaded_and_loaded_again_when_it_is_named() -> None:
    process = Process()

    async def main() -> list[list[str]]:
        sets = process.sets(idle_s=0.05)
        await sets.start()
        await touch(sets, "second")
        found = [list(sets.loaded)]
        await asyncio.sleep(0.2)
        found.append(list(sets.loaded))
        async with sets.use("third"):
            await asyncio.sleep(0.2)
            found.append(list(sets.loaded))
        await touch(sets, "second")
        await sets.stop(1)
        return found

    assert run(main) == [["first", "second"], ["first"], ["first", "third"]]
    assert process.loads == ["first", "second", "third", "second"]


def test_a_model_that_cannot_be_loaded_is_tried_again() -> None:
    class Failing(Process):
        async def load(self, name: str) -> Any:
            if not self.loads:
                self.loads.append("failed")
                raise ModelNotFound("no such folder")
            return await super().load(name)

    process = Failing()

    async def main() -> None:
        sets = process.sets()
        with pytest.raises(ModelNotFound, match="no such folder"):
            await touch(sets, "second")
        await touch(sets, "second")

    run(main)
    assert process.loads == ["failed", "second"]
