"""A growing caption as server-sent events: `piece`s with their text, then the whole `caption`, or a `problem`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi.sse import EventSourceResponse, format_sse_event

from openblip.serve.problems import problem_of_any
from openblip.types import Caption, CaptionPiece

Encode = Callable[[CaptionPiece | Caption], bytes]


def as_event(piece: CaptionPiece | Caption) -> bytes:
    """As /v1/caption sends it: named `piece` or `caption`, with its fields as JSON."""
    return _event("caption" if isinstance(piece, Caption) else "piece", asdict(piece))


class CaptionEvents(EventSourceResponse):
    """The pieces as they come. What fails after the first one is told as a `problem`, since the status is sent by then.

    done: called when the last one is sent or the client has gone, whichever way.
    """

    def __init__(
        self,
        pieces: AsyncIterator[CaptionPiece | Caption],
        done: Callable[[], Awaitable[None]],
        encode: Encode = as_event,
        end: bytes = b"",
    ) -> None:
        super().__init__(self._events(pieces, encode, end))
        self._done = done

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it all."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._done()

    @staticmethod
    async def _events(
        pieces: AsyncIterator[CaptionPiece | Caption], encode: Encode, end: bytes
    ) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield encode(piece)
        except Exception as error:  # noqa: BLE001 (it is told to the client; its cause is not, where it is ours)
            yield _event("problem", problem_of_any(error).model_dump())
        yield end


def _event(name: str, content: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(content))
