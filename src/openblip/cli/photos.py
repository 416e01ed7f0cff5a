"""Commands about photos: caption, match, answer. Knows options and lines, not how anything is computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import click

from openblip.cli.options import DEFAULTS, FAILED, model_options
from openblip.terminal import print_line, progress_bar, report
from openblip.types import Caption, GenerateOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option("--prompt", default="", help="What captions start with.")
@click.option("--num-captions", type=int, default=1, show_default=True, help="Captions a photo.")
@click.option(
    "--num-beams", type=int, help="Width of the beam search; 1 is greedy.  [default: 3, or as many as captions]"
)
@click.option(
    "--max-length", type=int, default=DEFAULTS.max_length, show_default=True, help="Tokens, the prompt's too."
)
@click.option(
    "--min-length", type=int, default=DEFAULTS.min_length, show_default=True, help="Tokens, the prompt's too."
)
@click.option("--sample", is_flag=True, help="Draw words by their probability instead of searching.")
@click.option("--top-p", type=float, default=DEFAULTS.top_p, show_default=True, help="With --sample: the nucleus.")
@click.option("--seed", type=int, default=DEFAULTS.seed, show_default=True, help="With --sample: repeats a draw.")
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
    num_captions: int,
    num_beams: int | None,
    max_length: int,
    min_length: int,
    sample: bool,
    top_p: float,
    seed: int,
    as_json: bool,
    sidecar: bool,
    overwrite: bool,
    output: IO[str] | None,
    load: Callable[[], Blip],
) -> int:
    """Caption photos.

    PHOTO is a file, a folder (with all below it), a quoted glob, an http(s) address, or "-" for one of these a line on
    stdin. A photo that cannot be read is reported and the rest is done.
    """
    if num_beams is None:
        num_beams = 1 if sample else max(DEFAULTS.num_beams, num_captions)
    options = GenerateOptions(
        num_beams=num_beams,
        max_length=max_length,
        min_length=min_length,
        sample=sample,
        top_p=top_p,
        seed=seed,
        num_return=num_captions,
    )
    from openblip.bulk.photo_list import PhotoList

    lines = sys.stdin if "-" in photos else None
    photo_list = PhotoList(photos, lines, sidecar=sidecar, overwrite=overwrite, report=report)
    blip = load()
    printed = as_json or not sidecar or output is not None
    with progress_bar() as progress:
        for outcome in blip.caption_each(photo_list, prompt, options):
            source = str(outcome.source)
            if outcome.error is not None:
                photo_list.fail(outcome.error)
            elif photo_list.finish(source, outcome.captions) and printed:
                print_line(caption_lines(source, outcome.captions, as_json), output)
            progress("captions", photo_list.done, photo_list.total)
    if sidecar:
        click.echo(f"openblip: {photo_list.summary()}", err=True)
    return FAILED if photo_list.failed else 0


def caption_lines(source: str, captions: Sequence[Caption], as_json: bool) -> str:
    """What is printed for one photo."""
    if as_json:
        return json.dumps({"source": source, "captions": [caption.to_dict() for caption in captions]})
    from openblip.image import shown_name

    return "\n".join(f"{shown_name(source)}: {caption.text}" for caption in captions)


@click.command()
@click.argument("photo")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@model_options
def match(
    photo: str,
    texts: tuple[str, ...],
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Score how well each TEXT describes PHOTO, the best first.

    Prints the probability of a match (ITM), the cosine of the embeddings (ITC) and the text.
    """
    matches = load().match(photo, list(texts))
    matches.sort(key=lambda match: match.probability, reverse=True)
    if as_json:
        print_line(json.dumps({"source": photo, "matches": [match.to_dict() for match in matches]}))
        return 0
    for found in matches:
        print_line(f"{found.probability:.4f} {found.similarity:+.4f} {found.text}")
    return 0


@click.command()
@click.argument("photo")
@click.argument("questions", nargs=-1, required=True, metavar="QUESTION...")
@click.option("--answer", "answers", multiple=True, help="One of the answers to choose from; repeat it for each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the runners-up.")
@model_options
def answer(
    photo: str,
    questions: tuple[str, ...],
    answers: tuple[str, ...],
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Answer each QUESTION about PHOTO, which is looked at once.

    Prints the probability of the answer, the question and the answer. Needs a checkpoint that was trained for it, as
    `mini` is not.
    """
    found = load().answer(photo, list(questions), answers=answers or None)
    if as_json:
        print_line(json.dumps({"source": photo, "answers": [answer.to_dict() for answer in found]}))
        return 0
    for each in found:
        print_line(f"{each.probability:.4f} {each.question} {each.text}")
    return 0
