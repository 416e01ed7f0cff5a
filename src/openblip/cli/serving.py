"""`openblip serve`: every task over HTTP."""

from __future__ import annotations

from typing import Any

import click

from openblip.errors import MissingExtra, OptionError


@click.command()
@click.option("--host", help="Address to listen on; 0.0.0.0 for all.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 8000]")
@click.option("--model", help="Models by name or folder, commas between; the first is the default.  [default: mini]")
@click.option("--engine", help="What computes: openvino or torch.  [default: openvino]")
@click.option("--precision", help="Of the computation: f32, bf16, f16 or int8.  [default: the engine's choice]")
@click.option("--threads", type=int, help="CPU threads.  [default: one a core]")
@click.option(
    "--cache", "cache_url", help="Where results are kept: none, redis://HOST:6379/0, rediss://…  [default: on disk]"
)
@click.option("--help-settings", is_flag=True, help="Show all settings, which come from the environment, and exit.")
def serve(help_settings: bool, **given: Any) -> int:
    """Serve captions, answers, matches and embeddings over HTTP.

    Every setting is an environment variable too (--help-settings). SIGTERM ends the service: work in hand is finished.
    """
    try:
        from openblip.serve.run import run
        from openblip.serve.settings import read_settings, settings_help
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fastapi", "serve") from error
    if help_settings:
        click.echo(settings_help())
        return 0
    settings = read_settings(**given)
    try:
        run(settings, lambda name: _load(name, settings))
    except SystemExit as error:  # uvicorn's, which has said why
        raise OptionError(f"cannot listen on {settings.host}:{settings.port}: give another --host or --port") from error
    return 0


@click.command()
@click.argument("name")
def key(name: str) -> int:
    """Make an API key for NAME.

    Prints the key, which stands nowhere else, and the line for the file that OPENBLIP_API_KEYS names.
    """
    from openblip.serve.guard.keys import new_key

    for line in new_key(name):
        click.echo(line)
    return 0


def _load(name: str, settings: Any) -> Any:
    from openblip.pipeline import Blip

    return Blip.load(
        name,
        engine=settings.engine,
        precision=settings.precision,
        threads=settings.threads,
        lanes=settings.lanes,
    )
