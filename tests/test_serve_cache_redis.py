"""The result cache against a real Redis that is wrong, full, stalled, killed and restarted, or shared by processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from cache_work import PREFIX, SLACK_S, TIMEOUT_S, Work, load, stored, with_cache
from openblip.serve.cache import CacheSettings, ResultCache
from redis_server import RedisServer, certificate, running_redis

PROCESS = Path(__file__).with_name("cache_process.py")


def test_wrong_types_and_rubbish_in_redis_are_overwritten(redis: RedisServer) -> None:
    settings = CacheSettings(url=redis.url, timeout_s=TIMEOUT_S)
    with redis.client() as client:
        client.rpush(PREFIX + "list", "x")
        client.set(PREFIX + "short", b"x")
        client.set(PREFIX + "foreign", b'{"caption": "of another program"}')
        client.rpush(PREFIX + "locked:lock", "x")
        client.set(PREFIX + "held:lock", "for ever")
    with_cache(settings, lambda cache: cache.get_or_compute("other", Work()))
    with redis.client() as client:
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


def test_eviction_and_a_full_redis(redis: RedisServer) -> None:
    settings = CacheSettings(url=redis.url, timeout_s=2.0, lock_s=4.0)

    async def fill(cache: ResultCache) -> None:
        for number in range(100):
            value = b"%03d" % number + b"x" * 100_000
            assert (await cache.get_or_compute(f"{number}", Work(value)))[0] == value
            await stored(cache)

    with redis.client() as client:
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


def test_a_stall_of_two_seconds_delays_nobody_for_long(redis: RedisServer) -> None:
    settings = CacheSettings(url=redis.url, timeout_s=TIMEOUT_S, circuit_retry_s=0.3)

    async def body(cache: ResultCache) -> None:
        loading = asyncio.create_task(load(cache, 3.5))
        await asyncio.sleep(0.5)
        with redis.client() as client:
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


def test_kill_and_restart_under_load(redis: RedisServer) -> None:
    settings = CacheSettings(url=redis.url, timeout_s=TIMEOUT_S, circuit_retry_s=0.2)

    async def body(cache: ResultCache) -> None:
        loading = asyncio.create_task(load(cache, 3.0))
        for _ in range(2):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(redis.kill)
            await asyncio.sleep(0.5)
            assert cache.circuit_open
            await asyncio.to_thread(redis.start)
        lateness = await loading
        assert max(lateness) < TIMEOUT_S + SLACK_S
        assert not cache.circuit_open

    counts = with_cache(settings, body)
    assert counts["opened"] == counts["closed"] == 2
    assert counts["connection"] >= 2 * settings.circuit_failures
    assert counts["hit"] > 100


def test_a_redis_that_is_down_at_the_start(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    settings = CacheSettings(url=redis.url, timeout_s=TIMEOUT_S, circuit_failures=1, circuit_retry_s=0.1)

    async def body(cache: ResultCache) -> None:
        assert await cache.get_or_compute("a", Work()) == (Work().value, False)
        await asyncio.to_thread(redis.start)
        await asyncio.sleep(0.2)
        await cache.get_or_compute("a", Work())
        await stored(cache)
        assert await cache.get_or_compute("a", Work()) == (Work().value, True)

    try:
        assert with_cache(settings, body)["closed"] == 1
    finally:
        redis.kill()


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


def process(redis: RedisServer, key: str, seconds: float, start: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROCESS), redis.url, key, str(seconds), str(start)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_compute_once(redis: RedisServer) -> None:
    start = time.time() + 1.5  # all have loaded by then
    asking = [process(redis, "a", 0.7, start) for _ in range(3)]
    outputs = [each.communicate(timeout=20)[0].split("\n") for each in asking]
    assert sum("computing" in lines for lines in outputs) == 1
    assert len({lines[-2] for lines in outputs}) == 1, "all have the same value, and none was there already"
    assert outputs[0][-2].endswith("False")


def test_where_the_computing_process_dies_another_computes(redis: RedisServer) -> None:
    holder = process(redis, "a", 60)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "computing\n"
    settings = CacheSettings(url=redis.url, timeout_s=TIMEOUT_S)

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


def test_a_lock_whose_reply_was_lost_holds_up_nobody(redis: RedisServer) -> None:
    async def body(cache: ResultCache) -> None:
        assert cache._store is not None
        assert await cache._store.lease(PREFIX + "a", 60.0) is not None
        began = time.monotonic()
        assert await cache.get_or_compute("a", Work()) == (Work().value, False)
        assert time.monotonic() - began < TIMEOUT_S

    with_cache(CacheSettings(url=redis.url, timeout_s=TIMEOUT_S), body)


def test_waiting_for_another_process_is_bounded(redis: RedisServer) -> None:
    settings = CacheSettings(url=redis.url, timeout_s=TIMEOUT_S, wait_s=0.3)
    with redis.client() as client:
        client.set(PREFIX + "a:lock", "of a process that hangs", px=60_000)

    async def body(cache: ResultCache) -> None:
        began = time.monotonic()
        await cache.get_or_compute("a", Work())
        assert 0.3 <= time.monotonic() - began < 0.3 + TIMEOUT_S + SLACK_S

    with_cache(settings, body)


def test_tls_and_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate(tmp_path)
    with running_redis(tmp_path, "--requirepass", "s3cret/@word", tls=tmp_path) as redis:
        right = f"rediss://:s3cret%2F%40word@127.0.0.1:{redis.port}/1?ssl_ca_certs={tmp_path}/cert.pem"
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
