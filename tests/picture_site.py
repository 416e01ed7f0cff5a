"""A TLS server on loopback with an own authority, for the tests of pictures by address."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

from openblip.serve.guard.addresses import FetchSettings, PictureFetcher, Resolve
from required import program

NAME, OTHER = "pictures.example", "other.example"
INSIDE = "inside.example"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Authority:
    """A certificate authority of its own and a certificate for NAME, OTHER and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        make = [program("openssl"), *"req -x509 -newkey rsa:2048 -nodes -days 2".split()]
        ca = ["-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem"]
        names = f"subjectAltName=DNS:{NAME},DNS:{OTHER},DNS:xn--bcher-kva.example,IP:127.0.0.1"
        leaf = ["-subj", f"/CN={NAME}", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", names]
        leaf += ["-addext", "basicConstraints=CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"]
        for options in (ca, leaf):
            subprocess.run([*make, *options], cwd=folder, check=True, capture_output=True)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.client = ssl.create_default_context(cafile=folder / "ca.pem")


class Site:
    """A TLS server on loopback: answers paths, and remembers what it was asked for, by which name, and how it ended."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.answers: dict[str, bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = {}
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.connections = self.open = 0

    async def __aenter__(self) -> Site:
        self.authority.server.sni_callback = lambda _, name, __: self.names.append(name)
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self.authority.server)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for _ in range(100):
            if not self.open:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("a connection was left open")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            answer = self.answers[request.split()[1].decode()]
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self.open -= 1

    def fetcher(self, resolve: Resolve | None = None, **bounds: float) -> PictureFetcher:
        """One that takes this server, and no other machine, for public."""
        bounds.setdefault("timeout_s", 5.0)
        settings = FetchSettings(ports=(443, self.port), **bounds)  # type: ignore[arg-type]
        allowed = ip_address("127.0.0.1")
        return PictureFetcher(
            settings,
            resolve=resolve or known,
            is_allowed=lambda address: address == allowed,
            ssl_context=self.authority.client,
        )

    def url(self, path: str = "/a.jpg", host: str = NAME) -> str:
        return f"https://{host}:{self.port}{path}"


async def known(host: str, port: int) -> list[str]:
    """What stands for DNS."""
    return {INSIDE: ["10.0.0.7"]}.get(host, ["127.0.0.1"])


def ok(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def with_site(authority: Authority, body: Callable[[Site], Awaitable[None]]) -> None:
    """Run the body beside a server, in a loop that reports nothing lost."""
    complaints: list[object] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with Site(authority) as site:
            await body(site)

    asyncio.run(run())
    assert complaints == []
