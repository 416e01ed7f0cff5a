"""Pictures by address: a real TLS server with an own authority, and everything a stranger may try instead."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator

import pytest

from openblip.errors import ImageError, OptionError
from openblip.serve.guard.addresses import FetchSettings, PictureFetcher
from picture_site import CHUNKED, INSIDE, NAME, OTHER, Authority, Site, known, ok, redirect, with_site

SLACK_S = 0.5


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def refusal(error: pytest.ExceptionInfo[ImageError]) -> str:
    line = str(error.value)
    assert line.isprintable()
    assert len(line) < 400
    return line


def test_a_picture_is_fetched(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    picture = bytes(range(256)) * 500

    async def body(site: Site) -> None:
        site.answers["/a%20b/%C3%BC.jpg?size=2&x=%C3%A4"] = ok(picture, "Content-Type: text/html", "Set-Cookie: a=b")
        fetcher = site.fetcher(max_bytes=len(picture))
        for _ in range(2):
            assert await fetcher.fetch(site.url("/a%20b/ü.jpg?size=2&x=ä#part")) == picture
        fetcher.close()
        assert site.names == [NAME] * 2
        assert site.requests[0] == site.requests[1], "no cookie is kept"
        sent = site.requests[0].lower()
        assert f"\r\nhost: {NAME}:{site.port}\r\n".encode() in sent
        assert b"\r\naccept-encoding: identity\r\n" in sent
        assert b"cookie" not in sent

    with_site(authority, body)


def test_chunked_compressed_and_international(authority: Authority) -> None:
    async def body(site: Site) -> None:
        site.answers["/chunked"] = CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        site.answers["/gzip"] = ok(b"\x1f\x8b bomb", "Content-Encoding: gzip")
        fetcher = site.fetcher()
        assert await fetcher.fetch(site.url("/chunked", host="Pictures.EXAMPLE.")) == b"abcde"
        assert await fetcher.fetch(site.url("/gzip", host="bücher.example")) == b"\x1f\x8b bomb", "not decompressed"
        assert await fetcher.fetch(site.url("/gzip", host="127.0.0.1")) == b"\x1f\x8b bomb"
        assert site.names == [NAME, "xn--bcher-kva.example", None]

    with_site(authority, body)


def test_certificates_are_checked(authority: Authority) -> None:
    async def body(site: Site) -> None:
        site.answers["/a.jpg"] = ok(b"x")
        with pytest.raises(ImageError, match="no valid certificate") as wrong_name:
            await site.fetcher().fetch(site.url(host="another.example"))
        assert "another.example" in refusal(wrong_name)
        site.authority = type("Distrust", (), {"client": ssl.create_default_context()})  # type: ignore[assignment]
        with pytest.raises(ImageError, match="no valid certificate"):
            await site.fetcher().fetch(site.url())
        assert site.requests == []

    with_site(authority, body)


def test_a_name_that_changes_its_answer_gains_nothing(authority: Authority) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.7"]

    async def body(site: Site) -> None:
        site.answers["/a.jpg"] = ok(b"x")
        site.answers["/again"] = redirect("/a.jpg")
        assert await site.fetcher(rebinding).fetch(site.url()) == b"x"
        assert asked == [NAME], "resolved once, and the connection went there"
        asked.clear()
        with pytest.raises(ImageError, match="not the name of a public server"):
            await site.fetcher(rebinding).fetch(site.url("/again"))
        assert asked == [NAME] * 2, "each hop is checked anew"
        assert len(site.requests) == 2

    with_site(authority, body)


@pytest.mark.parametrize(
    "answer", ["10.0.0.7", "127.0.0.1 10.0.0.7", "10.0.0.7 127.0.0.1", "127.0.0.1 ::1", "fe80::1%lo", "", "x"]
)
def test_every_address_of_the_answer_is_checked(authority: Authority, answer: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return answer.split()

    async def body(site: Site) -> None:
        with pytest.raises(ImageError, match="not the name of a public server") as caught:
            await site.fetcher(resolve).fetch(site.url())
        assert "10.0" not in refusal(caught)
        assert site.connections == 0

    with_site(authority, body)


def test_inside_names_and_unknown_names_sound_alike(authority: Authority) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    async def body(site: Site) -> None:
        lines = []
        for resolve in (known, unknown):
            with pytest.raises(ImageError) as caught:
                await site.fetcher(resolve).fetch(site.url(host=INSIDE))
            lines.append(refusal(caught))
        assert lines[0] == lines[1]

    with_site(authority, body)


def test_redirects(authority: Authority) -> None:
    async def body(site: Site) -> None:
        site.answers["/1"] = redirect("/2", 301)
        site.answers["/2"] = redirect(site.url("/3", host=OTHER), 307)
        site.answers["/3"] = redirect("a.jpg?x#y", 308)
        site.answers["/a.jpg?x"] = ok(b"x")
        assert await site.fetcher().fetch(site.url("/1")) == b"x"
        assert site.names == [NAME, NAME, OTHER, OTHER]
        with pytest.raises(ImageError, match="redirects more than 2 times"):
            await site.fetcher(max_redirects=2).fetch(site.url("/1"))
        site.answers["/loop"] = redirect("/loop")
        site.requests.clear()
        with pytest.raises(ImageError, match="redirects more than 3 times"):
            await site.fetcher().fetch(site.url("/loop"))
        assert len(site.requests) == 4

    with_site(authority, body)


@pytest.mark.parametrize(
    "location",
    [
        *("http://pictures.example/a.jpg", "file:///etc/passwd", "gopher://pictures.example:6379/_INFO"),
        *("//10.0.0.7/", "https://169.254.169.254/latest/meta-data/", f"https://{INSIDE}/secret", "https://[::1]/"),
        *("https://0x7f.1/", "https://user:pass@pictures.example/", "https://pictures.example:22/", "https://[/"),
        *("data:image/png;base64,", "https://localhost/", "\\\\10.0.0.7\\x", "ftp://pictures.example/a.jpg"),
    ],
)
def test_a_redirect_to_where_nothing_is_fetched(authority: Authority, location: str) -> None:
    async def body(site: Site) -> None:
        site.answers["/a.jpg"] = redirect(location)
        with pytest.raises(ImageError) as caught:
            await site.fetcher().fetch(site.url())
        assert re.search("redirects to an address that is not fetched|is not the name of a public", refusal(caught))
        assert len(site.requests) == site.connections == 1

    with_site(authority, body)


def test_bodies_that_are_too_large(authority: Authority) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()
            sent += 10_000

    async def body(site: Site) -> None:
        site.answers["/said"] = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"
        site.answers["/chunked"] = CHUNKED + (b"fa\r\n" + b"x" * 250 + b"\r\n") * 5 + b"0\r\n\r\n"
        site.answers["/endless"] = endless
        site.answers["/headers"] = b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 40_000 + b"\r\n"
        for path in ("/said", "/chunked", "/endless"):
            with pytest.raises(ImageError, match="larger than 1,000 bytes"):
                await site.fetcher(max_bytes=1000).fetch(site.url(path))
        with pytest.raises(ImageError, match="answered with no HTTP"):
            await site.fetcher(max_bytes=1000).fetch(site.url("/headers"))

    with_site(authority, body)
    assert sent < 20_000_000, "the rest was not read"


async def _drip(writer: asyncio.StreamWriter, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)


def test_slow_servers_are_left_in_time(authority: Authority) -> None:
    async def body(site: Site) -> None:
        drops = (b"x" for _ in range(10_000))
        start = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        site.answers["/body"] = lambda writer: _drip(writer, iter([start, *drops]))
        site.answers["/header"] = lambda writer: _drip(writer, iter([b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 1000]))
        site.answers["/early"] = lambda writer: _drip(writer, iter([b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 1000))
        site.answers["/silent"] = lambda writer: asyncio.sleep(1.5)
        fetcher = site.fetcher(timeout_s=0.5)
        for path in ("/body", "/header", "/early", "/silent"):
            began = time.monotonic()
            with pytest.raises(ImageError, match=r"took longer than 0\.5 s"):
                await fetcher.fetch(site.url(path))
            assert time.monotonic() - began < 0.5 + SLACK_S
        await asyncio.sleep(1.5)  # the silent one writes, and finds that we left

    with_site(authority, body)


def test_names_and_handshakes_that_hang_are_left_in_time(authority: Authority) -> None:
    async def hanging(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert len(await reader.read(-1)) > 100, "our greeting, and then the end: the socket was closed"
        ended.set()
        writer.close()

    ended = asyncio.Event()

    async def body(site: Site) -> None:
        with pytest.raises(ImageError, match=r"took longer than 0\.3 s"):
            await site.fetcher(hanging, timeout_s=0.3).fetch(site.url())
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        site.port = server.sockets[0].getsockname()[1]
        with pytest.raises(ImageError, match=r"took longer than 0\.3 s"):
            await site.fetcher(timeout_s=0.3).fetch(site.url())
        await asyncio.wait_for(ended.wait(), 1)
        server.close()

    with_site(authority, body)


def test_servers_that_speak_otherwise(authority: Authority) -> None:
    async def body(site: Site) -> None:
        site.answers["/missing"] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nsecret"
        site.answers["/short"] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
        site.answers["/none"] = b""
        site.answers["/other"] = b"220 mail.example ESMTP\r\n"
        site.answers["/partial"] = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx"
        for path, said in (("/missing", "answered 404"), ("/partial", "answered 206"), ("/short", "broke off"),
                           ("/none", "broke off"), ("/other", "no HTTP")):  # fmt: skip
            with pytest.raises(ImageError, match=said) as caught:
                await site.fetcher().fetch(site.url(path))
            assert "secret" not in refusal(caught)
        plain = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        site.port = plain.sockets[0].getsockname()[1]
        with pytest.raises(ImageError, match=r"cannot be reached|no valid certificate"):
            await site.fetcher().fetch(site.url())
        plain.close()
        await plain.wait_closed()
        with pytest.raises(ImageError, match="cannot be reached"):
            await site.fetcher().fetch(site.url())

    with_site(authority, body)


def test_another_address_is_tried_where_the_first_does_not_answer(authority: Authority) -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async def body(site: Site) -> None:
        site.answers["/a.jpg"] = ok(b"x")
        fetcher = site.fetcher(two)
        fetcher._is_allowed = lambda address: address.is_loopback
        assert await fetcher.fetch(site.url()) == b"x"

    with_site(authority, body)


def test_few_at_once_and_a_cancelled_one_frees_its_place(authority: Authority) -> None:
    async def body(site: Site) -> None:
        site.answers["/slow"] = lambda writer: _drip(writer, iter([b"HTTP/1.1 200 OK\r\n\r\n", b"x", b"x", b"x", b"x"]))
        fetcher = site.fetcher(at_once=2)
        tasks = [asyncio.create_task(fetcher.fetch(site.url("/slow"))) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert site.connections <= 2
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [b"xxxx"] * 4

    with_site(authority, body)


def test_the_systems_resolver(authority: Authority) -> None:
    async def body(site: Site) -> None:
        fetcher = PictureFetcher(FetchSettings(ports=(site.port,), timeout_s=5), ssl_context=authority.client)
        try:
            for host in ("localhost.localdomain", "no-such-name.invalid"):
                with pytest.raises(ImageError, match="not the name of a public server"):
                    await fetcher.fetch(site.url(host=host))
        finally:
            fetcher.close()
        assert site.connections == 0

    with_site(authority, body)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"max_bytes": 0}, {"max_redirects": -1}, {"ports": ()}, {"ports": (0,)}, {"at_once": 0}),
        *({"timeout_s": 0}, {"timeout_s": float("nan")}, {"timeout_s": float("inf")}),
    ],
)
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        FetchSettings(**wrong)  # type: ignore[arg-type]
