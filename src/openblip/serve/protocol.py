"""uvicorn's HTTP protocol with bounds on what comes before a body: its bytes and its time. Knows connections, no route.

httptools, unlike h11, takes a head of any size, and uvicorn waits for the first one, and for what is left of a refused
body, as long as the client likes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from openblip.serve import problems
from openblip.serve.problems import ProblemError

_OF_BODIES = (b"content-length", b"transfer-encoding")


def bounded(max_head_bytes: int, head_timeout_s: float) -> Any:
    """What `uvicorn.Config` takes as `http`. A longer head is answered 431, a slower one 408; then the connection is
    closed."""
    return partial(BoundedProtocol, max_head_bytes, head_timeout_s)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. While no request of it is in hand, a whole head must come within `head_timeout_s` of its first
    byte, or of the connection's beginning."""

    def __init__(self, max_head_bytes: int, head_timeout_s: float, **given: Any) -> None:
        super().__init__(**given)
        self._max_head_bytes, self._head_timeout_s = max_head_bytes, head_timeout_s
        self._in_head, self._head_bytes = True, 0
        self._refusal: ProblemError | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's."""
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, as far as the bounds go."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > self._max_head_bytes:
            self._refuse(self._too_large())
        elif self._in_hand():
            self._clear_deadline()
        else:
            self._set_deadline()

    def on_headers_complete(self) -> None:
        """A whole head, which may have come at once."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._max_head_bytes:
            self._refusal = self._too_large()
        elif self.parser.should_upgrade() and any(name in _OF_BODIES for name, _ in self.headers):
            detail = "no upgrade is offered, and the body would be lost with one: send HTTP/1.1 without Upgrade"
            self._refusal = ProblemError(400, "upgrade", detail)  # httptools stops at the head, whatever follows
        if self._refusal is not None:
            raise self._refusal
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request's last byte."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        """What uvicorn does with a head that cannot be read, as problem details."""
        self._refuse(self._refusal or ProblemError(400, "http", "this is not a request of HTTP/1.1"))

    def _in_hand(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is not None and not cycle.response_complete

    def _answerable(self) -> bool:
        """Whether what is sent now is taken for the answer to what is wrong, and not to a request before it."""
        if self._in_hand():
            return not self._in_head and not self.pipeline and not self.cycle.response_started
        return True

    def _too_large(self) -> ProblemError:
        return ProblemError(
            431, "head", f"the request's head is longer than {self._max_head_bytes:,} bytes: shorten it"
        )

    def _refuse(self, error: ProblemError) -> None:
        """Say why, and close."""
        self._clear_deadline()
        if self._answerable():
            found = problems.response(error.problem, {"connection": "close"})
            lines = [f"HTTP/1.1 {found.status_code} {error.problem.title}".encode()]
            lines += [name + b": " + value for name, value in found.raw_headers]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(found.body))
        self.transport.close()

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._head_timeout_s, self._late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        """Where not a byte of a request came, nobody waits for an answer."""
        self._deadline = None
        if self.transport.is_closing() or self._in_hand():
            return
        if self._in_head and not self._head_bytes:
            self.transport.close()
        else:
            seconds = f"{self._head_timeout_s:g} s"
            self._refuse(ProblemError(408, "slow", f"the request's head took longer than {seconds}: send it faster"))
