"""Commands that ask about one photo: answer, analyze. Knows options and lines, not how anything is computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from openblip.cli.grounding import ground_line
from openblip.cli.options import DEFAULTS, answer_options, model_options, prompt_option, search_options
from openblip.terminal import print_line
from openblip.types import Analysis, Answer, GenerateOptions, Match

if TYPE_CHECKING:
    from openblip.pipeline import Blip


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
@click.option("--ground", is_flag=True, help="Say where the noun phrases of its caption are, or each --phrase.")
@click.option("--phrase", "phrases", multiple=True, help="With --ground: look for this; repeat it for each.")
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
    ground: bool,
    phrases: tuple[str, ...],
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Ask several things about PHOTO at once, which is read once and encoded once by each checkpoint that is asked.

    Prints a line for each result: what it is, its probability and the text, as `caption`, `answer` and `match` do. The
    numbers of an embedding are printed with --json alone. The options of the search are those of the caption.
    """
    if not (caption or questions or texts or embed or ground):
        raise click.UsageError("nothing is asked: give --caption, --question, --text, --embed or --ground")
    if phrases and not ground:
        raise click.UsageError("--phrase says what to look for: give --ground too")
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
        ground=ground,
        phrases=phrases or None,
    )
    if as_json:
        print_line(json.dumps({"source": photo, **analysis.to_dict()}))
        return 0
    for line in analysis_lines(analysis):
        print_line(line)
    return 0


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
    for grounding in analysis.groundings:
        yield f"ground {ground_line(grounding)}"
    if analysis.embedding is not None:
        yield f"embedding of {len(analysis.embedding.vector)} numbers (--json prints them)"
