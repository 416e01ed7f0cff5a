"""Clients that break or stretch HTTP itself: slow, endless, lying or gone. The service answers, bounds and forgets."""

from __future__ import annotations

import json
import select
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hostile_service import RunningService, answers, running_service, send
from photos import photo, saved

BODY_TIMEOUT_S = 1.5
MAX_BODY_BYTES = 2_000_000
MAX_HEAD_BYTES = 16_384
HEALTHZ = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /v1/caption HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CLOSE = b"connection: close\r\n"
PICTURE = saved(photo(), "JPEG")


def caption(**more: Any) -> bytes:
    return json.dumps({"images": [b64encode(PICTURE).decode()], **more}).encode()


def posted(body: bytes, head: bytes = b"") -> bytes:
    return POST + head + b"content-length: %d\r\n\r\n" % len(body) + body


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    limits = {"body_timeout_s": BODY_TIMEOUT_S, "max_body_bytes": MAX_BODY_BYTES, "threads": 1}
    with running_service(tmp_path_factory.mktemp("wire"), **limits) as service:
        yield service


@pytest.fixture(autouse=True)
def _still_well(service: RunningService) -> Iterator[None]:
    yield
    service.check_health()
    assert service.post("caption", caption()).status == 200


def trickle(connection: socket.socket, piece: bytes, seconds: float) -> float:
    """A piece each twentieth of a second, until the service closes. Returns how long it stood that."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            connection.sendall(piece)
        except OSError:
            break
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_slow_body_is_answered_408_and_others_are_served_meanwhile(service: RunningService) -> None:
    with service.connected() as slow:
        slow.sendall(POST + b"content-length: 1000000\r\n\r\n")
        started = time.monotonic()
        slow.settimeout(0.2)
        served = 0
        while True:
            try:
                if slow.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                slow.sendall(b" ")
            assert service.post("caption", caption()).status == 200
            served += 1
        seconds = time.monotonic() - started
        slow.settimeout(5)
        [answer] = answers(slow, 1)
        assert answer.status == 408
        assert answer.problem["code"] == "slow"
        assert BODY_TIMEOUT_S - 0.1 < seconds < BODY_TIMEOUT_S + 2
        assert served >= 4
        assert trickle(slow, b" ", 10) < BODY_TIMEOUT_S + 2, "what is left of a refused body may take for ever"


@pytest.mark.parametrize(
    ("start", "piece"),
    [(b"GET / HTTP/1.1\r\nx: ", b"a"), (HEALTHZ, b"x: a\r\n"), (b"", b"\r\n"), (HEALTHZ + b"\r\nGET /", b"a")],
    ids=["value", "lines", "nothing", "second"],
)
def test_a_head_that_never_ends_has_its_time(service: RunningService, start: bytes, piece: bytes) -> None:
    with service.connected() as slow:
        slow.sendall(start)
        assert BODY_TIMEOUT_S - 0.2 < trickle(slow, piece, 10) < BODY_TIMEOUT_S + 2


def test_a_slow_head_is_told_so(service: RunningService) -> None:
    [answer] = service.raw(HEALTHZ)
    assert answer.status == 408
    assert answer.problem["code"] == "slow"
    assert answer.headers["connection"] == "close"


def test_connections_that_ask_nothing_are_closed(service: RunningService) -> None:
    before = service.open_files()
    with ExitStack() as stack:
        idle = [stack.enter_context(service.connected()) for _ in range(300)]
        assert service.post("caption", caption()).status == 200
        assert service.open_files() >= before + 290
        deadline = time.monotonic() + BODY_TIMEOUT_S + 3
        while service.open_files() > before + 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert service.open_files() <= before + 5
        assert idle[0].recv(1) == b""


@pytest.mark.parametrize(
    "head",
    [
        HEALTHZ + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        HEALTHZ + b"x" * MAX_HEAD_BYTES + b": a\r\n\r\n",
        HEALTHZ + b"x: a\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        HEALTHZ + b"cookie: " + b"a" * 40_000,
    ],
    ids=["value", "name", "many", "path", "endless"],
)
def test_a_large_head_is_answered_431(service: RunningService, head: bytes) -> None:
    [answer] = service.raw(head)
    assert answer.status == 431
    assert answer.problem["code"] == "head"
    assert answer.headers["connection"] == "close"


def test_a_head_below_the_bound_is_read(service: RunningService) -> None:
    pieces = [HEALTHZ, CLOSE, b"x: " + b"a" * 14_000 + b"\r\n", b"\r\n"]
    assert [answer.status for answer in service.raw(*pieces)] == [200]
    assert [answer.status for answer in service.raw(b"".join(pieces))] == [200]


def test_an_endless_head_takes_no_memory(service: RunningService) -> None:
    before = service.rss_bytes()
    sent = 0
    with service.connected() as endless:
        endless.sendall(HEALTHZ + b"x: ")
        try:
            while sent < 200_000_000:
                sent += endless.send(bytes(2**20).replace(b"\0", b"a"))
        except OSError:
            pass
    assert sent < 20_000_000
    assert service.rss_bytes() < before + 20_000_000


NOT_HTTP = {
    "negative": POST + b"content-length: -5\r\n\r\n",
    "plus": POST + b"content-length: +2\r\n\r\n{}",
    "hexadecimal": POST + b"content-length: 0x2\r\n\r\n{}",
    "digits": POST + b"content-length: " + b"9" * 5000 + b"\r\n\r\n",
    "twice": POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "both": POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "encoding": POST + b"transfer-encoding: gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunk": POST + b"transfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "chunk-size": POST + b"transfer-encoding: chunked\r\n\r\n" + b"F" * 17 + b"\r\n{}",
    "connect": b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "bytes": bytes(range(256)),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(200),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http3": b"GET /healthz HTTP/3.7\r\n\r\n",
    "method": b"STEAL /healthz HTTP/1.1\r\n\r\n",
    "path": b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    "folded": HEALTHZ + b"  more\r\n\r\n",
    "nul": HEALTHZ + b"x: a\0b\r\n\r\n",
    "space": HEALTHZ + b"x : a\r\n\r\n",
    "line-feeds": b"GET /healthz HTTP/1.1\nhost: x\n\n",
    "upgrade": POST + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("request_", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_is_answered_400_and_closed(service: RunningService, request_: bytes) -> None:
    [answer] = service.raw(request_)
    assert answer.status == 400
    assert answer.problem["code"] in ("http", "upgrade")
    assert answer.headers["connection"] == "close"


def test_a_body_that_is_shorter_than_its_length(service: RunningService) -> None:
    with service.connected() as liar:
        send(liar, POST + CLOSE + b"content-length: 1000\r\n\r\n", caption()[:100])
        [answer] = answers(liar)
    assert answer.status == 408


def test_a_body_that_is_longer_than_its_length(service: RunningService) -> None:
    """The rest is the next request, which is none."""
    with service.connected() as liar:
        liar.sendall(POST + b"content-length: 2\r\n\r\n{}")
        assert [answer.status for answer in answers(liar, 1)] == [422]
        liar.sendall(caption())
        assert [answer.status for answer in answers(liar)] == [400]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_too_large_a_body_is_refused_by_what_it_says_or_by_what_comes(service: RunningService, kind: str) -> None:
    head = f"POST /v1/caption HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\n".encode()
    [said] = service.raw(head + b"content-length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    assert said.status == 413
    assert said.problem["code"] == "too_large"
    if kind == "text/plain":  # which is not read at all
        return
    chunk = b"10000\r\n" + (b"--x\r\n" if "form" in kind else b"").ljust(0x10000) + b"\r\n"
    with service.connected() as connection:
        connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 50 * MAX_BODY_BYTES and not select.select([connection], [], [], 0.002)[0]:
            send(connection, chunk)
            sent += len(chunk)
        [came] = answers(connection)
    assert came.status in (400, 413)  # a form that is none is refused as such, whatever its size
    assert came.problem["code"] in ("too_large", "form")
    assert sent < 10 * MAX_BODY_BYTES  # of which the kernel keeps some


def test_requests_in_a_row_are_answered_in_their_order(service: RunningService) -> None:
    body = caption()
    whole = (
        posted(body) + HEALTHZ + b"\r\n" + posted(b"[") + b"GET /nowhere HTTP/1.1\r\n\r\n" + HEALTHZ + CLOSE + b"\r\n"
    )
    assert [answer.status for answer in service.raw(whole)] == [200, 200, 400, 404, 200]
    rows = service.raw(HEALTHZ + b"\r\n", *[HEALTHZ + b"\r\n"] * 2000, HEALTHZ + CLOSE + b"\r\n")
    assert [answer.body for answer in rows] == [b"ok"] * 2002


def test_rubbish_behind_a_request_never_stands_for_its_answer(service: RunningService) -> None:
    found = service.raw(posted(caption(options={"num_beams": 4})) + b"\0rubbish\r\n\r\n")
    assert found == [], "the answer that came was to the second request, and a proxy would take it for the first's"


def test_who_goes_in_mid_upload_leaves_nothing(service: RunningService) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(service.connected())
            connection.sendall(POST + b"content-length: 1000000\r\n\r\n" + bytes(1000))
        deadline = time.monotonic() + 1
        while service.in_hand() < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.in_hand() == 20
    started = time.monotonic()
    service.wait_until_idle()
    assert time.monotonic() - started < BODY_TIMEOUT_S / 2, "it waited for the time to be up"


def test_who_goes_in_mid_answer_leaves_nothing(service: RunningService) -> None:
    pictures = [b64encode(saved(photo(seed=seed), "JPEG")).decode() for seed in range(16)]
    body = caption(images=pictures, options={"num_beams": 16, "max_length": 60, "min_length": 50})
    with service.connected() as connection:
        connection.sendall(posted(body))
        deadline = time.monotonic() + 5
        while not service.in_hand() and time.monotonic() < deadline:
            time.sleep(0.002)
        assert service.in_hand() == 1
    service.wait_until_idle()


@pytest.mark.parametrize("reset", [False, True])
def test_who_goes_in_mid_stream_leaves_nothing(service: RunningService, reset: bool) -> None:
    with service.connected() as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(posted(caption(stream=True, options={"num_beams": 1, "min_length": 50, "max_length": 60})))
        assert connection.recv(50).startswith(b"HTTP/1.1 200")
    service.wait_until_idle()


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(service: RunningService) -> None:
    body = caption()
    with service.connected() as connection:
        connection.sendall(POST + CLOSE + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert [answer.status for answer in answers(connection)] == [200]


def test_no_file_is_left(service: RunningService) -> None:
    """A folder of its own is the working folder of the service."""
    assert {path.name for path in Path(service.folder).iterdir()} <= {"stderr", "results", "compiled"}
