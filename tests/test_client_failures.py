"""`openblip.Client` against servers that fail: what is tried again, how often, and what is said in the end."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaky_server import Answer, FlakyServer, as_json, flaky
from openblip import (
    AsyncClient,
    Client,
    InputError,
    OpenBlipError,
    OptionError,
    ServiceError,
)
from openblip.client import Retries
from openblip.client.retries import Attempts

MODELS = {"object": "list", "data": [{"id": "mini", "loaded": True, "tasks": ["caption"], "revision": "r"}]}
BUSY = {"type": "about:blank", "title": "", "status": 429, "detail": "too much work is waiting", "code": "busy"}


def quick(server: FlakyServer, **changes: Any) -> Client:
    return Client(server.url, retries=Retries(**{"times": 3, **changes}), timeout_s=5)


@pytest.mark.parametrize(
    "failure",
    [
        as_json(BUSY, 429), as_json(BUSY, 503), Answer(502, b"<html>bad gateway</html>"), Answer(504, b""),
        Answer(status=0), Answer(200, json.dumps(MODELS).encode(), cut=True),
    ],
    ids=["429", "503", "502 of a proxy", "504 without a body", "reset", "cut"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(failure: Answer) -> None:
    with flaky(failure, failure, as_json(MODELS)) as server, quick(server) as client:
        assert client.models()[0].name == "mini"
        assert len(server.seen) == 3
        first, second, third = (seen.at for seen in server.seen)
        assert 0.1 < second - first < 1.0
        assert 0.2 < third - second < 2.0


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 413, 415, 422, 500, 501])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    problem = {**BUSY, "status": status, "detail": "no, never", "code": "other"}
    with flaky(as_json(problem, status, location="/elsewhere")) as server, quick(server) as client:
        with pytest.raises(OpenBlipError, match="no, never") as caught:
            client.models()
        assert len(server.seen) == 1
        assert isinstance(caught.value, InputError if status in (400, 413, 415, 422) else ServiceError)


def test_tries_are_bounded_in_number() -> None:
    with flaky(as_json(BUSY, 429)) as server, quick(server, times=2) as client:
        with pytest.raises(ServiceError, match="too much work is waiting") as caught:
            client.models()
        assert (caught.value.status, caught.value.code) == (429, "busy")
        assert len(server.seen) == 3
    with flaky(as_json(BUSY, 429)) as server, quick(server, times=0) as client:
        with pytest.raises(ServiceError):
            client.models()
        assert len(server.seen) == 1


def test_the_service_says_when_to_come_back() -> None:
    with flaky(as_json(BUSY, 429, retry_after="1"), as_json(MODELS)) as server, quick(server) as client:
        assert client.models()
        assert 1.0 <= server.seen[1].at - server.seen[0].at < 2.5
    began = time.monotonic()
    with flaky(as_json(BUSY, 429, retry_after="30")) as server, quick(server, within_s=5) as client:
        with pytest.raises(ServiceError, match="too much work"):
            client.models()
        assert len(server.seen) == 1
    assert time.monotonic() - began < 4  # waiting would have been in vain


def test_a_whole_picture_is_sent_again(samples: list[Path]) -> None:
    result = {"captions": [], "answers": [], "matches": [], "embedding": {"vector": [1.0], "model": "mini"}}
    result |= {"cached": False, "timing": {"queue_s": 0.0, "new_s": 1.0}, "error": None, "new": 1}
    good = as_json({"model": "mini", "revision": "r", "results": [result]})
    with flaky(as_json(BUSY, 503), good) as server, quick(server) as client:
        [found] = client.embed(samples[0])
        assert found.vector == (1.0,)
        first, second = server.seen
        assert samples[0].read_bytes() in first.body
        assert samples[0].read_bytes() in second.body
        assert first.path == second.path == "/v1/embed"


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"<html>", b"[1]", b"{}", b'{"data": 3}', b'{"data": [{"id": 1}]}', b'{"results": [{}]}',
     b"\xff\xfe", b"[" * 100_000, b'{"model": "m", "revision": "", "results": [{"error": null, "captions": 3}]}'],
)  # fmt: skip
def test_garbage_is_one_clear_error(body: bytes, samples: list[Path]) -> None:
    with flaky(Answer(200, body, {"content-type": "application/json"})) as server, quick(server) as client:
        calls = (client.models, lambda: client.caption(samples[0]), lambda: client.embed_texts("a"))
        for number, call in enumerate(calls, 1):
            with pytest.raises(ServiceError, match="not that of an openblip service") as caught:
                call()
            assert "\n" not in str(caught.value)
            assert len(server.seen) == number


def event(name: str, content: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()


PIECE = event("piece", {"text": "a", "tokens": ["a"], "token_probabilities": [0.5]})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (PIECE, "ended before the caption did"),
        (PIECE + event("problem", {**BUSY, "status": 504, "detail": "it took longer"}), "it took longer"),
        (PIECE + event("surprise", {}), "not that of an openblip service"),
        (PIECE + b"data: not json\n\n", "not that of an openblip service"),
        (PIECE + event("piece", [1]), "not that of an openblip service"),
    ],
)
def test_a_stream_that_breaks_is_an_error(body: bytes, says: str, samples: list[Path]) -> None:
    answer = Answer(200, body, {"content-type": "text/event-stream"})
    with flaky(as_json(BUSY, 503), answer) as server, quick(server) as client:
        stream = client.caption_stream(samples[0])
        assert next(stream).text == "a"
        with pytest.raises(ServiceError, match=says):
            next(stream)
        assert len(server.seen) == 2
        with pytest.raises(StopIteration):
            next(stream)


def test_a_stream_of_the_wrong_type_is_an_error(samples: list[Path]) -> None:
    with flaky(as_json({})) as server, quick(server) as client, pytest.raises(ServiceError, match="event-stream"):
        next(client.caption_stream(samples[0]))


def test_nobody_there_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ServiceError, match=f"no answer from http://127.0.0.1:{port} .*check that it runs") as caught:
        Client(f"http://127.0.0.1:{port}", retries=Retries(2)).models()
    assert time.monotonic() - began > 0.3
    assert caught.value.status is None
    with pytest.raises(ServiceError, match="no answer from http://127") as caught:
        Client(f"http://me:secret@127.0.0.1:{port}", retries=Retries(0)).models()
    assert "secret" not in str(caught.value)


def test_the_service_may_stand_below_a_path() -> None:
    with flaky(as_json(MODELS)) as server:
        for address in (f"{server.url}/blip", f"{server.url}/blip/"):
            assert Client(address).models()
            assert server.seen[-1].path == "/blip/v1/models"


def test_a_server_that_never_answers_costs_one_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ServiceError, match="no answer"):
            Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5).models()
        assert 0.4 < time.monotonic() - began < 3


def test_a_service_that_comes_up_late_is_waited_for(mini: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def late() -> None:
        time.sleep(0.6)
        with socket.create_server(("127.0.0.1", port)) as listening:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                body = json.dumps(MODELS).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    thread = threading.Thread(target=late)
    thread.start()
    assert Client(f"http://127.0.0.1:{port}").models()
    thread.join()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"url": "localhost:8000"}, "no address"),
        ({"url": "ftp://host"}, "no address"),
        ({"url": "http://"}, "no address"),
        ({"url": "http://host:port"}, "no address"),
        ({"timeout_s": 0}, "out of range"),
        ({"timeout_s": float("nan")}, "out of range"),
        ({"api_key": "ob_se\ncret"}, "no key has"),
        ({"api_key": "schlüssel"}, "no key has"),
    ],
)
def test_what_no_client_can_be_made_of(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        Client(**arguments)
    assert "cret" not in str(caught.value)
    with pytest.raises(OptionError, match="negative"):
        Retries(times=-1)


@given(
    times=st.integers(0, 8), within_s=st.floats(0, 100), after=st.one_of(st.none(), st.integers(0, 50).map(str)),
    share=st.floats(0, 1),
)  # fmt: skip
def test_waits_grow_and_end(times: int, within_s: float, after: str | None, share: float) -> None:
    now = [0.0]
    attempts = Attempts(Retries(times, within_s), lambda: now[0], lambda low, high: low + share * (high - low))
    waits, failure = list[float](), ServiceError("no")
    with pytest.raises(ServiceError):  # noqa: PT012 (it ends, and that is the point)
        while True:
            waits.append(attempts.wait_s(failure, after))
            now[0] += waits[-1]
    assert len(waits) <= times
    assert sum(waits) <= within_s
    for number, wait in enumerate(waits):
        low, high = 0.125 * 2**number, 0.25 * 2**number
        least = float(after or 0)
        assert max(min(low, 4.0), least) <= wait <= max(min(high, 8.0), least)


@given(st.text())
def test_any_retry_after_is_survived(text: str) -> None:
    assert 0 < Attempts(Retries(1, 1e12)).wait_s(ServiceError("no"), text) < 1e12


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < Attempts(Retries(1)).wait_s(ServiceError("no"), date) <= 20


def test_asyncio_tries_again_too(samples: list[Path]) -> None:
    async def ask(server: FlakyServer, **changes: Any) -> Any:
        async with AsyncClient(server.url, retries=Retries(**{"times": 3, **changes})) as client:
            return await client.models()

    with flaky(Answer(status=0), as_json(BUSY, 429, retry_after="1"), as_json(MODELS)) as server:
        assert asyncio.run(ask(server))
        assert [1.0 <= later.at - seen.at < 2.5 for seen, later in pairwise(server.seen)] == [False, True]
    with flaky(as_json(BUSY, 503)) as server, pytest.raises(ServiceError, match="too much work"):
        asyncio.run(ask(server, times=1))
    assert len(server.seen) == 2
    with flaky(as_json({**BUSY, "detail": "never"}, 403)) as server, pytest.raises(ServiceError, match="never"):
        asyncio.run(ask(server))
    assert len(server.seen) == 1
