"""Requests without a key of ours are refused before anything looks at them. Knows ASGI, not the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from openblip.serve.guard.keys import Keys, presented_key

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_REFUSAL = b"a key is needed: send the header Authorization: Bearer KEY\n"


class RequireKey:
    """An application behind keys."""

    def __init__(self, application: Application, keys: Keys) -> None:
        self._application, self._keys = application, keys

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """One connection, request or start of the application."""
        if scope["type"] == "http" and self._keys.owner(presented_key(scope["headers"]) or "") is None:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})
            return
        await self._application(scope, receive, send)
