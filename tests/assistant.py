"""An assistant's program: the SDK's own client, and what a call answered. Knows no test."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mcp import Client
from mcp.types import CallToolResult

Result = TypeVar("Result")


def talk(server: Any, conversation: Callable[[Client], Awaitable[Result]], mode: str = "auto") -> Result:
    """What is said with a server: one in this process, an address or a command."""

    async def run() -> Result:
        async with Client(server, mode=mode, read_timeout_seconds=60) as client:
            return await conversation(client)

    return asyncio.run(run())


def call(server: Any, tool: str, mode: str = "auto", **arguments: Any) -> CallToolResult:
    """One tool called, and nothing else said."""
    return talk(server, lambda client: client.call_tool(tool, arguments), mode)


def found(result: CallToolResult) -> dict[str, Any]:
    """What a tool found; the text for assistants that read no structure says the same."""
    assert not result.is_error, result.content
    [content] = [each for each in result.content if each.type == "text"]
    assert json.loads(content.text) == result.structured_content
    assert result.structured_content is not None
    return result.structured_content


def refused(result: CallToolResult) -> str:
    """What a tool says is wrong."""
    assert result.is_error
    assert result.structured_content is None
    [content] = result.content
    assert content.type == "text"
    return content.text


def as_data(data: bytes, kind: str = "image/jpeg") -> str:
    """A picture that comes in the call."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
