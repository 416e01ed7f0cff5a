"""A picture from an address that a stranger gave: checked, resolved once, and bounded in time, bytes and redirects.

Does not know what the bytes mean. Each hop is resolved once, all its addresses are checked, and the connection goes to
one of those that were checked, so that a name which changes its answer (DNS rebinding) gains nothing. The name still
stands in SNI, certificate check and Host. httpcore2 is used directly because it does no more than this needs: it
follows no redirect, keeps no cookie, reads no proxy from the environment and decompresses nothing. The package's
`download` is for the user's own addresses and checks none of this.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urljoin

import anyio
import httpcore2

from openblip.errors import ImageError, OptionError
from openblip.serve.guard.public_addresses import HTTPS_PORT, Target, is_public, not_public, parse_url

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to the textual IP addresses of the host; OSError where there are none."""
IsAllowed = Callable[[IPv4Address | IPv6Address], bool]

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_ADDRESSES = 4
_RESOLVERS = 8
_CLOSE_S = 1.0
_FAILURES = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)


@dataclass(frozen=True)
class FetchSettings:
    """Bounds of one download, validated at construction. Raises OptionError for a value outside its range."""

    max_bytes: int = 20_000_000
    """Of the body."""
    timeout_s: float = 10.0
    """For the whole: waiting for a place, names, connections, redirects and body."""
    max_redirects: int = 3
    ports: tuple[int, ...] = (HTTPS_PORT,)
    at_once: int = 16
    """How many downloads run at the same time; times `max_bytes` that is their memory. Others wait for a place."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_bytes <= 2**31:
            raise OptionError(f"max_bytes of pictures by address is {self.max_bytes:,}: give 1 to {2**31:,}")
        if not 0 < self.timeout_s <= 600:
            raise OptionError(f"timeout_s of pictures by address is {self.timeout_s}: give above 0 to 600")
        if not 0 <= self.max_redirects <= 10:
            raise OptionError(f"max_redirects of pictures by address is {self.max_redirects}: give 0 to 10")
        if not self.ports or not all(1 <= port <= 65535 for port in self.ports):
            raise OptionError(f"ports of pictures by address are {self.ports}: give one or more of 1 to 65535")
        if self.at_once < 1:
            raise OptionError(f"at_once of pictures by address is {self.at_once}: give 1 or more")


class PictureFetcher:
    """Downloads for strangers. Used in one event loop, until `close`.

    `resolve`, `is_allowed` and `ssl_context` are for tests: by default the system resolves, public addresses alone are
    allowed and the system's certificates are trusted.
    """

    def __init__(
        self,
        settings: FetchSettings | None = None,
        *,
        resolve: Resolve | None = None,
        is_allowed: IsAllowed = is_public,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings or FetchSettings()
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="openblip-names")
        self._resolve = resolve or self._resolve_by_system
        self._is_allowed = is_allowed
        self._ssl_context = ssl_context or ssl.create_default_context()
        self._places = asyncio.Semaphore(self._settings.at_once)

    def close(self) -> None:
        """Start no look-up any more; one that hangs ends when the system's resolver gives up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> bytes:
        """The body that an address answers with, at most `max_bytes` long; whether it is a picture is not looked at.

        Raises ImageError, in one line that tells nothing of servers that are not public.
        """
        target = parse_url(url, self._settings.ports)
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._places:
                return await self._follow(target)
        except TimeoutError:
            raise ImageError(
                f"{target.host} took longer than {self._settings.timeout_s:g} s: try again, or send the picture itself"
            ) from None

    async def _follow(self, target: Target) -> bytes:
        first = target.host
        for _ in range(self._settings.max_redirects + 1):
            answer = await self._get(target)
            if isinstance(answer, bytes):
                return answer
            try:
                target = parse_url(urljoin(target.url, answer.location), self._settings.ports)
            except ValueError:  # an ImageError is one too; what urljoin cannot split is a plain one
                raise ImageError(
                    f"{first} redirects to an address that is not fetched: give the picture's own https address"
                ) from None
        raise ImageError(
            f"{first} redirects more than {self._settings.max_redirects} times: give the picture's own address"
        )

    async def _get(self, target: Target) -> bytes | _Redirect:
        """One request to one host, on a connection of its own."""
        network = _PinnedNetwork(await self._checked_addresses(target), self._settings.timeout_s)
        host = target.host.encode("ascii")
        connection = httpcore2.AsyncHTTPConnection(
            httpcore2.Origin(b"https", host, target.port), self._ssl_context, network_backend=network
        )
        url = httpcore2.URL(scheme=b"https", host=host, port=target.port, target=target.path.encode("ascii"))
        try:
            async with connection.stream("GET", url, headers=_headers(target)) as response:
                return await self._read(target, response)
        except _FAILURES as error:
            raise _failure(target, error) from None
        finally:
            await network.aclose()

    async def _checked_addresses(self, target: Target) -> list[str]:
        """The host's addresses, each of which is allowed. Raises ImageError."""
        if target.literal is not None:
            addresses: list[IPv4Address | IPv6Address] = [target.literal]
        else:
            try:
                addresses = [ip_address(text) for text in await self._resolve(target.host, target.port)]
            except (OSError, ValueError):
                raise not_public(target.host) from None
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise not_public(target.host)
        return [str(address) for address in addresses[:_MOST_ADDRESSES]]

    async def _read(self, target: Target, response: httpcore2.Response) -> bytes | _Redirect:
        headers = {name.lower(): value for name, value in response.headers}
        if response.status in _REDIRECTS and b"location" in headers:
            return _Redirect(headers[b"location"].decode("utf-8", "replace"))
        if response.status != 200:
            raise ImageError(f"{target.host} answered {response.status}: check the address")
        limit = self._settings.max_bytes
        too_large = ImageError(f"the picture at {target.host} is larger than {limit:,} bytes: send a smaller one")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise too_large
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > limit:
                raise too_large
        return bytes(body)

    async def _resolve_by_system(self, host: str, port: int) -> list[str]:
        """By getaddrinfo, in threads of their own: names that hang keep no other work from its thread.

        The dot at the end keeps the system from trying the name in its own domains.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class _Redirect:
    location: str


class _PinnedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were checked, one after another, whatever host it is asked for."""

    def __init__(self, addresses: list[str], timeout_s: float) -> None:
        self._addresses = addresses
        self._each_s = timeout_s / (len(addresses) + 1)
        self._stream: httpcore2.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """The first connection that succeeds."""
        network = httpcore2.AnyIOBackend()
        *others, last = self._addresses
        for address in others:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                self._stream = await network.connect_tcp(address, port, self._each_s)
                return self._stream
        self._stream = await network.connect_tcp(last, port)
        return self._stream

    async def aclose(self) -> None:
        """Close the connection at once, also when the request is being cancelled."""
        if self._stream is not None:
            with anyio.move_on_after(_CLOSE_S, shield=True), suppress(*_FAILURES):
                await self._stream.aclose()


def _headers(target: Target) -> list[tuple[str, str]]:
    return [
        ("Host", target.authority),
        ("User-Agent", "openblip (image captioning)"),
        ("Accept", "image/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _failure(target: Target, error: Exception) -> ImageError:
    """What to say of a public server that did not answer as it should."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError):
        return ImageError(f"{target.host} has no valid certificate or speaks no TLS: check the address")
    if isinstance(error, (httpcore2.ConnectError, httpcore2.ConnectTimeout)):
        return ImageError(f"{target.host} cannot be reached: check the address, or send the picture itself")
    return ImageError(f"{target.host} broke off or answered with no HTTP: try again, or send the picture itself")
