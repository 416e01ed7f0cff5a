"""Generated pages: docs/cli.md, the help of every command; docs/settings.md, what the service reads from the
environment; docs/openapi.json, its document. Regenerate them with: python tests/test_docs.py"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from openblip.cli import commands
from openblip.serve.app import create_app
from openblip.serve.settings import ServeSettings, settings_table

DOCS = Path(__file__).resolve().parent.parent / "docs"
SETTINGS_HEAD = """# Settings of the service

<!-- Generated from openblip.serve.settings: do not edit. Regenerate with: python tests/test_docs.py -->

`openblip serve` reads these variables once, when it starts, and its options overrule them; with `--help-settings` it
prints them. What the service does with them: [serving.md](serving.md).

| variable | default | meaning |
|---|---|---|
"""
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


def command_line() -> str:
    parts = [HEAD]
    for names in all_commands(commands, ("openblip",)):
        result = CliRunner().invoke(commands, [*names[1:], "--help"], prog_name="openblip", terminal_width=100)
        assert result.exit_code == 0, result.output
        parts.append(f"## {' '.join(names)}\n\n```text\n{result.output.rstrip()}\n```\n")
    return "\n".join(parts)


def settings() -> str:
    rows = (
        f"| `{name}` | {f'`{default}`' if default else ''} | {about} |\n" for name, default, about in settings_table()
    )
    return SETTINGS_HEAD + "".join(rows)


def document() -> str:
    app = create_app(ServeSettings.model_construct(), lambda name: pytest.fail("no model is needed"))
    return json.dumps(app.openapi(), indent=1) + "\n"


GENERATED: dict[str, Callable[[], str]] = {"cli.md": command_line, "settings.md": settings, "openapi.json": document}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = DOCS / name
    assert page.read_text(encoding="utf-8") == GENERATED[name](), "out of date: run python tests/test_docs.py"


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
    for name, make in GENERATED.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
