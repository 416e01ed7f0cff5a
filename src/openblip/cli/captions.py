"""The command caption: of many photos, with prompts of their own, or of one as it grows. Knows options and lines, not
how anything is computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from openblip.cli.bulk import BulkOptions, bulk_options, run_bulk, sidecar_options
from openblip.cli.options import Loader, model_options, prompt_option, search_options
from openblip.errors import InputError, OptionError
from openblip.terminal import print_line, print_part
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.bulk.sidecars import Beside


@click.command()
@click.argument("photos", nargs=-1, metavar="[PHOTO]...")
@prompt_option
@click.option(
    "--prompts",
    type=click.File("r", encoding="utf-8-sig", errors="surrogateescape"),
    help="A list of photos with prompts of their own, instead of PHOTO; see above.",
)
@search_options()
@click.option("--stream", is_flag=True, help="Of one photo: show words as they are found, greedily or with --sample.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a photo, with probabilities.")
@sidecar_options
@bulk_options("prompt", "the column with what the caption of each picture starts with.")
@model_options
def caption(
    photos: tuple[str, ...],
    prompt: str,
    prompts: IO[str] | None,
    options: GenerateOptions,
    stream: bool,
    as_json: bool,
    beside: list[Beside],
    bulk: BulkOptions,
    load: Loader,
) -> int:
    """Caption photos.

    PHOTO is a file, a folder (with all below it), a quoted glob, an http(s) address, a shard (.tar) or a table of
    photos (.csv, .tsv, .jsonl, .parquet), or "-" for one of these a line on stdin. A photo that cannot be read is
    reported and the rest is done.

    A line of a --prompts file is PHOTO, a tab and its prompt, or {"source": PHOTO, "prompt": its prompt}; one without a
    prompt takes --prompt. With "-" the list is read from stdin, as it comes.

    With --stream --json, each piece of the caption is a line of its own, and the whole follows as the last one.
    """
    if bool(photos) == (prompts is not None):
        raise click.UsageError("name the photos: as PHOTO..., or in a file with --prompts, and not in both ways")
    if stream:
        if beside or prompts is not None:
            raise click.UsageError("--stream shows one photo's caption: leave out --sidecar and --prompts")
        photo = find_one(photos)
        bulk.check_output([photo])
        return stream_caption(load, photo, prompt, options, as_json, bulk.output)

    from openblip.bulk.items import find_prompted_items
    from openblip.bulk.jobs import CaptionJob

    own = prompts is not None or bool(bulk.columns.own)
    if prompts is None:
        items = bulk.items(photos)
    else:
        bulk.check_output(["-" if prompts.name == "<stdin>" else prompts.name])
        items = bulk.spared(find_prompted_items(prompts, prompts.name, prompt))
    return run_bulk(CaptionJob(prompt, options, own), items, bulk, load, as_json, beside)


def find_one(photos: Sequence[str]) -> str:
    """The one photo that the arguments name. Raises its error, or OptionError where they name several."""
    from openblip.bulk.sources import find_images

    found = list(islice(find_images(photos, sys.stdin), 2))
    for each in found:
        if isinstance(each, InputError):
            raise each
    if len(found) != 1:
        raise OptionError(f"--stream shows the caption of one photo, and there are {'more' if found else 'none'}")
    return str(found[0])


def stream_caption(
    load: Loader, photo: str, prompt: str, options: GenerateOptions, as_json: bool, to: Path | None
) -> int:
    """Print a caption as it grows; in the end it is the line that is printed without --stream."""
    from openblip.image import shown_name

    target = "-" if to is None else str(to)
    with (
        load().caption_stream(photo, prompt, options) as pieces,
        click.open_file(target, "w", encoding="utf-8", lazy=True) as output,
    ):
        if not as_json:
            print_part(f"{shown_name(photo)}: ", output)
        for piece in pieces:
            if as_json:
                print_line(json.dumps({"source": photo, "piece": piece.to_dict()}), output)
            else:
                print_part(piece.text, output)
        whole = json.dumps({"source": photo, "captions": [pieces.caption.to_dict()]})
        print_line(whole if as_json else "", output)
    return 0
