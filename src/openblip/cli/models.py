"""Commands about models: pull, models, convert, verify. Knows options and lines, not where models come from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from openblip.cli.options import FAILED, run_options
from openblip.errors import ImageError, OptionError
from openblip.terminal import byte_bar, print_line

if TYPE_CHECKING:
    from PIL.Image import Image

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
@click.argument("name", type=click.Choice(["base", "large"]))
@click.option("--image", help="The published picture, where you have it already.  [default: fetched from the hub]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@run_options(precision="f32")
def verify(
    name: str,
    image: str | None,
    as_json: bool,
    engine: Literal["openvino", "torch"],
    precision: str,
    threads: int | None,
) -> int:
    """Hold the set NAME, as it runs on this machine, against published outputs of its checkpoints.

    Prints a line for each, and what was found where it differs; the exit code is 1 if anything did. Run `openblip pull
    NAME` first. The tolerance of scores is that of float32: other precisions may miss it.
    """
    from openblip.pipeline import Blip
    from openblip.verify import REFERENCES, SPECIAL_TOKENS
    from openblip.verify import verify as checks

    picture = published_picture(image)
    settings: dict[str, Any] = {"special_tokens": SPECIAL_TOKENS, "precision": precision, "threads": threads}
    blip = Blip.load(name, engine=engine, **settings)
    results = []
    for check in checks(blip, picture, REFERENCES[name]):
        results.append(check)
        if not as_json:
            verdict = "matches" if check.matched else f"differs: {check.found!r} instead of"
            print_line(f"{check.name}: {verdict} {check.expected!r}")
    if as_json:
        print_line(json.dumps({"set": name, "checks": [asdict(check) for check in results]}))
    return 0 if all(check.matched for check in results) else FAILED


def published_picture(copy: str | None) -> Image:
    """That of the references: a copy that is at hand, or from the hub."""
    from huggingface_hub import constants

    from openblip.image import load_image
    from openblip.verify import IMAGE

    if copy is not None:
        return load_image(copy)
    if constants.HF_HUB_OFFLINE:
        raise OptionError(f"HF_HUB_OFFLINE is set: give a copy of {IMAGE} with --image")
    try:
        return load_image(f"{constants.ENDPOINT}/{IMAGE}")
    except ImageError as error:
        raise ImageError(f"{error}, or give a copy of the picture with --image") from error


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def models(as_json: bool) -> int:
    """List the models that are bundled, cached or known: what they do, where they are, and what they take.

    Memory is an estimate by precision: what a process of the CPU engine takes at most while it does one picture.
    """
    from openblip.catalogue import list_models

    entries = list_models()
    if as_json:
        print_line(json.dumps({"models": [entry.to_dict() for entry in entries]}))
        return 0
    rows = [("name", "set", "does", "where", "on disk", "memory f32 / bf16 / int8")]
    for entry in entries:
        disk = "-" if entry.disk_bytes is None else f"{entry.disk_bytes / 1e6:,.0f} MB"
        sizes = [size / 1e9 for size in entry.memory_bytes.values()]
        memory = " / ".join(f"{size:.1f}" if size >= 0.1 else f"{size:.2f}" for size in sizes) + " GB"
        rows.append((entry.name, entry.set or "-", " ".join(entry.tasks), entry.where, disk, memory))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print_line("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
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
@click.option("--bfloat16", is_flag=True, help="Write weights of half the size, rounded to some three digits.")
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
    return find_model(members[task])
