"""Commands about data sets: train and eval. Knows options and tables, not how anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.finetuning import caption, retrieval, vqa
from openblip.cli.options import BEAM_SEARCH, Command, model_options, prompt_option, search_options
from openblip.errors import MissingExtra
from openblip.terminal import print_line, progress_bar
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.bulk.shards import Sample
    from openblip.evaluate import CaptionEvaluation, RetrievalEvaluation
    from openblip.pipeline import Blip


@click.group()
def train() -> None:
    """Train a model (needs the extra `train`)."""


@train.command()
@click.option("--config", required=True, type=click.Path(path_type=Path), help="The run: data, sizes, steps.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the run, exactly.")
def pretrain(config: Path, resume: bool) -> int:
    """Pre-train on image-caption shards with BLIP's three losses (ITC, ITM, LM)."""
    try:
        from openblip.train.loop import run_pretrain
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("torch", "train") from error
    run_pretrain(config, resume=resume)
    return 0


for finetuning in (caption, vqa, retrieval):
    train.add_command(finetuning)


@click.group(name="eval")
def evaluation() -> None:
    """Measure a model on a data set."""


def data_options(command: Command) -> Command:
    """The options of every evaluation."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of a table."),
        click.option("--limit", type=click.IntRange(min=1), help="Only the first so many pictures."),
        click.option(
            "--data",
            required=True,
            multiple=True,
            help="WebDataset shards: a .tar, a folder or a quoted glob; repeatable.",
        ),
    ):
        command = option(command)
    return command


@evaluation.command(name="caption")
@data_options
@search_options(BEAM_SEARCH)
@prompt_option
@model_options
def eval_caption(
    data: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    options: GenerateOptions,
    prompt: str,
    load: Callable[[], Blip],
) -> int:
    """Caption every picture and score against its captions: CIDEr-D, BLEU, ROUGE-L."""
    from openblip.evaluate import evaluate_captions

    samples, blip = read_samples(data, limit), load()
    with progress_bar() as progress:
        result = evaluate_captions(blip, samples, options, prompt, progress)
    return print_evaluation(result, as_json)


@evaluation.command(name="retrieval")
@data_options
@click.option(
    "--rerank", type=click.IntRange(min=0), default=32, show_default=True, help="Best pairs that ITM re-ranks."
)
@model_options
def eval_retrieval(
    data: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    rerank: int,
    load: Callable[[], Blip],
) -> int:
    """Find each picture by its captions and each caption by its picture: recall at 1, 5 and 10."""
    from openblip.evaluate import evaluate_retrieval

    samples, blip = read_samples(data, limit), load()
    with progress_bar() as progress:
        result = evaluate_retrieval(blip, samples, rerank, progress=progress)
    return print_evaluation(result, as_json)


def read_samples(data: Sequence[str], limit: int | None) -> Iterator[Sample]:
    """The samples of the shards, as far as the limit. Shards that are missing are reported at once."""
    from itertools import islice

    from openblip.bulk.shards import find_shards, read_shards

    return islice(read_shards([shard for source in data for shard in find_shards(source)]), limit)


def print_evaluation(result: CaptionEvaluation | RetrievalEvaluation, as_json: bool) -> int:
    """Print a table or JSON."""
    from openblip.evaluate import format_json, format_markdown

    print_line(format_json(result) if as_json else format_markdown(result))
    return 0
