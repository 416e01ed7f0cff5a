"""What commands print: results to stdout, errors and progress to stderr. Knows terminals, not what is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click

from openblip.errors import OpenBlipError

if TYPE_CHECKING:
    from openblip.evaluate.progress import Progress

_MANY = 20  # photos, from which on a progress bar helps


def report(error: OpenBlipError | str) -> None:
    """One line on stderr about what went wrong."""
    click.echo(f"openblip: error: {error}", err=True)


def print_line(line: str, output: IO[str] | None = None) -> None:
    """Print at once, so that results come as they are found."""
    print_part(f"{line}\n", output)


def print_part(text: str, output: IO[str] | None = None) -> None:
    """Print a part of a line at once."""
    stream = output or sys.stdout
    stream.write(text)
    stream.flush()


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Called with (stage, done, total): a bar on stderr where that is a terminal and the work is long; else nothing."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress as Bar

    # Results that go to the same terminal appear above the bar; those that go to a pipe must not pass through it.
    columns = (*Bar.get_default_columns(), MofNCompleteColumn())
    bar = Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    tasks = {}

    def progress(stage: str, done: int, total: int) -> None:
        if total < _MANY:
            return
        if stage not in tasks:
            bar.start()
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done)

    try:
        yield progress
    finally:
        bar.stop()


@contextmanager
def byte_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Called with (file, bytes here, bytes in all): a bar a file on stderr where that is a terminal; else nothing."""
    if not sys.stderr.isatty():
        yield lambda file, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    name = TextColumn("{task.description}")
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    tasks = {}

    def progress(file: str, done: int, total: int) -> None:
        if file not in tasks:
            bar.start()
            tasks[file] = bar.add_task(file, total=total or None)
        bar.update(tasks[file], completed=done)

    try:
        yield progress
    finally:
        bar.stop()
