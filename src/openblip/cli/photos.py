"""Commands that ask about photos: match, answer, analyze, embed. Knows options and lines, not how anything is
computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.options import (
    DEFAULTS,
    FAILED,
    answer_options,
    find_photos,
    model_options,
    prompt_option,
    search_options,
)
from openblip.terminal import print_line, progress_bar, report
from openblip.types import Analysis, Answer, Embedding, GenerateOptions, Match

if TYPE_CHECKING:
    from openblip.bulk.photo_list import PhotoList
    from openblip.bulk.vectors import Vector
    from openblip.pipeline import Blip


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
    matches = best_first(load().match(photo, list(texts)))
    if as_json:
        print_line(json.dumps({"source": photo, "matches": [match.to_dict() for match in matches]}))
        return 0
    for found in matches:
        print_line(match_line(found))
    return 0


@click.command()
@click.argument("photo")
@click.argument("questions", nargs=-1, required=True, metavar="QUESTION...")
@answer_options
@search_options(("num_beams", "max_length"), GenerateOptions.for_answers())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the runners-up.")
@model_options
def answer(
    photo: str,
    questions: tuple[str, ...],
    answers: list[str] | None,
    options: GenerateOptions,
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Answer each QUESTION about PHOTO, which is looked at once.

    Prints the probability of the answer, the question and the answer. The model writes its answers, unless some are
    given to choose from: then the likeliest of those, and nothing is searched. Needs a checkpoint that was trained for
    it, such as `mini` or those of `base`.
    """
    found = load().answer(photo, list(questions), options, answers)
    if as_json:
        print_line(json.dumps({"source": photo, "answers": [answer.to_dict() for answer in found]}))
        return 0
    for each in found:
        print_line(answer_line(each))
    return 0


@click.command()
@click.argument("photo")
@click.option("--caption", is_flag=True, help="Caption it.")
@prompt_option
@search_options()
@click.option("--question", "questions", multiple=True, help="Answer this; repeat it for each.")
@answer_options
@click.option("--text", "texts", multiple=True, help="Score how well this describes it; repeat it for each.")
@click.option("--embed", is_flag=True, help="Give its embedding.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
@model_options
def analyze(
    photo: str,
    caption: bool,
    prompt: str,
    options: GenerateOptions,
    questions: tuple[str, ...],
    answers: list[str] | None,
    texts: tuple[str, ...],
    embed: bool,
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Ask several things about PHOTO at once, which is read once and encoded once by each checkpoint that is asked.

    Prints a line for each result: what it is, its probability and the text, as `caption`, `answer` and `match` do. The
    numbers of an embedding are printed with --json alone. The options of the search are those of the caption.
    """
    if not (caption or questions or texts or embed):
        raise click.UsageError("nothing is asked: give --caption, --question, --text or --embed")
    if not caption and (prompt or options != DEFAULTS):
        raise click.UsageError("--prompt and the options of the search are for captions: give --caption too")
    if answers is not None and not questions:
        raise click.UsageError("--answer and --answers go with a question: give --question too")
    [analysis] = load().analyze(
        photo,
        caption=caption,
        prompt=prompt,
        options=options if caption else None,
        questions=questions,
        answers=answers,
        texts=texts,
        embed=embed,
    )
    if as_json:
        print_line(json.dumps({"source": photo, **analysis.to_dict()}))
        return 0
    for line in analysis_lines(analysis):
        print_line(line)
    return 0


@click.command()
@click.argument("photos", nargs=-1, metavar="[PHOTO]...")
@click.option("--text", "texts", multiple=True, help="Embed this text too; repeat it for each.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Print to this file; one that ends in .npz gets numpy arrays: sources, image_vectors, texts, text_vectors, "
    "model.",
)
@model_options
def embed(photos: tuple[str, ...], texts: tuple[str, ...], output: Path | None, load: Callable[[], Blip]) -> int:
    """Embed photos and texts: unit vectors, whose products are the cosines of `match`.

    Prints one JSON object a photo, then one a text. PHOTO is what it is for `caption`; one that cannot be read is
    reported and the rest is done.
    """
    if not photos and not texts:
        raise click.UsageError("there is nothing to embed: give PHOTO or --text")
    from openblip.bulk.photo_list import PhotoList
    from openblip.bulk.vectors import write_vectors

    photo_list = PhotoList(find_photos(photos), report=report)
    vectors = embeddings(load(), photo_list, texts)
    if output is not None and output.suffix == ".npz":
        write_vectors(output, vectors)
        return FAILED if photo_list.failed else 0
    with click.open_file("-" if output is None else str(output), "w", encoding="utf-8", lazy=True) as stream:
        for kind, name, embedding in vectors:
            print_line(json.dumps({kind: name, **embedding.to_dict()}), stream)
    return FAILED if photo_list.failed else 0


def embeddings(blip: Blip, photos: PhotoList, texts: Sequence[str]) -> Iterator[Vector]:
    """Those of all photos that can be read, then those of the texts."""
    with progress_bar() as progress:
        for outcome in blip.embed_each(source for source, _ in photos):
            if outcome.error is not None:
                photos.fail(outcome.error)
            elif outcome.embedding is not None and photos.finish(str(outcome.source)):
                yield "source", str(outcome.source), outcome.embedding
            progress("embeddings", photos.done, photos.total)
    if texts:
        name = blip.part("embed").name
        for text, vector in zip(texts, blip.embed_texts(texts), strict=True):
            yield "text", text, Embedding(tuple(vector.tolist()), name)


def best_first(matches: Sequence[Match]) -> list[Match]:
    """By the probability of a match."""
    return sorted(matches, key=lambda match: -match.probability)


def match_line(match: Match) -> str:
    """What is printed for one text."""
    return f"{match.probability:.4f} {match.similarity:+.4f} {match.text}"


def answer_line(answer: Answer) -> str:
    """What is printed for one question."""
    return f"{answer.probability:.4f} {answer.question} {answer.text}"


def analysis_lines(analysis: Analysis) -> Iterator[str]:
    """What is printed for one photo of which several things were asked."""
    for caption in analysis.captions:
        yield f"caption {caption.probability:.4f} {caption.text}"
    for answer in analysis.answers:
        yield f"answer {answer_line(answer)}"
    for match in best_first(analysis.matches):
        yield f"match {match_line(match)}"
    if analysis.embedding is not None:
        yield f"embedding of {len(analysis.embedding.vector)} numbers (--json prints them)"
