"""docs/cli.md is the help of every command. Regenerate it with: python tests/test_docs.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from openblip.cli import commands

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """# The command line

<!-- Generated from --help: do not edit. Regenerate with: python tests/test_docs.py -->

Results go to stdout, everything else to stderr. Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130
interrupted. `OPENBLIP_MODEL` names the model that runs without `--model`; `OPENBLIP_DEBUG=1` shows the traceback of an
error.
"""


def all_commands(command: click.Command, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield names
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from all_commands(inner, (*names, name))


def page() -> str:
    parts = [HEAD]
    for names in all_commands(commands, ("openblip",)):
        result = CliRunner().invoke(commands, [*names[1:], "--help"], prog_name="openblip", terminal_width=100)
        assert result.exit_code == 0, result.output
        parts.append(f"## {' '.join(names)}\n\n```text\n{result.output.rstrip()}\n```\n")
    return "\n".join(parts)


def test_the_command_line_page_is_the_help() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/cli.md is out of date: run python tests/test_docs.py"


def test_every_option_says_what_it_does() -> None:
    for names in all_commands(commands, ()):
        command: click.Command = commands
        for name in names:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{' '.join(names)} {option.opts[0]} has no help"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
