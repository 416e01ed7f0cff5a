"""A growing caption as server-sent events: `piece`s with their text, then the whole `caption`, or a `problem`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi.sse import EventSourceResponse, format_sse_event

from openblip.serve.problems import Problem, problem_of_any
from openblip.types import Caption, CaptionPiece

Encode = Callable[[CaptionPiece | Caption], bytes]
Tell = Callable[[Problem], bytes]


def as_event(piece: CaptionPiece | Caption) -> bytes:
    """As /v1/caption sends it: named `piece` or `caption`, with its fields as JSON."""
    return _event("caption" if isinstance(piece, Caption) else "piece", asdict(piece))


def as_problem(problem: Problem) -> bytes:
    """As /v1/caption sends it."""
    return _event("problem", problem.model_dump())


class CaptionEvents(EventSourceResponse):
    """The pieces as they come. What fails after the first one is told as a `problem`, since the status is sent by then.

    encode, end, tell: a piece, what follows the last one, and a problem, as they are sent. done: called when the last
    one is sent or the client has gone, whichever way.
    """

    def __init__(
        self,
        pieces: AsyncIterator[CaptionPiece | Caption],
        done: Callable[[], Awaitable[None]],
        encode: Encode = as_event,
        end: bytes = b"",
        tell: Tell = as_problem,
    ) -> None:
        super().__init__(self._events(pieces, encode, end, tell))
        self._done = done

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it all."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._done()

    @staticmethod
    async def _events(
        pieces: AsyncIterator[CaptionPiece | Caption], encode: Encode, end: bytes, tell: Tell
    ) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield encode(piece)
        except Exception as error:  # noqa: BLE001 (it is told to the client; its cause is not, where it is ours)
            yield tell(problem_of_any(error))
        yield end


def _event(name: str, content: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(content))
