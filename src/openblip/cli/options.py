"""What the commands share: exit codes, and the options that say which model runs and how. Knows no command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
DEFAULTS = GenerateOptions()
ABOUT_MINI = (
    "openblip: using mini, the small model in the box: short captions of everyday scenes, often wrong in detail "
    "(openblip pull base fetches larger ones)"
)

Command = TypeVar("Command", bound=Callable[..., Any])


def model_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say which model runs and how; the command gets a call that loads it."""

    @wraps(command)
    def with_model(
        *arguments: Any,
        model: str | None,
        engine: Literal["openvino", "torch"],
        precision: str | None,
        threads: int | None,
        **options: Any,
    ) -> int:
        return command(*arguments, load=partial(load_model, model, engine, precision, threads), **options)

    named = click.option("--model", help="A model's name, its folder or .pth.  [default: $OPENBLIP_MODEL, else mini]")
    return named(run_options()(with_model))


def run_options(precision: str | None = None) -> Callable[[Command], Command]:
    """The options that say how a model runs. precision: the default, where it is not left to the engine."""
    default = precision or "bf16 where the processor has it, else f32"

    def decorate(command: Command) -> Command:
        for option in (
            click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one a core]"),
            click.option(
                "--precision",
                type=click.Choice(["f32", "bf16", "int8"]),
                default=precision,
                help=f"Of the computation.  [default: {default}]",
            ),
            click.option(
                "--engine",
                type=click.Choice(["openvino", "torch"]),
                default="openvino",
                show_default=True,
                help="What computes; torch needs the extra `torch`.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def load_model(
    name: str | None, engine: Literal["openvino", "torch"], precision: str | None, threads: int | None
) -> Blip:
    """The model that the options name; on a terminal, the default one introduces itself."""
    from openblip.hub import MODEL_VARIABLE
    from openblip.pipeline import Blip

    blip = Blip.load(name, engine=engine, precision=precision, threads=threads)
    if name is None and not os.environ.get(MODEL_VARIABLE) and sys.stderr.isatty():
        click.echo(ABOUT_MINI, err=True)
    return blip
