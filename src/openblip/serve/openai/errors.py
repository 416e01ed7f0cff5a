"""Problem details -> OpenAI's error object, on OpenAI's routes. Knows ASGI and both formats, no route's work."""

from __future__ import annotations

import json
from typing import Any

from openblip.serve.problems import MEDIA_TYPE, Problem

_PATHS = ("/v1/chat/completions", "/v1/embeddings", "/v1/models")
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_NAMES_FIELD = ("invalid", "unsupported")
"""Codes of problems whose detail begins with the field and a colon."""


def error_of(problem: Problem) -> dict[str, Any]:
    """The same as OpenAI's clients read it."""
    kind = _TYPES.get(problem.status, "server_error" if problem.status >= 500 else "invalid_request_error")
    field = problem.detail.partition(": ")[0] if problem.code in _NAMES_FIELD else None
    return {"error": {"message": problem.detail, "type": kind, "param": field, "code": problem.code}}


class OpenAIErrors:
    """Around everything else, so that whoever refuses a request on these routes is understood: status and headers stay,
    the body is OpenAI's."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, and translate a problem."""
        if scope["type"] == "http" and any(_is_below(scope["path"], path) for path in _PATHS):
            send = _Translated(send)
        await self._app(scope, receive, send)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


class _Translated:
    """Sends all but problems as it comes; those when they are whole, since their length changes."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._start: Any = None
        self._body = b""

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start" and _is_problem(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error()

    async def _send_error(self) -> None:
        body = json.dumps(error_of(Problem(**{**_UNSAID, **json.loads(self._body)}))).encode()
        kept = [(name, value) for name, value in self._start["headers"] if name not in _REPLACED]
        length = (b"content-length", str(len(body)).encode())
        headers = [*kept, (b"content-type", b"application/json"), length]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


_UNSAID = {"title": "", "code": "http", "detail": ""}
"""Of a problem that was refused before anything was read."""
_REPLACED = (b"content-type", b"content-length")


def _is_problem(message: Any) -> bool:
    kind = dict(message["headers"]).get(b"content-type", b"")
    return bool(kind.startswith(MEDIA_TYPE.encode()))
