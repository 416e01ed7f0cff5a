"""The rate limit in memory and in a real Redis that is shared, stalled, killed, restarted and wrong."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.errors import OptionError
from openblip.serve.guard import rate_counters
from openblip.serve.guard.rate_counters import Counters
from openblip.serve.guard.rates import EVENTS, RateLimit, identity, parse_rate
from redis_server import RedisServer, certificate, running_redis

TIMEOUT_S = 0.1
SLACK_S = 0.25


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "memory" else request.getfixturevalue("redis").url


def with_limits(rates: list[str], url: str | None, body: Callable[..., Awaitable[Any]], **options: Any) -> Counter[str]:
    """Run the body with limits as different processes would hold them, in a loop that reports nothing lost."""
    counts: Counter[str] = Counter()
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        limits = [RateLimit(rate, url, count=lambda event: counts.update([event]), **options) for rate in rates]
        try:
            await body(*limits)
        finally:
            for limit in limits:
                await limit.close()

    asyncio.run(run())
    assert complaints == []
    assert set(counts) <= set(EVENTS)
    return counts


async def middle_of_a_window(seconds: int) -> None:
    """The windows of limits' memory begin at whole multiples of their length."""
    await asyncio.sleep((1.25 - time.time() % seconds / seconds) % 1 * seconds)


def test_so_many_are_allowed_and_then_none(url: str) -> None:
    async def body(limit: RateLimit) -> None:
        assert (limit.limit, limit.window_s) == (5, 31_104_000)
        verdicts = [await limit.check("address:192.0.2.1") for _ in range(8)]
        assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False] * 3
        assert [verdict.remaining for verdict in verdicts] == [4, 3, 2, 1, 0, 0, 0, 0]
        assert all(0 <= verdict.reset_s <= 31_104_000 for verdict in verdicts)
        assert (await limit.check("key:alice")).remaining == 4

    assert with_limits(["5/year"], url, body) == {"allowed": 6, "refused": 3}


def test_after_reset_one_more_is_allowed(url: str) -> None:
    async def body(limit: RateLimit) -> None:
        await middle_of_a_window(2)
        for _ in range(2):
            assert (await limit.check("a")).allowed
        refused = await limit.check("a")
        assert not refused.allowed
        assert 0 < refused.reset_s <= 2
        await asyncio.sleep(refused.reset_s / 2)
        assert not (await limit.check("a")).allowed, "Retry-After would be too long"
        await asyncio.sleep(refused.reset_s / 2 + 0.05)
        assert (await limit.check("a")).allowed

    with_limits(["2/2seconds"], url, body)


def test_the_window_slides(url: str) -> None:
    """At no time are more than about twice the rate let through around the end of a window, as a fixed window would."""

    async def body(limit: RateLimit) -> None:
        await middle_of_a_window(1)
        allowed: list[float] = []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if (await limit.check("a")).allowed:
                allowed.append(time.monotonic())
            await asyncio.sleep(0.005)
        most = max(sum(1 for other in allowed if moment <= other < moment + 1) for moment in allowed)
        assert most <= 26, "the sliding counter assumes that the last window's requests were spread evenly"
        assert 50 <= len(allowed) <= 80

    with_limits(["20/second"], url, body)


def test_many_at_once_are_not_more_than_the_limit(url: str) -> None:
    async def body(*limits: RateLimit) -> None:
        verdicts = await asyncio.gather(*(limit.check("a") for limit in limits for _ in range(50)))
        assert sum(verdict.allowed for verdict in verdicts) == 40 * (1 if url else len(limits))

    with_limits(["40/year"] * 4, url, body, timeout_s=2.0)


def test_processes_share_a_limit_in_redis_and_nothing_stays(redis: RedisServer) -> None:
    async def body(first: RateLimit, second: RateLimit) -> None:
        verdicts = [await limit.check("key:alice") for limit in (first, second) * 3]
        assert [verdict.allowed for verdict in verdicts] == [True, True, True, True, False, False]

    with_limits(["4/2seconds"] * 2, redis.url, body)
    with redis.client() as client:
        keys = client.keys()
        assert keys
        assert all(key.startswith(b"openblip:1:rate:") for key in keys)
        assert all(0 < client.pttl(key) <= 4000 for key in keys)


