"""Pictures by address, from servers on the loopback that behave well and badly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
from PIL import Image

from openblip.errors import ImageError
from openblip.image import ImageLimits, load_image

STOP = threading.Event()


def picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (12, 8), (255, 0, 0)).save(file, "PNG")
    return file.getvalue()


class Server(BaseHTTPRequestHandler):
    """Each path is one behaviour."""

    def do_GET(self) -> None:
        """Answer as the path says."""
        name, _, rest = self.path.strip("/").partition("/")
        {
            "good.png": lambda: self.answer(picture()),
            "caf%C3%A9%20au%20lait.png": lambda: self.answer(picture()),
            "unsized.png": lambda: self.answer(picture(), sized=False),
            "page": lambda: self.answer(b"<!doctype html><title>Not here</title>"),
            "empty": lambda: self.answer(b""),
            "hops": lambda: self.redirect(f"/hops/{int(rest) - 1}" if int(rest) > 0 else "/good.png"),
            "loop": lambda: self.redirect("/loop"),
            "to-file": lambda: self.redirect("file:///etc/passwd"),
            "to-ftp": lambda: self.redirect("ftp://127.0.0.1/a.png"),
            "large-said": lambda: self.answer(b"x", length=10**9),
            "large-unsaid": lambda: self.endless(b"x" * 65536, 0),
            "broken-off": lambda: self.answer(picture()[:40], length=len(picture())),
            "silent": lambda: STOP.wait(30),
            "trickling-body": lambda: self.endless(b"x", 0.05),
            "trickling-header": self.trickle_header,
        }.get(name, lambda: self.send_error(404, "Not Found"))()

    def answer(self, body: bytes, *, sized: bool = True, length: int | None = None) -> None:
        self.send_response(200)
        if sized:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, where: str) -> None:
        self.send_response(302)
        self.send_header("Location", where)
        self.end_headers()

    def endless(self, chunk: bytes, pause_s: float) -> None:
        self.send_response(200)
        self.end_headers()
        while not STOP.wait(pause_s):
            self.wfile.write(chunk)

    def trickle_header(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not STOP.wait(0.05):
            self.wfile.write(b"x")

    def handle(self) -> None:
        """A client that hangs up is no news."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running server."""
    STOP.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        STOP.set()
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def refusal(url: str, limits: ImageLimits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(url, limits or ImageLimits(url_timeout_s=10))
    message = str(caught.value)
    assert url in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", ["good.png", "unsized.png", "café au lait.png", "hops/0", "hops/4"])
def test_a_picture_by_its_address(server: str, path: str) -> None:
    image = load_image(f"{server}/{path}")
    assert image.size == (12, 8)
    assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("hops/5", "more than 5 times"),
        ("loop", "more than 5 times"),
        ("to-file", "is not allowed"),
        ("to-ftp", "something other than http"),
        ("nowhere", "answered 404 Not Found"),
        ("page", "not a picture"),
        ("empty", "empty"),
        ("broken-off", "broke off after 40 of"),
        ("large-said", "larger than 50,000,000 bytes"),
    ],
)
def test_what_an_address_may_answer_instead(server: str, path: str, says: str) -> None:
    assert says in refusal(f"{server}/{path}")


def test_an_endless_body_stops_at_the_byte_limit(server: str) -> None:
    start = time.perf_counter()
    assert "larger than 200,000 bytes" in refusal(f"{server}/large-unsaid", ImageLimits(max_bytes=200_000))
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("path", ["silent", "trickling-body", "trickling-header"])
def test_a_slow_server_is_given_up_on_in_time(server: str, path: str) -> None:
    start = time.perf_counter()
    assert "longer than 0.4 s" in refusal(f"{server}/{path}", ImageLimits(url_timeout_s=0.4))
    assert time.perf_counter() - start < 1.5


def test_nobody_listens_and_addresses_that_are_none() -> None:
    assert "cannot be downloaded" in refusal("http://127.0.0.1:9/photo.jpg")
    for url in ("http://", "http://:80/x", "https://[::1/x", "http://127.0.0.1:port/x"):
        assert "cannot be downloaded" in refusal(url)
