"""The tools behind the Model Context Protocol, over stdin and stdout or streamable HTTP. Knows the SDK and which hosts
may ask; does not know what a tool does."""

from __future__ import annotations

import base64
import inspect
import ipaddress
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.metadata import version
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations

from openblip.errors import OpenBlipError, OptionError
from openblip.mcp.keys import RequireKey
from openblip.mcp.results import Groundings
from openblip.mcp.tools import MAX_DATA_BYTES, Tools
from openblip.serve.guard.keys import Keys

PATH = "/mcp"
NO_KEYS = Keys()
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_MAX_BODY_BYTES = MAX_DATA_BYTES * 4 // 3 + 200_000  # a picture in base64 and the rest of the call
_GRACE_S = 5
_INSTRUCTIONS = (
    "Tools that look at pictures with BLIP, a small vision-language model on this machine. Pictures are read from "
    "these folders alone: {folders}. Give whole paths, or paths below one of them. Every result has a probability: "
    "say so where it is low."
)


def create_server(tools: Tools) -> MCPServer[Any]:
    """A server that offers the tools."""
    server: MCPServer[Any] = MCPServer(
        "openblip",
        title="openblip",
        description="Captions, answers and image-text scores for pictures on this machine.",
        instructions=_INSTRUCTIONS.format(folders=tools.folders),
        version=version("openblip"),
        log_level="WARNING",
    )
    for name, title in tools.offered.items():
        method = getattr(tools, name)
        server.add_tool(
            _telling(method),
            name=name,
            title=title,
            description=inspect.getdoc(method),
            annotations=ToolAnnotations(
                title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
            ),
        )
    return server


def run_stdio(tools: Tools) -> None:
    """Serve the process that started this one, until it closes stdin. Whatever else is printed goes to stderr."""
    create_server(tools).run("stdio")


def run_http(tools: Tools, host: str, port: int, allowed_hosts: Sequence[str] = (), keys: Keys = NO_KEYS) -> None:
    """Serve over HTTP until a signal comes. allowed_hosts: names, besides this machine's own, by which it may be asked;
    a request by another name, or from a page of another, is refused. keys: where there are any, each request needs one.

    Raises OptionError where other machines could ask without a key, and SystemExit where the address is taken.
    """
    if not keys and not _is_local(host):
        raise OptionError(
            f"on {host} other machines could ask: give --keys FILE with lines that 'openblip key NAME' prints"
        )
    application = create_app(tools, allowed_hosts)
    config = uvicorn.Config(
        RequireKey(application, keys) if keys else application,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    listening = config.bind_socket()
    listening.listen(config.backlog)  # whoever reads the line below may call at once
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}{PATH}"
    print(f"openblip: listening on {address}", file=sys.stderr, flush=True)  # noqa: T201
    uvicorn.Server(config).run(sockets=[listening])


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def create_app(tools: Tools, allowed_hosts: Sequence[str] = ()) -> Any:
    """The ASGI application. A web page cannot reach it through a name that it lets point here (DNS rebinding): both the
    host that is asked and the page that asks must be known."""
    hosts = (*LOCAL_HOSTS, *allowed_hosts)
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[form for host in hosts for form in (host, f"{host}:*")],
        allowed_origins=[
            form for host in hosts for way in ("http", "https") for form in (f"{way}://{host}", f"{way}://{host}:*")
        ],
    )
    return create_server(tools).streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,  # nothing is kept between calls
        max_request_body_size=_MAX_BODY_BYTES,
        transport_security=security,
    )


def _telling(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, whose errors on purpose the assistant reads."""

    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            found = method(*arguments, **options)
        except OpenBlipError as error:
            raise ToolError(str(error)) from error
        return _with_pictures(found, found.pictures) if isinstance(found, Groundings) and found.pictures else found

    return call


def _with_pictures(found: Groundings, pictures: Sequence[bytes]) -> CallToolResult:
    """The result as the SDK writes it, and pictures for the assistant to look at."""
    images = [
        ImageContent(type="image", data=base64.b64encode(picture).decode(), mime_type="image/jpeg")
        for picture in pictures
    ]
    text = TextContent(type="text", text=found.model_dump_json(indent=2))
    return CallToolResult(content=[text, *images], structured_content=found.model_dump(mode="json"))
