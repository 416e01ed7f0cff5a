"""The result cache on disk and in a real Redis: what is kept, computed once, and refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cache_work import SLACK_S, TIMEOUT_S, Work, stored, with_cache
from openblip.errors import OptionError
from openblip.serve.cache import CacheSettings, ResultCache

PROCESS = Path(__file__).with_name("cache_process.py")


@pytest.fixture(params=["disk", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> CacheSettings:
    if request.param == "disk":
        return CacheSettings(folder=tmp_path / "cache", timeout_s=TIMEOUT_S)
    return CacheSettings(url=request.getfixturevalue("redis").url, timeout_s=TIMEOUT_S)


def test_hit_miss_expiry_and_alias(settings: CacheSettings) -> None:
    settings = CacheSettings(url=settings.url, folder=settings.folder, ttl_s=0.3, timeout_s=TIMEOUT_S)
    work = Work()

    async def body(cache: ResultCache) -> None:
        assert await cache.get_or_compute("a", work) == (work.value, False)
        assert await cache.get_or_compute("a", work) == (work.value, True)
        await cache.set_alias("raw", "pixels")
        await stored(cache)
        assert await cache.get_or_compute("a", work) == (work.value, True)
        assert await cache.get_alias("raw") == "pixels"
        assert await cache.get_alias("a") is None, "results and aliases do not share their names"
        await asyncio.sleep(0.4)
        assert await cache.get_alias("raw") is None
        assert await cache.get_or_compute("a", work) == (work.value, False)

    assert with_cache(settings, body) == {"miss": 2, "joined": 1, "hit": 1, "stored": 3}
    assert work.begun == 2


def test_a_value_outlives_the_cache_and_a_long_one_is_not_kept(settings: CacheSettings) -> None:
    settings = CacheSettings(url=settings.url, folder=settings.folder, max_value_bytes=100, timeout_s=TIMEOUT_S)
    short, long = Work(b"x" * 100), Work(b"x" * 101)

    async def ask(cache: ResultCache) -> None:
        await cache.get_or_compute("short", short)
        await cache.get_or_compute("long", long)

    first, second = with_cache(settings, ask), with_cache(settings, ask)
    assert (short.begun, long.begun) == (1, 2)
    assert first["too_large"] == second["too_large"] == 1
    assert second["hit"] == 1


def test_the_cache_on_disk_stays_within_its_bound(tmp_path: Path) -> None:
    settings = CacheSettings(folder=tmp_path, max_bytes=2_000_000, timeout_s=2.0, lock_s=4.0)

    async def body(cache: ResultCache) -> None:
        for number in range(80):
            await cache.get_or_compute(f"{number}", Work(b"%03d" % number + b"x" * 80_000))
            await stored(cache)
        assert (await cache.get_or_compute("79", Work(b"new")))[1], "the newest is kept"
        assert not (await cache.get_or_compute("0", Work(b"new")))[1], "the oldest went"

    assert with_cache(settings, body)["stored"] == 81
    assert sum(file.stat().st_size for file in tmp_path.rglob("*")) < 2 * 2_000_000


def test_rubbish_on_disk_is_replaced(tmp_path: Path) -> None:
    settings = CacheSettings(folder=tmp_path, timeout_s=2.0, lock_s=4.0)
    work = Work(b"x" * 100_000)  # in a file of its own

    async def ask(cache: ResultCache) -> None:
        assert (await cache.get_or_compute("a", work))[0] == work.value

    with_cache(settings, ask)
    (value_file,) = [file for file in tmp_path.rglob("*") if file.stat().st_size >= 100_000 and file.suffix == ".val"]
    value_file.write_bytes(value_file.read_bytes()[:-1] + b"y")
    assert with_cache(settings, ask)["rubbish"] == 1
    assert with_cache(settings, ask)["hit"] == 1
    (tmp_path / "cache.db").write_bytes(b"no database" * 1000)
    for name in ("cache.db-wal", "cache.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    assert with_cache(settings, ask) == {"miss": 1, "stored": 1}
    assert work.begun == 3


def test_the_cache_on_disk_survives_a_kill(tmp_path: Path) -> None:
    filling = subprocess.Popen([sys.executable, str(PROCESS), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert filling.stdout is not None
    for line in filling.stdout:
        if line == "60\n":
            break
    filling.kill()
    kept = 61 + len(filling.stdout.readlines())
    filling.wait()
    filling.stdout.close()

    async def body(cache: ResultCache) -> None:
        for number in range(kept):
            value = await cache.get_or_compute(f"{number}", Work(b"lost"))
            assert value == (b"%d" % number * 20_000, True)

    assert with_cache(CacheSettings(folder=tmp_path, timeout_s=2.0, lock_s=4.0), body) == {"hit": kept}


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be used"):
        with_cache(CacheSettings(folder=tmp_path / "file" / "below"), lambda cache: asyncio.sleep(0))


def test_a_hundred_at_once_cost_one_computation(settings: CacheSettings) -> None:
    work = Work(seconds=0.1)

    async def body(cache: ResultCache) -> None:
        answers = await asyncio.gather(*(cache.get_or_compute("a", work) for _ in range(100)))
        assert set(answers) == {(work.value, False)}

    assert with_cache(settings, body) == {"miss": 1, "joined": 99, "stored": 1}
    assert work.begun == 1


def test_an_exception_reaches_every_waiter_and_is_not_kept(settings: CacheSettings) -> None:
    begun = 0

    async def broken() -> bytes:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0.01)
        raise ZeroDivisionError("poisoned")

    async def body(cache: ResultCache) -> None:
        tasks = [cache.get_or_compute("a", broken) for _ in range(10)]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in errors] == ["poisoned"] * 10
        assert await cache.get_or_compute("a", Work()) == (Work().value, False)

    with_cache(settings, body)
    assert begun == 1


def test_waiters_that_go_away(settings: CacheSettings) -> None:
    work, abandoned = Work(seconds=0.1), Work(seconds=5.0)

    async def body(cache: ResultCache) -> None:
        first, second = (asyncio.create_task(cache.get_or_compute("a", work)) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        assert await second == (work.value, False)
        assert first.cancelled()

        waiters = [asyncio.create_task(cache.get_or_compute("b", abandoned)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for waiter in waiters:
            waiter.cancel()
        began = time.monotonic()
        await asyncio.wait(waiters)
        assert await cache.get_or_compute("b", Work(b"new")) == (b"new", False), "nobody joins what is given up"
        assert time.monotonic() - began < 3 * TIMEOUT_S + SLACK_S

    with_cache(settings, body)
    assert (work.begun, work.cancelled) == (1, 0)
    assert (abandoned.begun, abandoned.cancelled) == (1, 1)


def test_a_computation_that_does_not_heed_its_cancelling(settings: CacheSettings) -> None:
    async def stubborn() -> bytes:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5.0)
        return b"late"

    async def unwilling() -> bytes:
        raise asyncio.CancelledError

    async def body(cache: ResultCache) -> None:
        waiter = asyncio.create_task(cache.get_or_compute("a", stubborn))
        await asyncio.sleep(0.05)
        waiter.cancel()
        await asyncio.wait([waiter])
        await stored(cache)
        assert await cache.get_or_compute("a", Work()) == (b"late", True)
        with pytest.raises(asyncio.CancelledError):
            await cache.get_or_compute("b", unwilling)
        assert await cache.get_or_compute("b", Work()) == (Work().value, False)

    with_cache(settings, body)


def test_no_cache_still_computes_once() -> None:
    work = Work(seconds=0.02)

    async def body(cache: ResultCache) -> None:
        await asyncio.gather(*(cache.get_or_compute("a", work) for _ in range(10)))
        await cache.set_alias("raw", "pixels")
        assert await cache.get_alias("raw") is None

    assert with_cache(CacheSettings(url="none"), body) == {"miss": 1, "joined": 9}
    assert work.begun == 1


@pytest.mark.parametrize("url", ["", "none", "redis://host", "rediss://user:pa%2Fss@host:1/3", "redis://[::1]:6379/"])
def test_urls(url: str) -> None:
    settings = CacheSettings(url=url, folder=Path("here"))
    assert "pa%2Fss" not in repr(settings) + settings.place
    assert settings.place == {"": "here", "none": "nowhere"}.get(url, url.replace("user:pa%2Fss@", ""))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret/x@host",
        "redis://:s3cret#x@host",
        "redis://user:s3cret@",
        "redis://:s3cret@host:port",
        "redis://:s3cret@host:0",
        "redis://:s3cret@host/zero",
        "redis://host?password=s3cret",
        "redis://:s3cret@host?ssl_cert_reqs=none",
        "memcached://s3cret@host",
        "s3cret",
        "redis://[s3cret",
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(OptionError, match="cache URL") as refusal:
        CacheSettings(url=url)
    assert "s3cret" not in f"{refusal.value!r}{refusal.value.__cause__}{refusal.value.__context__}"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ttl_s": 0}, "ttl_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"wait_s": -1}, "wait_s"),
        ({"lock_s": 0.1}, "twice timeout_s"),
        ({"circuit_failures": 0}, "circuit_failures"),
        ({"circuit_retry_s": float("inf")}, "circuit_retry_s"),
        ({"max_bytes": 1000}, "max_bytes"),
        ({"max_value_bytes": 0}, "max_value_bytes"),
        ({"folder": None}, "no folder"),
    ],
)
def test_settings_outside_their_range(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        CacheSettings(**{"folder": Path("here"), **wrong})
