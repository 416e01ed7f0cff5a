"""Security headers, bounded request heads and CORS, with Starlette's client and a real uvicorn."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
import uvicorn
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openblip.errors import OptionError
from openblip.serve.guard.headers import API_POLICY, BoundedHead, SecurityHeaders, cors, docs_policy

PAGE = get_swagger_ui_html(openapi_url="/openapi.json", title="openblip").body.decode()


def caption(request: Request) -> Response:
    return JSONResponse({"caption": "a dog"})


def stream(request: Request) -> Response:
    return StreamingResponse(iter([b"a ", b"dog"]), headers={"Cache-Control": "no-cache"})


def docs(request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": docs_policy(PAGE)})


def broken(request: Request) -> Response:
    raise RuntimeError("a secret")


def application() -> ASGIApp:
    paths = {"/v1/caption": caption, "/v1/stream": stream, "/docs": docs, "/v1/broken": broken, "/v1x": caption}
    return Starlette(routes=[Route(path, endpoint, methods=["GET", "POST"]) for path, endpoint in paths.items()])


def client(app: ASGIApp | None = None) -> TestClient:
    return TestClient(SecurityHeaders(app or application()), raise_server_exceptions=False)


@pytest.mark.parametrize(("path", "status"), [("/v1/caption", 200), ("/v1/none", 404), ("/v1/broken", 500)])
def test_every_answer_carries_the_headers(path: str, status: int) -> None:
    answer = client().get(path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["content-security-policy"] == API_POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


def test_an_answer_keeps_its_own_headers_and_only_v1_is_not_stored() -> None:
    answer = client().get("/v1/stream")
    assert answer.text == "a dog"
    assert answer.headers.get_list("cache-control") == ["no-cache"]
    assert client().get("/docs").headers.get_list("content-security-policy") == [docs_policy(PAGE)]
    assert "cache-control" not in client().get("/docs").headers
    assert "cache-control" not in client().get("/v1x").headers
    assert client().get("/v1").headers["cache-control"] == "no-store"


def test_streams_are_not_buffered_and_other_scopes_pass() -> None:
    events: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            for part in (b"a", b"b"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                events.append(f"sent {part!r}")

    async def send(message: Message) -> None:
        events.append(f"got {message.get('body', len(message.get('headers', ())))!r}")

    async def receive() -> Message:
        raise AssertionError

    guarded = SecurityHeaders(BoundedHead(app))
    scope: dict[str, Any] = {"type": "http", "path": "/v1/x", "headers": []}
    asyncio.run(guarded(scope, receive, send))
    asyncio.run(guarded({"type": "lifespan"}, receive, send))
    assert events == ["http", "got 5", "got b'a'", "sent b'a'", "got b'b'", "sent b'b'", "lifespan"]


def test_the_docs_page_may_load_what_it_links_and_run_what_stands_in_it() -> None:
    policy = dict(part.split(" ", 1) for part in docs_policy(PAGE).split("; "))
    [script] = re.findall(r"<script>(.*?)</script>", PAGE, re.DOTALL)
    assert "SwaggerUIBundle({" in script
    hashed = b64encode(sha256(script.encode()).digest()).decode()
    [linked] = re.findall(r'<script src="(.*?)"', PAGE)
    [style] = re.findall(r'rel="stylesheet" href="(.*?)"', PAGE)
    [icon] = re.findall(r'icon" href="(.*?)"', PAGE)
    assert policy == {
        "default-src": "'none'",
        "script-src": f"{linked} 'sha256-{hashed}'",
        "style-src": f"{style} 'unsafe-inline'",
        "img-src": f"data: {icon}",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "unsafe" not in policy["script-src"]


def test_a_page_of_its_own_parts_and_one_that_would_widen_the_policy() -> None:
    assert "script-src 'self';" in docs_policy('<script src="/static/ui.js?v=1"></script>')
    assert "script-src 'none';" in docs_policy("<p>no script</p>")
    with pytest.raises(OptionError, match="cannot stand in"):
        docs_policy('<script src="https://a.example/x; script-src *"></script>')


BOUNDS = {"max_headers": 20, "max_bytes": 2000, "max_target_bytes": 300}


@pytest.mark.parametrize(
    ("path", "headers", "status", "said"),
    [
        ("/v1/caption", {}, 200, "a dog"),
        ("/v1/caption?x=" + "y" * 200, {"X-A": "b" * 1500}, 200, "a dog"),
        ("/v1/caption", {f"X-{number}": "b" for number in range(20)}, 431, "are more than 20: send fewer"),
        ("/v1/caption", {"X-A": "b" * 2000}, 431, "bytes of headers are more than 2,000: send less"),
        ("/v1/caption?x=" + "y" * 300, {}, 414, "the address is longer than 300 bytes: shorten it"),
        ("/" + "y" * 301, {}, 414, "longer than 300"),
    ],
)
def test_a_head_that_is_too_large(path: str, headers: dict[str, str], status: int, said: str) -> None:
    answer = client(BoundedHead(application(), **BOUNDS)).get(path, headers=headers)
    assert answer.status_code == status
    assert said in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


@contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    """The port of a real uvicorn, with its h11."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_uvicorn_bounds_the_bytes_and_we_the_number() -> None:
    def ask(port: int, *headers: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            try:
                connection.sendall(b"\r\n".join([b"GET /v1/caption HTTP/1.1", b"Host: a", *headers, b"", b""]))
                answer = b""
                while chunk := connection.recv(65536):
                    answer += chunk
            except ConnectionError:  # closed while we were still sending
                return b"closed"
        return answer

    with served(SecurityHeaders(BoundedHead(application()))) as port:
        assert b"200 OK" in ask(port, b"Connection: close")
        assert b" 431 " in ask(port, *(b"X-%d: b" % number for number in range(200)))
        assert b" 431 " in ask(port, b"X-A: " + b"b" * 16_384)
        began = time.monotonic()
        huge = ask(port, b"X-A: " + b"b" * 20_000_000)
        assert huge == b"closed" or b" 400 " in huge.splitlines()[0]
        assert time.monotonic() - began < 3
        assert b"200 OK" in ask(port, b"Connection: close")


def plain(scope: Scope, receive: Receive, send: Send) -> Any:
    return PlainTextResponse("x")(scope, receive, send)


def test_cors_is_closed_unless_origins_are_given() -> None:
    assert cors(plain, []) is plain
    headers = {"Origin": "https://a.example"}
    assert "access-control-allow-origin" not in client(plain).get("/v1/x", headers=headers).headers
    asked = headers | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
    opened = client(cors(plain, ["https://a.example"]))
    assert opened.get("/v1/x", headers=headers).headers["access-control-allow-origin"] == "https://a.example"
    preflight = opened.options("/v1/x", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://a.example"
    assert "X-API-Key" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["x-content-type-options"] == "nosniff"
    for other in ("https://b.example", "http://a.example", "https://a.example:8443", "https://a.example.evil", "null"):
        assert "access-control-allow-origin" not in opened.get("/v1/x", headers={"Origin": other}).headers
        assert opened.options("/v1/x", headers=asked | {"Origin": other}).status_code == 400
    assert client(cors(plain, ["*"])).get("/v1/x", headers=headers).headers["access-control-allow-origin"] == "*"


def test_cors_with_credentials() -> None:
    opened = client(cors(plain, ["https://a.example"], credentials=True))
    answer = opened.get("/v1/x", headers={"Origin": "https://a.example"})
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("origins", "credentials"),
    [
        (["*"], True),
        (["*", "https://a.example"], False),
        *(([origin], False) for origin in ("a.example", "https://a.example/", "null", "https://*.example", "file://")),
        *(
            ([origin], False)
            for origin in ("https://a.example\n", "https://A.example", "https://u@a.example", "http://")
        ),
        ([""], False),
    ],
)
def test_origins_that_are_refused(origins: list[str], credentials: bool) -> None:
    with pytest.raises(OptionError, match=r"origin") as caught:
        cors(plain, origins, credentials=credentials)
    assert "\n" not in str(caught.value)