def test_a_stall_of_two_seconds_delays_nobody_for_long(redis: RedisServer) -> None:
    async def body(limit: RateLimit) -> None:
        waits: list[float] = []

        async def client(name: str) -> None:
            end = time.monotonic() + 3.5
            while time.monotonic() < end:
                began = time.monotonic()
                await limit.check(name)
                waits.append(time.monotonic() - began)
                await asyncio.sleep(0.01)

        clients = [asyncio.create_task(client(f"{number}")) for number in range(8)]
        await asyncio.sleep(0.5)
        with redis.client() as other:
            other.client_pause(2000, all=True)
        await asyncio.gather(*clients)
        assert max(waits) < TIMEOUT_S + SLACK_S
        assert len(waits) > 400

    counts = with_limits(["1000000/hour"], redis.url, body, timeout_s=TIMEOUT_S, circuit_retry_s=0.3)
    assert counts["opened"] == counts["closed"] == 1
    assert counts["timeout"] >= 5
    assert counts["local"] == counts["timeout"] + counts["skipped"] > 50
    assert counts["allowed"] > 400
    assert "refused" not in counts


def test_kill_and_restart(redis: RedisServer) -> None:
    async def body(limit: RateLimit) -> None:
        for _ in range(3):
            assert (await limit.check("a")).allowed
        await asyncio.to_thread(redis.kill)
        verdicts = [await limit.check("a") for _ in range(7)]
        assert [verdict.allowed for verdict in verdicts] == [True] * 3 + [False] * 4, "this process counts alone"
        await asyncio.to_thread(redis.start)
        await asyncio.sleep(0.3)
        verdicts = [await limit.check("a") for _ in range(4)]
        assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0], "the restarted Redis had forgotten it"

    counts = with_limits(["3/year"], redis.url, body, timeout_s=TIMEOUT_S, circuit_retry_s=0.2)
    assert counts["connection"] == 5
    assert counts["skipped"] == 2
    assert (counts["opened"], counts["closed"], counts["local"]) == (1, 1, 7)


