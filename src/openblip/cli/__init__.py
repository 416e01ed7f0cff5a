"""The `openblip` command: parses arguments, calls the library, prints.

Every import that costs time sits inside the command that needs it, so that --help and --version answer at once. What
goes wrong is one line on stderr, never a traceback (OPENBLIP_DEBUG=1 shows it). Exit codes: 0 all done, 1 something
failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

import click

from openblip.cli.capfilt import capfilt
from openblip.cli.captions import caption
from openblip.cli.data import train
from openblip.cli.evaluation import evaluation
from openblip.cli.grounding import ground
from openblip.cli.library import duplicates, index, search
from openblip.cli.many import ask, embed, match
from openblip.cli.mcp import mcp
from openblip.cli.models import convert, models, pull, verify
from openblip.cli.moderation import moderate
from openblip.cli.options import FAILED, INTERRUPTED, WRONG_USAGE
from openblip.cli.photos import analyze, answer
from openblip.cli.serving import key, serve
from openblip.cli.site import alt
from openblip.cli.tags import tag
from openblip.errors import OpenBlipError, OptionError
from openblip.terminal import report


def main() -> None:
    """Run the command line and exit with its code."""
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # threads that wait for a slow server would hold up the usual exit
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    debug = bool(os.environ.get("OPENBLIP_DEBUG"))
    if not debug:
        warnings.simplefilter("ignore")  # notes of libraries to programmers; this process is ours
        logging.getLogger("PIL").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to stop
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # names of files are bytes
    try:
        code = commands.main(list(arguments), prog_name="openblip", standalone_mode=False)
    except click.UsageError as error:
        _report_usage(error)
        return WRONG_USAGE
    except click.ClickException as error:
        report(error.format_message())
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        report("interrupted")
        return INTERRUPTED
    except OpenBlipError as error:
        if debug:
            raise
        report(error)
        return WRONG_USAGE if isinstance(error, OptionError) else FAILED
    except Exception as error:
        if debug:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        report(f"unexpected {reason}; please report it with what OPENBLIP_DEBUG=1 shows")
        return FAILED
    return code if isinstance(code, int) else 0


def _report_usage(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # a group without a command: what there is
        click.echo(error.format_message(), err=True)
        return
    where = error.ctx.command_path if error.ctx else "openblip"
    message = " ".join(line.strip() for line in error.format_message().splitlines())  # it lists choices below
    report(f"{message} (see '{where} --help')")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="openblip", prog_name="openblip", message="%(prog)s %(version)s")
def commands() -> None:
    """BLIP: captions of pictures, answers about them and image-text scores, on the CPU at hand."""


EVERY = (
    alt, analyze, answer, ask, capfilt, caption, convert, duplicates, embed, evaluation, ground, index, key, match, mcp,
    models, moderate, pull, search, serve, tag, train, verify,
)  # fmt: skip
for command in EVERY:
    commands.add_command(command)
