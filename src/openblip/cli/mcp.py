"""The command mcp: tools for assistants. Knows options, not the protocol."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.options import INTERRUPTED, model_options
from openblip.errors import MissingExtra, OptionError
from openblip.terminal import report

if TYPE_CHECKING:
    from openblip.pipeline import Blip


@click.command()
@click.option(
    "--allow",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A folder whose pictures may be looked at, with all below it; repeat it for each.  [default: none]",
)
@click.option(
    "--db", "database", help="A library of `openblip index`, for the tool search: a folder, or an address (s3://...)."
)
@click.option("--http", is_flag=True, help="Serve streamable HTTP at /mcp instead of stdin and stdout.")
@click.option("--host", help="With --http: the address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="With --http: the port; 0 takes a free one.  [default: 8765]"
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="With --http: a name besides localhost by which it may be asked; repeat it for each.",
)
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --http: each request needs a key of this file (openblip key makes them); must be given where --host is "
    "not this machine alone.",
)
@model_options
def mcp(
    folders: tuple[Path, ...],
    database: str | None,
    http: bool,
    host: str | None,
    port: int | None,
    allowed_hosts: tuple[str, ...],
    keys_file: Path | None,
    load: Callable[[], Blip],
) -> int:
    """Serve tools for assistants by the Model Context Protocol.

    The assistant's program starts this command and speaks to it over stdin and stdout. The tools caption, ask, match
    and ground look at pictures in the folders of --allow, and at those that come in a call; nothing else is read. With
    --db the tool search finds those that are indexed. The model is loaded when the first tool is called.
    """
    if not http and (host is not None or port is not None or allowed_hosts or keys_file is not None):
        raise click.UsageError("--host, --port, --allow-host and --keys are for HTTP: give --http too")
    try:
        from openblip.mcp.folders import AllowedFolders
        from openblip.mcp.photos import AllowedPhotos
        from openblip.mcp.server import NO_KEYS, run_http, run_stdio
        from openblip.mcp.tools import Tools
        from openblip.serve.guard.keys import read_keys
    except ModuleNotFoundError as error:
        raise MissingExtra((error.name or "mcp").partition(".")[0], "mcp") from error
    allowed = AllowedFolders(folders)
    tools = Tools(load, allowed, AllowedPhotos(database, allowed) if database else None)
    if not http:
        signal.signal(signal.SIGINT, _leave)
        run_stdio(tools)
        return 0
    keys = NO_KEYS if keys_file is None else read_keys(keys_file)
    host, port = host or "127.0.0.1", 8765 if port is None else port
    try:
        run_http(tools, host, port, allowed_hosts, keys)
    except SystemExit as error:  # uvicorn's, which has said why
        raise OptionError(f"cannot listen on {host}:{port}: give another --host or --port") from error
    return 0


def _leave(*_: object) -> None:
    """Ctrl-C: at once, for a thread waits for the next line of stdin and would hold up the usual exit."""
    report("interrupted")
    os._exit(INTERRUPTED)
