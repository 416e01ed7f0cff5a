"""Commands about models: pull, convert. Knows options and lines, not where models come from or what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.errors import OptionError
from openblip.terminal import byte_bar, print_line

if TYPE_CHECKING:
    from openblip.convert import Part, Target
    from openblip.hub import ModelFolder


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


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(["openblip", "transformers", "salesforce"]),
    required=True,
    help="Whose names and files: ours, those of transformers, or a .pth of salesforce/BLIP (needs the extra `torch`).",
)
@click.option("--task", type=click.Choice(["caption", "match", "answer"]), help="Only the part that does this.")
@click.option("--bfloat16", is_flag=True, help="Write weights of half the size; they lose two of three digits.")
def convert(source: str, target: Path, to: Target, task: Part | None, bfloat16: bool) -> int:
    """Write the model SOURCE to TARGET under other names.

    SOURCE is whatever --model takes; with a set, --task says which of its checkpoints. transformers keeps one task in a
    folder: a model with several becomes TARGET/caption, TARGET/match and TARGET/answer. The published styles hold a ViT
    only.
    """
    from openblip.checkpoint import load_checkpoint
    from openblip.convert import convert as write

    model = find_member(source, task)
    for written in write(load_checkpoint(model.path, model.name), target, to, part=task, bfloat16=bfloat16):
        print_line(f"{written.path}: {', '.join(written.tasks)}")
    return 0


def find_member(name: str, task: Part | None) -> ModelFolder:
    """The one checkpoint that is meant, where the name may be a set's."""
    from openblip.hub import find_model, find_set

    members = find_set(name)
    if members is None:
        return find_model(name)
    if task is None:
        raise OptionError(f"'{name}' is a set of checkpoints: say with --task which one")
    return members[task]