def test_wrong_types_in_redis_fall_back_and_open_no_circuit(redis: RedisServer) -> None:
    async def body(limit: RateLimit) -> None:
        assert (await limit.check("a")).allowed
        with redis.client() as client:
            for key in client.scan_iter():
                client.delete(key)
                client.rpush(key, "x")
        verdicts = [await limit.check("a") for _ in range(9)]
        assert [verdict.allowed for verdict in verdicts] == [True] * 2 + [False] * 7

    counts = with_limits(["2/year"], redis.url, body)
    assert counts["local"] == 9
    assert counts["wrong_type"] + counts["error"] == 9
    assert "opened" not in counts


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b":x\r\n", b"*2\r\n", b"$3\r\nfoo\r\n", b"*1\r\n$1\r\nx\r\n", b""]
)
def test_a_server_that_is_no_redis(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            while await reader.read(4096) and answer:
                writer.write(answer)
        writer.close()

    async def run() -> None:
        redis = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = redis.sockets[0].getsockname()[1]
        limit = RateLimit("2/year", f"redis://127.0.0.1:{port}/0", timeout_s=TIMEOUT_S, count=lambda event: None)
        began = time.monotonic()
        verdicts = [await limit.check("a") for _ in range(8)]
        assert time.monotonic() - began < 8 * TIMEOUT_S + SLACK_S
        assert not verdicts[-1].allowed
        await limit.close()
        redis.close()

    asyncio.run(run())


def test_a_cancelled_check_leaves_a_circuit_that_tries_again(redis: RedisServer) -> None:
    async def body(limit: RateLimit) -> None:
        await asyncio.to_thread(redis.kill)
        for _ in range(5):
            await limit.check("a")
        await asyncio.to_thread(redis.start)
        with redis.client() as client:
            client.client_pause(300, all=True)
        await asyncio.sleep(0.1)
        trial = asyncio.create_task(limit.check("a"))
        await asyncio.sleep(0.02)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        await asyncio.sleep(0.4)
        assert (await limit.check("a")).allowed

    counts = with_limits(["100/hour"], redis.url, body, circuit_retry_s=0.05, timeout_s=TIMEOUT_S)
    assert counts["closed"] == 1


def test_password_and_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate(tmp_path)
    with running_redis(tmp_path, "--requirepass", "s3/cret", tls=tmp_path) as redis:
        place = f"127.0.0.1:{redis.port}/0?ssl_ca_certs={tmp_path / 'cert.pem'}"

        async def body(limit: RateLimit) -> None:
            assert (await limit.check("a")).allowed

        assert with_limits(["2/hour"], f"rediss://:s3%2Fcret@{place}", body, timeout_s=2.0) == {"allowed": 1}
        wrong = with_limits(["2/hour"], f"rediss://:wr0ng@{place}", body, timeout_s=2.0, circuit_failures=1)
    assert wrong == {"login": 1, "opened": 1, "local": 1, "allowed": 1}
    assert "counts alone" in caplog.text
    assert "wr0ng" not in caplog.text


@pytest.mark.parametrize(
    "rate",
    [
        *("", "600", "600/fortnight", "0/minute", "-1/minute", "1.5/second", "10/minute;1/second", "10/minute,5/hour"),
        *("9999999999/second", "1/2years", "1/99999999999days", "x" * 1000, "６００/minute/", "600/minute\n;"),
    ],
)
def test_a_rate_that_cannot_be_used(rate: str) -> None:
    with pytest.raises(OptionError, match=r"^the rate limit '.*give (1 to|one number)") as caught:
        RateLimit(rate)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [("600/minute", 600, 60), ("10 per second", 10, 1), ("5000/6hours", 5000, 21600), ("1/DAY", 1, 86400)],
)
def test_a_rate_that_can(rate: str, amount: int, seconds: int) -> None:
    item = parse_rate(rate)
    assert (item.amount, item.get_expiry()) == (amount, seconds)


def test_a_url_that_cannot_be_used_shows_no_password() -> None:
    for url in ("http://u:s3cret@host", "redis://u:s3cret@", "redis://u:s3#cret@host/x"):
        with pytest.raises(OptionError) as caught:
            RateLimit("1/second", url)
        assert "s3" not in str(caught.value)
    assert with_limits(["1/hour"], "none", lambda limit: limit.check("a")) == {"allowed": 1}


@pytest.mark.parametrize(
    ("owner", "address", "expected"),
    [
        ("alice", "192.0.2.1", "key:alice"),
        (None, "192.0.2.1", "address:192.0.2.1"),
        (None, "::ffff:192.0.2.1", "address:192.0.2.1"),
        (None, "2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        (None, "2001:db8:1:2::", "address:2001:db8:1:2::/64"),
        (None, "fe80::1%eth0", "address:fe80::/64"),
        (None, None, "address:unknown"),
        (None, "testclient", "address:unknown"),
        (None, "", "address:unknown"),
    ],
)
def test_who_is_counted(owner: str | None, address: str | None, expected: str) -> None:
    assert identity(owner, address) == expected


@given(st.text(max_size=64), st.text(max_size=64))
def test_no_address_passes_for_an_owner(name: str, address: str) -> None:
    assert identity(None, address) != identity(name, None)


def test_counters_of_one_process_are_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_counters, "MOST_COUNTERS", 100)

    async def run() -> None:
        counters = Counters()
        for number in range(1000):
            assert await counters.incr(f"{number}", 60) == 1
        assert len(counters.storage) == len(counters.expirations) == 100
        assert await counters.get("999") == 1
        assert await counters.incr("999", 60, 2) == 3
        assert await counters.get("0") == 0
        assert not counters.locks
        other = Counters()
        for number in range(50):
            await other.incr(f"{number}", 0.05)
        await asyncio.sleep(0.1)
        assert await other.incr("next", 60) == 1
        assert list(other.storage) == ["next"]

    asyncio.run(run())
