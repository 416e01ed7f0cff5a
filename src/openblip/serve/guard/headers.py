"""ASGI middleware around the whole service: security headers, a bounded request head, and CORS where it is asked for.

Knows paths and headers, no endpoint. Plain ASGI: nothing is buffered, so that streams stay streams. From the outside
in: `SecurityHeaders(BoundedHead(cors(app, origins)))`, so that refusals carry the headers too.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html.parser import HTMLParser

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openblip.errors import OptionError

API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of answers that are data: should a browser show one, it loads and runs nothing."""

_API = "/v1"
_DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": API_POLICY,
}
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_CORS_S = 600
_EXPOSED = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")


class SecurityHeaders:
    """Adds the headers that an answer has not set itself; answers below /v1 are not to be stored by anyone.

    A page sets its own Content-Security-Policy (see `docs_policy`) and keeps it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_api = scope["path"] == _API or scope["path"].startswith(f"{_API}/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = list(message.get("headers", ()))
                headers = MutableHeaders(scope=message)
                for name, value in _DEFAULTS.items():
                    headers.setdefault(name, value)
                if is_api:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BoundedHead:
    """Refuses a request whose address (414) or headers (431) are too large, or too many, as problem details.

    uvicorn's h11 bounds the bytes of a head while it reads (`h11_max_incomplete_event_size`, 16 KiB unless told
    otherwise, beyond what one read brings), not the number of headers. httptools bounds neither (measured with 0.9: it
    took 40 MB of headers), so that this comes too late there: name `http="h11"`.
    """

    def __init__(
        self, app: ASGIApp, *, max_headers: int = 100, max_bytes: int = 16_384, max_target_bytes: int = 8_192
    ) -> None:
        self._app = app
        self._max_headers = max_headers
        self._max_bytes = max_bytes
        self._max_target_bytes = max_target_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before its body is read."""
        fault = self._fault(scope) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(send, *fault)

    def _fault(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, title and detail."""
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > self._max_target_bytes:
            return 414, "URI Too Long", f"the address is longer than {self._max_target_bytes:,} bytes: shorten it"
        headers = scope["headers"]
        if len(headers) > self._max_headers:
            detail = f"{len(headers):,} headers are more than {self._max_headers}: send fewer"
            return 431, "Request Header Fields Too Large", detail
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self._max_bytes:
            detail = f"{size:,} bytes of headers are more than {self._max_bytes:,}: send less"
            return 431, "Request Header Fields Too Large", detail
        return None


def cors(app: ASGIApp, origins: Sequence[str], *, credentials: bool = False) -> ASGIApp:
    """The application, readable by pages of these origins; without origins the application itself, closed to them.

    An origin is `https://host`, with a port where it is not the usual one, or "*" alone for all. Raises OptionError for
    anything else, and for "*" together with `credentials`: every site could then act as its visitor.
    """
    if not origins:
        return app
    if "*" in origins:
        if credentials:
            raise OptionError("the origins '*' with credentials open the service to every page: name the origins")
        if len(origins) > 1:
            raise OptionError("the origins hold '*' and others: give '*' alone, or name the origins")
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise OptionError(f"{origin[:100]!a} is no origin: give https://host or https://host:port, in lower case")
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
        allow_credentials=credentials,
        expose_headers=list(_EXPOSED),
        max_age=_CORS_S,
    )


def docs_policy(html: str) -> str:
    """The Content-Security-Policy under which the page of Swagger UI works, and nothing else.

    Names the scripts, style sheets and icons that the page links, and the SHA-256 of each script that stands in it, so
    that no 'unsafe-inline' is needed for scripts; Swagger UI sets style attributes, which cannot be named so. Its icons
    are data: URLs. The page may ask its own service only.
    """
    page = _Page()
    page.feed(html)
    page.close()
    parts = {
        "default-src": ["'none'"],
        "script-src": [*page.scripts, *(f"'sha256-{_digest(text)}'" for text in page.inline)] or ["'none'"],
        "style-src": [*page.styles, "'unsafe-inline'"],
        "img-src": ["data:", *page.icons],
        "connect-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in parts.items())


class _Page(HTMLParser):
    """What a page links and which scripts stand in it."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.icons: list[str] = []
        self.inline: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag links."""
        given = {name: value or "" for name, value in attrs}
        if tag == "script":
            if "src" in given:
                self.scripts.append(_source(given["src"]))
            else:
                self.inline.append("")
                self._in_script = True
        elif tag == "link" and "stylesheet" in given.get("rel", ""):
            self.styles.append(_source(given.get("href", "")))
        elif tag == "link" and "icon" in given.get("rel", ""):
            self.icons.append(_source(given.get("href", "")))

    def handle_data(self, data: str) -> None:
        """Add to the script that stands here."""
        if self._in_script:
            self.inline[-1] += data

    def handle_endtag(self, tag: str) -> None:
        """End the script."""
        self._in_script = self._in_script and tag != "script"


def _source(url: str) -> str:
    """A link as a source of the policy; one to this service is 'self'. Raises OptionError for one with separators."""
    if re.search(r"[\s;,]", url):
        raise OptionError(f"{url[:100]!a} cannot stand in a Content-Security-Policy: link it without spaces, ; and ,")
    return url.partition("?")[0] if url.startswith("https://") else "'self'"


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


async def _refuse(send: Send, status: int, title: str, detail: str) -> None:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body = json.dumps(problem).encode("utf-8")
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    # What follows on this connection may be the rest of what was refused.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
