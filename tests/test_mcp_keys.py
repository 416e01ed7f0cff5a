"""Keys before the protocol: without one nothing is asked of the application, with one it answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from openblip.mcp.folders import AllowedFolders
from openblip.mcp.keys import RequireKey
from openblip.mcp.server import create_app
from openblip.mcp.tools import Tools
from openblip.serve.guard.keys import new_key, read_keys

LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
USUAL = {"host": "localhost", "content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    return new_key("laptop")


def post(application: Any, headers: dict[str, str]) -> tuple[int, bytes]:
    """The status and body that an application of `create_app`, in whatever wrapped, answers to a list of tools."""
    sent: list[Any] = []
    request = {"type": "http.request", "body": LIST, "more_body": False}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/mcp", "raw_path": b"/mcp", "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "headers": [(name.encode(), value.encode()) for name, value in {**USUAL, **headers}.items()],
    }  # fmt: skip

    async def receive() -> Any:
        return request

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        starting, stopping = asyncio.Event(), asyncio.Event()

        async def told() -> Any:
            if not starting.is_set():
                return {"type": "lifespan.startup"}
            await stopping.wait()
            return {"type": "lifespan.shutdown"}

        async def tells(message: Any) -> None:
            starting.set()

        lifespan = asyncio.create_task(application({"type": "lifespan", "asgi": {"version": "3.0"}}, told, tells))
        await starting.wait()
        await application(scope, receive, send)
        stopping.set()
        await lifespan

    asyncio.run(run())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def guarded(folder: Path, line: str) -> Any:
    (folder / "keys.txt").write_text(f"{line}\n")
    tools = Tools(lambda: pytest.fail("no model is needed"), AllowedFolders([]))
    return RequireKey(create_app(tools), read_keys(folder / "keys.txt"))


def test_with_a_key_the_application_answers(tmp_path: Path, key: tuple[str, str]) -> None:
    for header in ({"authorization": f"Bearer {key[0]}"}, {"x-api-key": key[0]}):
        status, body = post(guarded(tmp_path, key[1]), header)
        assert status == 200
        assert "caption" in [tool["name"] for tool in json.loads(body)["result"]["tools"]]


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer {short}", "Basic {key}", "Bearer {key}x", "bearer \u00e9"])
def test_without_one_nothing_is_asked(tmp_path: Path, key: tuple[str, str], given: str) -> None:
    header = {"authorization": given.format(key=key[0], short=key[0][:-1])} if given else {}
    assert post(guarded(tmp_path, key[1]), header) == (
        401,
        b"a key is needed: send the header Authorization: Bearer KEY\n",
    )


def test_a_key_does_not_make_up_for_a_wrong_host(tmp_path: Path, key: tuple[str, str]) -> None:
    headers = {"authorization": f"Bearer {key[0]}", "host": "evil.example"}
    assert post(guarded(tmp_path, key[1]), headers)[0] == 421
