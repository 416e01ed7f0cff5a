"""The command caption: of many photos, with prompts of their own, or of one as it grows. Knows options and lines, not
how anything is computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, tee
from typing import IO, TYPE_CHECKING

import click

from openblip.cli.options import FAILED, find_photos, model_options, prompt_option, search_options
from openblip.errors import InputError, OptionError, TextError
from openblip.terminal import print_line, print_part, progress_bar, report
from openblip.types import Caption, GenerateOptions

if TYPE_CHECKING:
    from openblip.bulk.photo_list import PhotoList
    from openblip.pipeline import Blip, Outcome


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
@click.option("--sidecar", is_flag=True, help="Write dog.txt beside dog.jpg instead of printing.")
@click.option(
    "--overwrite", is_flag=True, help="With --sidecar: replace a .txt that exists; else its photo is skipped."
)
@click.option("--output", "-o", type=click.File("w", encoding="utf-8", lazy=True), help="Print to this file.")
@model_options
def caption(
    photos: tuple[str, ...],
    prompt: str,
    prompts: IO[str] | None,
    options: GenerateOptions,
    stream: bool,
    as_json: bool,
    sidecar: bool,
    overwrite: bool,
    output: IO[str] | None,
    load: Callable[[], Blip],
) -> int:
    """Caption photos.

    PHOTO is a file, a folder (with all below it), a quoted glob, an http(s) address, or "-" for one of these a line on
    stdin. A photo that cannot be read is reported and the rest is done.

    A line of a --prompts file is PHOTO, a tab and its prompt, or {"source": PHOTO, "prompt": its prompt}; one without a
    prompt takes --prompt. With "-" the list is read from stdin, as it comes.

    With --stream --json, each piece of the caption is a line of its own, and the whole follows as the last one.
    """
    if bool(photos) == (prompts is not None):
        raise click.UsageError("name the photos: as PHOTO..., or in a file with --prompts, and not in both ways")
    if stream:
        if sidecar or prompts is not None:
            raise click.UsageError("--stream shows one photo's caption: leave out --sidecar and --prompts")
        return stream_caption(load, find_one(photos), prompt, options, as_json, output)

    from openblip.bulk.photo_list import PhotoList
    from openblip.bulk.prompts import find_prompted

    found = find_photos(photos, prompt) if prompts is None else find_prompted(prompts, prompts.name, prompt)
    photo_list = PhotoList(found, sidecar=sidecar, overwrite=overwrite, report=report)
    outcomes = ask(load(), photo_list, prompt if prompts is None else None, options)
    printed = as_json or not sidecar or output is not None
    for outcome in finished(outcomes, photo_list):
        if printed:
            own = outcome.prompt if prompts is not None else None
            print_line(caption_lines(str(outcome.source), outcome.captions, as_json, own), output)
    if sidecar:
        click.echo(f"openblip: {photo_list.summary()}", err=True)
    return FAILED if photo_list.failed else 0


def finished(outcomes: Iterator[Outcome], photos: PhotoList) -> Iterator[Outcome]:
    """Those that have captions, as they come; the rest is reported, and a bar follows."""
    with progress_bar() as progress:
        for outcome in outcomes:
            if outcome.error is not None:
                photos.fail(shown_error(outcome))
            elif photos.finish(str(outcome.source), outcome.captions):
                yield outcome
            progress("captions", photos.done, photos.total)


def ask(blip: Blip, photos: PhotoList, prompt: str | None, options: GenerateOptions) -> Iterator[Outcome]:
    """The captions of all photos. prompt: of all; None where each has its own."""
    if prompt is not None:
        return blip.caption_each((source for source, _ in photos), prompt, options)
    first, second = tee(photos)  # which keeps no more than the photos that are read ahead
    return blip.caption_each((source for source, _ in first), (own for _, own in second), options)


def shown_error(outcome: Outcome) -> InputError | str:
    """What went wrong, and with which photo."""
    from openblip.image import shown_name

    about_prompt = isinstance(outcome.error, (OptionError, TextError))
    return f"{shown_name(str(outcome.source))}: {outcome.error}" if about_prompt else str(outcome.error)


def caption_lines(source: str, captions: Sequence[Caption], as_json: bool, prompt: str | None = None) -> str:
    """What is printed for one photo. prompt: where it had one of its own."""
    if as_json:
        about = {"source": source} if prompt is None else {"source": source, "prompt": prompt}
        return json.dumps({**about, "captions": [caption.to_dict() for caption in captions]})
    from openblip.image import shown_name

    return "\n".join(f"{shown_name(source)}: {caption.text}" for caption in captions)


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
    load: Callable[[], Blip], photo: str, prompt: str, options: GenerateOptions, as_json: bool, output: IO[str] | None
) -> int:
    """Print a caption as it grows; in the end it is the line that is printed without --stream."""
    from openblip.image import shown_name

    with load().caption_stream(photo, prompt, options) as pieces:
        if not as_json:
            print_part(f"{shown_name(photo)}: ", output)
        for piece in pieces:
            if as_json:
                print_line(json.dumps({"source": photo, "piece": piece.to_dict()}), output)
            else:
                print_part(piece.text, output)
        print_line(caption_lines(photo, [pieces.caption], as_json=True) if as_json else "", output)
    return 0
