"""Commands about models: pull. Knows options and lines, not where models come from."""

from __future__ import annotations

import click

from openblip.terminal import byte_bar, print_line


@click.command()
@click.argument("name")
def pull(name: str) -> int:
    """Fetch the checkpoint NAME of the hub, or those of a set: `base`, `large`.

    NAME is owner/name, or owner/name@revision for a branch, tag or commit. An interrupted download goes on where it
    stopped, what arrived is held against the hub's hashes, and what is here already is checked, not fetched again.
    """
    from openblip.pull import pull as fetch

    with byte_bar() as progress:
        for pulled in fetch(name, progress):
            print_line(f"{pulled.name}: {pulled.size / 1e6:,.0f} MB in {pulled.folder}")
            for file in pulled.unchecked:
                click.echo(f"openblip: the hub gives no hash of {file}: it is unchecked", err=True)
    return 0
