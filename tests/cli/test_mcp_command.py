"""`openblip mcp` as an assistant's program runs it: a process of its own, over its streams and over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from assistant import as_data, call, found, refused, talk
from command_line import COMMAND, with_model
from openblip.mcp.tools import TOOLS
from openblip.pipeline import Blip

WITHOUT_LIBRARY = [name for name in TOOLS if name != "search"]


def command(*arguments: str) -> StdioServerParameters:
    return StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "mcp", *arguments], env=dict(os.environ))


def test_all_tools_over_stdin_and_stdout(openblip: Any, model: str, blip: Blip, album: Path) -> None:
    assert openblip(f"index {album} --db photos.lance --captions")[0] == 0
    (album / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")

    async def conversation(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
        whole = str(album / "photo0.jpg")
        assert found(await client.call_tool("caption", {"image": whole}))["captions"][0]["text"] == caption.text
        asked = await client.call_tool("ask", {"image": "photo0.jpg", "questions": ["the dog"]})
        assert found(asked)["answers"][0]["answer"] == answer.text
        matched = await client.call_tool("match", {"image": as_data(Path(whole).read_bytes()), "texts": ["a dog"]})
        assert found(matched)["matches"][0]["probability"] == round(match.probability, 4)
        placed = await client.call_tool("ground", {"image": "photo0.jpg", "phrases": ["a dog"], "overlay": True})
        [where] = found(placed)["groundings"]
        assert (where["peak"]["x"], where["peak"]["y"]) == (int(grounding.peak[0]), int(grounding.peak[1]))
        assert [each.type for each in placed.content] == ["text", "image"]
        searched = await client.call_tool("search", {"words": "a dog", "where": 'path ~ "photo3"'})
        [hit] = found(searched)["hits"]
        assert (hit["path"], hit["caption"]) == (str(album / "photo3.jpg"), blip.caption("photo3.jpg")[0].text)
        assert "cannot be decoded" in refused(await client.call_tool("caption", {"image": "broken.jpg"}))
        outside = refused(await client.call_tool("caption", {"image": __file__}))
        assert f"is not in a folder that is allowed: give a picture in {album}" in outside
        assert "Unknown tool: zoom" in refused(await client.call_tool("zoom", {}))

    [caption], [answer] = blip.caption(album / "photo0.jpg"), blip.answer(album / "photo0.jpg", "the dog")
    [match], [[grounding]] = (ask(album / "photo0.jpg", "a dog") for ask in (blip.match, blip.ground))
    talk(command("--allow", str(album), "--db", str(album / "photos.lance"), *with_model(model)), conversation)


def test_mini_over_stdin_and_stdout_for_a_client_of_before(samples: list[Path]) -> None:
    """The model in the box, and the handshake that the protocol had before 2026."""
    questions = {"questions": ["is there a cup?"], "choices": ["yes", "no"]}
    result = call(command("--allow", str(samples[0].parent)), "ask", mode="legacy", image="coffee.jpg", **questions)
    [answer] = found(result)["answers"]
    assert {answer["answer"], *(other["text"] for other in answer["others"])} == {"yes", "no"}
    assert answer["probability"] > answer["others"][0]["probability"]


def test_stdout_holds_the_protocol_alone_and_ctrl_c_ends_it_though_stdin_is_open(model: str, album: Path) -> None:
    """Whatever the model's libraries print, and whatever the other side sends."""
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "caption", "arguments": {}}}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    lines = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        "no json",
        ask | {"params": {"name": "caption", "arguments": {"image": "photo0.jpg"}}},
    ]
    process = subprocess.Popen(
        [*COMMAND, "mcp", "--allow", ".", *with_model(model)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=album,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    more, said = process.communicate(timeout=20)
    assert (process.returncode, more, said.splitlines()[-1]) == (130, "", "openblip: error: interrupted")
    assert [answer["id"] for answer in answers] == [0, 1]
    assert answers[1]["result"]["structuredContent"]["captions"]


class Listening:
    """A server over HTTP. root: its address; url: of the protocol."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.fullmatch(r"openblip: listening on (http://127\.0\.0\.1:(\d+))/mcp\n", line)
        assert match, line
        self.root, self.port = match[1], int(match[2])
        self.url = f"{self.root}/mcp"

    def post(self, data: bytes, **headers: str) -> tuple[int, bytes]:
        """The status and body that a bare request gets."""
        usual = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url, data, {**usual, **named})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture(scope="module")
def service(model: str, samples: list[Path]) -> Iterator[Listening]:
    arguments = ["mcp", "--http", "--port", "0", "--allow", str(samples[0].parent), "--allow-host", "photos.example"]
    process = subprocess.Popen([*COMMAND, *arguments, *with_model(model)], stderr=subprocess.PIPE, text=True)
    try:
        yield Listening(process)
    finally:
        process.terminate()
        process.communicate(timeout=20)


LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_same_over_http(service: Listening, samples: list[Path], blip: Blip, mode: str) -> None:
    async def conversation(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == WITHOUT_LIBRARY
        for sample in samples:
            result = found(await client.call_tool("caption", {"image": sample.name}))
            assert result["captions"][0]["text"] == blip.caption(sample)[0].text
        large = as_data(samples[0].read_bytes() + bytes(5_000_000))
        assert found(await client.call_tool("caption", {"image": large}))["captions"]
        assert "is not in a folder" in refused(await client.call_tool("caption", {"image": "/etc/passwd"}))

    talk(service.url, conversation, mode)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "photos.example"}, 200),
        ({"Host": "photos.example:{port}", "Origin": "https://photos.example"}, 200),
        ({"Origin": "http://localhost:{port}"}, 200),
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "localhost.evil.example:{port}"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example:{port}"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 400),
    ],
)
def test_a_page_of_another_host_cannot_ask(service: Listening, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(port=service.port) for name, value in headers.items()}
    assert service.post(LIST, **given)[0] == status


def test_a_body_beyond_the_bound_is_refused(service: Listening) -> None:
    """By what it says of its length: nothing of it is read."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.putrequest("POST", "/mcp")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "14000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_other_machines_are_not_served_without_keys(openblip: Any) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "photos.example"):
        code, _, [error] = openblip(f"mcp --http --host {host}")
        assert (code, error.partition(": give --keys FILE")[0]) == (
            2,
            f"openblip: error: on {host} other machines could ask",
        )


def test_an_address_that_is_taken(openblip: Any, service: Listening) -> None:
    code, out, errors = openblip(f"mcp --http --port {service.port}")
    assert (code, out) == (2, [])
    assert errors[-1] == f"openblip: error: cannot listen on 127.0.0.1:{service.port}: give another --host or --port"


def test_wrong_usage(openblip: Any, album: Path) -> None:
    assert openblip("mcp --port 1")[0] == openblip("mcp --keys none.txt")[0] == 2
    code, out, errors = openblip("mcp --http --host 0.0.0.0 --keys none.txt")
    assert (code, out, errors[0].partition(" cannot")[0]) == (2, [], "openblip: error: the file of keys none.txt")
    code, out, errors = openblip("mcp --allow none")
    assert (code, out, errors) == (2, [], ["openblip: error: --allow none is not a folder: name one that exists"])


def test_without_the_extra_it_says_what_to_install(album: Path) -> None:
    code = "import sys; sys.modules['mcp'] = None; from openblip import cli; sys.exit(cli.run(['mcp']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "openblip: error: mcp is not installed: run 'pip install openblip[mcp]'\n",
    )
