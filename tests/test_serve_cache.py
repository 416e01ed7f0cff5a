"""The result cache against a real Redis that is well, full, wrong, stalled, killed and restarted, and on disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from openblip.errors import OptionError
from openblip.serve.cache import CacheSettings, ResultCache
from openblip.serve.cache.results import EVENTS
from redis_server import RedisServer, certificate, cleared, running_redis

TIMEOUT_S = 0.1
SLACK_S = 0.25  # scheduling of a busy machine; the stated bounds are timeouts beyond the computation
PREFIX = "openblip:1:result:"
PROCESS = Path(__file__).with_name("cache_process.py")


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    return cleared(_server)


@pytest.fixture(params=["disk", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> CacheSettings:
    if request.param == "disk":
        return CacheSettings(folder=tmp_path / "cache", timeout_s=TIMEOUT_S)
    return CacheSettings(url=request.getfixturevalue("server").url, timeout_s=TIMEOUT_S)


class Work:
    """A computation that counts how often it began, ended and was cancelled."""

    def __init__(self, value: bytes = b'{"caption": "a dog"}', seconds: float = 0.0) -> None:
        self.value = value
        self.seconds = seconds
        self.begun = self.cancelled = 0

    async def __call__(self) -> bytes:
        self.begun += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.value


def with_cache(
    settings: CacheSettings, body: Callable[[ResultCache], Awaitable[Any]], events: Counter[str] | None = None
) -> Counter[str]:
    """Run the body with an open cache, in a loop that reports nothing lost; what was counted."""
    counts = Counter() if events is None else events
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        cache = ResultCache(settings, lambda event: counts.update([event]))
        await cache.open()
        try:
            await body(cache)
        finally:
            await cache.close()

    asyncio.run(run())
    assert complaints == []
    assert set(counts) <= set(EVENTS)
    return counts


async def stored(cache: ResultCache) -> None:
    """Wait until nothing is being stored any more."""
    if cache._tasks:
        await asyncio.wait(cache._tasks)


async def load(cache: ResultCache, seconds: float, clients: int = 8, keys: int = 50) -> list[float]:
    """Clients that ask one key after another; every answer is checked, and its time beyond the computation returned."""
    lateness: list[float] = []
    work_s, end = 0.01, time.monotonic() + seconds

    async def client(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            turn += 1
            key = f"{turn * 7 % keys}"
            began = time.monotonic()
            value, _ = await cache.get_or_compute(key, Work(key.encode() * 50, work_s))
            lateness.append(time.monotonic() - began - work_s)
            assert value == key.encode() * 50

    await asyncio.gather(*(client(number * 31) for number in range(clients)))
    return lateness


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


def test_wrong_types_and_rubbish_in_redis_are_overwritten(server: RedisServer) -> None:
    settings = CacheSettings(url=server.url, timeout_s=TIMEOUT_S)
    with server.client() as client:
        client.rpush(PREFIX + "list", "x")
        client.set(PREFIX + "short", b"x")
        client.set(PREFIX + "foreign", b'{"caption": "of another program"}')
        client.rpush(PREFIX + "locked:lock", "x")
        client.set(PREFIX + "held:lock", "for ever")
    with_cache(settings, lambda cache: cache.get_or_compute("other", Work()))
    with server.client() as client:
        client.set(PREFIX + "swapped", client.get(PREFIX + "other"))
    keys = ["list", "short", "foreign", "swapped", "locked", "held"] * 2

    async def body(cache: ResultCache) -> None:
        for key in keys:
            began = time.monotonic()
            assert (await cache.get_or_compute(key, Work(key.encode())))[0] == key.encode()
            await stored(cache)
            assert time.monotonic() - began < 2 * TIMEOUT_S
        assert not cache.circuit_open

    counts = with_cache(settings, body)
    assert counts == {"miss": 6, "hit": 6, "stored": 6, "wrong_type": 2, "rubbish": 6}  # read again under the lock


def test_eviction_and_a_full_redis(server: RedisServer) -> None:
    settings = CacheSettings(url=server.url, timeout_s=2.0, lock_s=4.0)

    async def fill(cache: ResultCache) -> None:
        for number in range(100):
            value = b"%03d" % number + b"x" * 100_000
            assert (await cache.get_or_compute(f"{number}", Work(value)))[0] == value
            await stored(cache)

    with server.client() as client:
        client.config_set("maxmemory", 6_000_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        evicting = with_cache(settings, fill)
        assert client.info("stats")["evicted_keys"] > 0
        again = with_cache(settings, fill)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1_000_000)
        full = with_cache(settings, fill)
        assert client.dbsize() > 0
    assert evicting == {"miss": 100, "stored": 100}
    assert again["miss"] + again["hit"] == 100
    assert again["miss"] > 0
    # Redis refuses the lock as well as the value, and is still asked: it may hold what is wanted.
    assert full["full"] >= full["miss"] > 0
    assert full["hit"] + full["miss"] == 100
    assert {"stored", "opened", "skipped"} & set(full) == set()


def test_a_stall_of_two_seconds_delays_nobody_for_long(server: RedisServer) -> None:
    settings = CacheSettings(url=server.url, timeout_s=TIMEOUT_S, circuit_retry_s=0.3)

    async def body(cache: ResultCache) -> None:
        loading = asyncio.create_task(load(cache, 3.5))
        await asyncio.sleep(0.5)
        with server.client() as client:
            client.client_pause(2000, all=True)
        await asyncio.sleep(1.0)
        assert cache.circuit_open
        lateness = await loading
        assert max(lateness) < TIMEOUT_S + SLACK_S
        assert not cache.circuit_open

    counts = with_cache(settings, body)
    assert counts["opened"] == counts["closed"] == 1
    assert counts["timeout"] >= settings.circuit_failures
    assert counts["skipped"] > 100
    assert counts["hit"] > 100


def test_kill_and_restart_under_load(server: RedisServer) -> None:
    settings = CacheSettings(url=server.url, timeout_s=TIMEOUT_S, circuit_retry_s=0.2)

    async def body(cache: ResultCache) -> None:
        loading = asyncio.create_task(load(cache, 3.0))
        for _ in range(2):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.5)
            assert cache.circuit_open
            await asyncio.to_thread(server.start)
        lateness = await loading
        assert max(lateness) < TIMEOUT_S + SLACK_S
        assert not cache.circuit_open

    counts = with_cache(settings, body)
    assert counts["opened"] == counts["closed"] == 2
    assert counts["connection"] >= 2 * settings.circuit_failures
    assert counts["hit"] > 100


def test_a_redis_that_is_down_at_the_start(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    settings = CacheSettings(url=server.url, timeout_s=TIMEOUT_S, circuit_failures=1, circuit_retry_s=0.1)

    async def body(cache: ResultCache) -> None:
        assert await cache.get_or_compute("a", Work()) == (Work().value, False)
        await asyncio.to_thread(server.start)
        await asyncio.sleep(0.2)
        await cache.get_or_compute("a", Work())
        await stored(cache)
        assert await cache.get_or_compute("a", Work()) == (Work().value, True)

    try:
        assert with_cache(settings, body)["closed"] == 1
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "rubbish"),
        (b":x\r\n", "rubbish"),
        (b"$9\r\nno result\r\n", "rubbish"),  # as if Redis held it: the circuit stays closed
        (b"*2\r\n", "timeout"),
        (b"", "connection"),
    ],
)
def test_a_server_that_is_no_redis(answer: bytes, kind: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            while await reader.read(4096) and answer:
                writer.write(answer)
        writer.close()

    async def run() -> None:
        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        counts: Counter[str] = Counter()
        cache = ResultCache(CacheSettings(url=f"redis://127.0.0.1:{port}"), lambda event: counts.update([event]))
        await cache.open()
        for number in range(8):
            began = time.monotonic()
            assert await cache.get_or_compute(f"{number}", Work()) == (Work().value, False)
            assert time.monotonic() - began < TIMEOUT_S + SLACK_S
        assert counts[kind] >= 5
        assert cache.circuit_open == (b"no result" not in answer)
        await cache.close()
        listener.close()

    asyncio.run(run())


def process(server: RedisServer, key: str, seconds: float, start: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROCESS), server.url, key, str(seconds), str(start)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_compute_once(server: RedisServer) -> None:
    start = time.time() + 1.5  # all have loaded by then
    asking = [process(server, "a", 0.7, start) for _ in range(3)]
    outputs = [each.communicate(timeout=20)[0].split("\n") for each in asking]
    assert sum("computing" in lines for lines in outputs) == 1
    assert len({lines[-2] for lines in outputs}) == 1, "all have the same value, and none was there already"
    assert outputs[0][-2].endswith("False")


def test_where_the_computing_process_dies_another_computes(server: RedisServer) -> None:
    holder = process(server, "a", 60)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "computing\n"
    settings = CacheSettings(url=server.url, timeout_s=TIMEOUT_S)

    async def body(cache: ResultCache) -> None:
        waiting = asyncio.create_task(cache.get_or_compute("a", Work()))
        await asyncio.sleep(0.8)
        assert not waiting.done(), "the lock of 0.5 s is renewed while the holder lives"
        holder.kill()
        began = time.monotonic()
        assert await waiting == (Work().value, False)
        assert time.monotonic() - began < 0.5 + TIMEOUT_S + SLACK_S

    assert with_cache(settings, body) == {"miss": 1, "stored": 1}
    holder.wait()
    holder.stdout.close()


def test_a_lock_whose_reply_was_lost_holds_up_nobody(server: RedisServer) -> None:
    async def body(cache: ResultCache) -> None:
        assert cache._store is not None
        assert await cache._store.lease(PREFIX + "a", 60.0) is not None
        began = time.monotonic()
        assert await cache.get_or_compute("a", Work()) == (Work().value, False)
        assert time.monotonic() - began < TIMEOUT_S

    with_cache(CacheSettings(url=server.url, timeout_s=TIMEOUT_S), body)


def test_waiting_for_another_process_is_bounded(server: RedisServer) -> None:
    settings = CacheSettings(url=server.url, timeout_s=TIMEOUT_S, wait_s=0.3)
    with server.client() as client:
        client.set(PREFIX + "a:lock", "of a process that hangs", px=60_000)

    async def body(cache: ResultCache) -> None:
        began = time.monotonic()
        await cache.get_or_compute("a", Work())
        assert 0.3 <= time.monotonic() - began < 0.3 + TIMEOUT_S + SLACK_S

    with_cache(settings, body)


def test_tls_and_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate(tmp_path)
    with running_redis(tmp_path, "--requirepass", "s3cret/@word", tls=tmp_path) as server:
        right = f"rediss://:s3cret%2F%40word@127.0.0.1:{server.port}/1?ssl_ca_certs={tmp_path}/cert.pem"
        wrong = right.replace("s3cret", "another-s3cret")
        unknown = right.partition("?")[0]

        async def twice(cache: ResultCache) -> None:
            await cache.get_or_compute("a", Work())
            await stored(cache)
            await cache.get_or_compute("a", Work())

        counts = [with_cache(CacheSettings(url=url, circuit_failures=2), twice) for url in (right, wrong, unknown)]
    assert counts[0] == {"miss": 1, "stored": 1, "hit": 1}
    assert counts[1]["login"] == counts[2]["connection"] == 2, "the wrong password and the untrusted certificate"
    assert counts[1]["opened"] == counts[2]["opened"] == 1
    assert "s3cret" not in caplog.text
    assert "left alone" in caplog.text


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
