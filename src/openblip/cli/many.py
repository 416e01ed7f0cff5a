"""Commands that ask the same of many photos: ask, match, embed. Knows options, not how anything is computed."""

from __future__ import annotations

import json

import click

from openblip.cli.bulk import BulkOptions, bulk_options, run_bulk
from openblip.cli.options import Loader, answer_options, model_options, search_options
from openblip.terminal import print_line
from openblip.types import GenerateOptions


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option("--question", "questions", multiple=True, help="Ask this of every photo; repeat it for each.")
@answer_options
@search_options(("num_beams", "max_length"), GenerateOptions.for_answers())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a photo, with the runners-up.")
@bulk_options("question", "the column with the questions about each photo: a text, or a list of them.")
@model_options
def ask(
    photos: tuple[str, ...],
    questions: tuple[str, ...],
    answers: list[str] | None,
    options: GenerateOptions,
    as_json: bool,
    bulk: BulkOptions,
    load: Loader,
) -> int:
    """Ask questions about many photos; `answer` asks one.

    Prints a line an answer: the photo, the probability of the answer, the question and the answer. PHOTO is what it is
    for `caption`; one that cannot be read is reported and the rest is done.
    """
    from openblip.bulk.jobs import AskJob, check_texts

    check_texts(questions, "question", "--question", bulk.columns.own)
    job = AskJob(questions, options, None if answers is None else tuple(answers))
    return run_bulk(job, bulk.items(photos), bulk, load, as_json)


@click.command()
@click.argument("photo")
@click.argument("texts", nargs=-1, metavar="TEXT...")
@click.option("--text", "given", multiple=True, help="Score this text; all arguments are then photos. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a photo.")
@bulk_options("text", "the column with the texts of each photo; all arguments are then photos.")
@model_options
def match(
    photo: str, texts: tuple[str, ...], given: tuple[str, ...], as_json: bool, bulk: BulkOptions, load: Loader
) -> int:
    """Score how well each TEXT describes PHOTO, the best first; or with --text, how well it describes many photos.

    Prints the probability of a match (ITM), the cosine of the embeddings (ITC) and the text. Of many photos, each line
    starts with the photo; PHOTO is then what it is for `caption`.
    """
    from openblip.bulk.jobs import MatchJob

    if given or bulk.columns.own:
        return run_bulk(MatchJob(given), bulk.items([photo, *texts]), bulk, load, as_json)
    if not texts:
        raise click.UsageError("Missing argument 'TEXT...'.")
    if bulk.output is not None:
        raise click.UsageError("--output is for many photos: give the texts as --text")
    matches = sorted(load().match(photo, list(texts)), key=lambda match: -match.probability)
    if as_json:
        print_line(json.dumps({"source": photo, "matches": [match.to_dict() for match in matches]}))
        return 0
    for found in matches:
        print_line(MatchJob.shown.format_map(found.to_dict()))
    return 0


@click.command()
@click.argument("photos", nargs=-1, metavar="[PHOTO]...")
@click.option("--text", "texts", multiple=True, help="Embed this text too; repeat it for each.")
@bulk_options()
@model_options
def embed(photos: tuple[str, ...], texts: tuple[str, ...], bulk: BulkOptions, load: Loader) -> int:
    """Embed photos and texts: unit vectors, whose products are the cosines of `match`.

    Prints one JSON object a photo, then one a text. PHOTO is what it is for `caption`; one that cannot be read is
    reported and the rest is done. An --output that ends in .npz gets numpy arrays: sources, image_vectors, texts,
    text_vectors, model.
    """
    if not photos and not texts:
        raise click.UsageError("there is nothing to embed: give PHOTO or --text")
    from openblip.bulk.jobs import EmbedJob

    return run_bulk(EmbedJob(texts), bulk.items(photos), bulk, load)
