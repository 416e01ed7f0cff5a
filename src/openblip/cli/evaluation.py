"""Commands that measure: eval. Knows options and tables, not how anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from openblip.cli.grounding import windows_option
from openblip.cli.options import (
    BEAM_SEARCH,
    answer_options,
    model_options,
    prompt_option,
    search_options,
    with_all,
)
from openblip.errors import DataError, OptionError
from openblip.terminal import print_line, progress_bar
from openblip.types import GenerateOptions, GroundOptions

if TYPE_CHECKING:
    from openblip.bulk.shards import Sample
    from openblip.datasets.columns import Columns
    from openblip.evaluate.questions import Asked
    from openblip.evaluate.tables import Evaluation
    from openblip.pipeline import Blip

FILE = click.Path(dir_okay=False, path_type=Path)
DATA = "WebDataset shards, a folder with texts, a table or a COCO .json"

json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of a table.")
output_option = click.option(
    "--output", type=FILE, help="Also write a JSON object here, with every picture's own; eval compare reads it."
)


@click.group(name="eval")
def evaluation() -> None:
    """Measure a model on a data set."""


def data_options(*kinds: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The argument and options of an evaluation on pictures; the command gets the data as one list, and the columns.
    kinds: the columns of tables that it reads, of "image", "caption", "question" and "answer"."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def with_data(*arguments: Any, sources: tuple[str, ...], data: tuple[str, ...], **options: Any) -> int:
            from openblip.datasets.columns import Columns

            if not sources and not data:
                raise click.UsageError(f"there is no data: name {DATA}, as DATA or with --data")
            columns = Columns(**{kind: options.pop(f"{kind}_column") for kind in kinds})
            return command(*arguments, data=[*sources, *data], columns=columns, **options)

        return with_all(
            click.argument("sources", nargs=-1, metavar="DATA..."),
            click.option("--data", multiple=True, help="The same as DATA; repeatable."),
            click.option("--images", default="", help="The folder that paths in tables and JSON start from."),
            *(
                click.option(f"--{kind}-column", default="", help=f"Of tables: the column of {kind}s.")
                for kind in kinds
            ),
            click.option("--limit", type=click.IntRange(min=1), help="Only the first so many pictures."),
            json_option,
            output_option,
            click.option(
                "--gallery", type=FILE, help="Also write an HTML page here, with every picture and what was said of it."
            ),
        )(with_data)

    return decorate


@evaluation.command(name="caption")
@data_options("image", "caption")
@click.option(
    "--reference/--no-reference",
    default=True,
    show_default=True,
    help="Also score by pycocoevalcap as far as it runs here (extra `eval`; METEOR needs Java).",
)
@click.option("--spice", is_flag=True, help="Let SPICE fetch its models (half a gigabyte) where they are missing.")
@search_options(BEAM_SEARCH)
@prompt_option
@model_options
def eval_caption(
    data: list[str],
    limit: int | None,
    images: str,
    columns: Columns,
    as_json: bool,
    output: Path | None,
    gallery: Path | None,
    reference: bool,
    spice: bool,
    options: GenerateOptions,
    prompt: str,
    load: Callable[[], Blip],
) -> int:
    """Caption every picture and score against its captions: CIDEr-D, BLEU, ROUGE-L.

    DATA: what `openblip train` learns from: WebDataset shards (a .tar, a folder of them, a quoted glob), a folder of
    pictures with a .txt beside each, a .csv, .tsv, .jsonl or .parquet of paths, or a COCO .json.
    """
    from openblip.evaluate.captions import evaluate_captions, with_reference
    from openblip.evaluate.samples import read_samples

    samples = list(read_samples(data, limit, images, columns))
    contents, blip = check_files(output, gallery, samples), load()
    with progress_bar() as progress:
        result = evaluate_captions(blip, samples, options, prompt, progress)
    if reference:
        result = with_reference(result, fetch_spice=spice)
    return give_out(result, as_json, output, gallery, contents)


@evaluation.command(name="vqa")
@data_options("image", "question", "answer")
@click.option(
    "--questions", type=FILE, help='JSON lines {"key": ..., "qa": [...]} about the pictures, which then need no "qa".'
)
@click.option(
    "--prior",
    multiple=True,
    help="Training data whose best answers without a look are scored beside the model; repeatable.",
)
@answer_options
@search_options(("num_beams", "max_length", "min_length", "length_penalty"), GenerateOptions.for_answers())
@model_options
def eval_vqa(
    data: list[str],
    limit: int | None,
    images: str,
    columns: Columns,
    as_json: bool,
    output: Path | None,
    gallery: Path | None,
    questions: Path | None,
    prior: tuple[str, ...],
    answers: list[str] | None,
    options: GenerateOptions,
    load: Callable[[], Blip],
) -> int:
    """Answer questions about pictures: the accuracy of VQA v2, kind by kind.

    DATA: what `openblip train vqa` learns from: WebDataset shards whose json has "qa", a list of {"question": ...,
    "answer": ...} (or "answers", a list of what several people said, or {answer: weight}), a folder, a table, or
    questions and annotations of VQA v2.
    """
    from openblip.evaluate.answers import evaluate_answers
    from openblip.evaluate.questions import examples, read_asked
    from openblip.metrics.answers import AnswerPrior

    asked = list(read_asked(data, questions, limit, images, columns))
    known = AnswerPrior(examples(prior)) if prior else None
    contents, blip = check_files(output, gallery, asked), load()
    with progress_bar() as progress:
        result = evaluate_answers(blip, asked, answers, options, known, progress)
    return give_out(result, as_json, output, gallery, contents)


@evaluation.command(name="retrieval")
@data_options("image", "caption")
@click.option(
    "--rerank",
    default="32",
    show_default=True,
    help="How many of each query's best ITM re-ranks; several (0,8,16,32) give a curve in one pass.",
)
@model_options
def eval_retrieval(
    data: list[str],
    limit: int | None,
    images: str,
    columns: Columns,
    as_json: bool,
    output: Path | None,
    gallery: Path | None,
    rerank: str,
    load: Callable[[], Blip],
) -> int:
    """Find each picture by its captions and each caption by its picture: recall at 1, 5 and 10.

    DATA: what `openblip train` learns from: WebDataset shards (a .tar, a folder of them, a quoted glob), a folder of
    pictures with a .txt beside each, a .csv, .tsv, .jsonl or .parquet of paths, or a COCO .json.
    """
    from openblip.evaluate.retrieval import evaluate_retrieval
    from openblip.evaluate.samples import read_samples

    depths = parse_depths(rerank)
    samples = list(read_samples(data, limit, images, columns))
    contents, blip = check_files(output, gallery, samples), load()
    with progress_bar() as progress:
        result = evaluate_retrieval(blip, samples, depths, progress=progress)
    return give_out(result, as_json, output, gallery, contents)


@evaluation.command(name="grounding")
@click.argument("shards", nargs=-1, required=True, metavar="SHARDS...")
@click.option(
    "--seen-in",
    multiple=True,
    help="Only categories that captions of this data name, such as what the model was trained on; repeatable.",
)
@click.option(
    "--at-least", type=click.IntRange(min=1), default=1, show_default=True, help="With --seen-in: so many captions."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many pictures.")
@windows_option
@json_option
@output_option
@model_options
def eval_grounding(
    shards: tuple[str, ...],
    seen_in: tuple[str, ...],
    at_least: int,
    limit: int | None,
    windows: bool | None,
    as_json: bool,
    output: Path | None,
    load: Callable[[], Blip],
) -> int:
    """Point at what is in pictures: the pointing game, beside the middle of the picture and raw attention.

    SHARDS: WebDataset shards whose json has "objects", a list of {"category": ..., "bbox": [x, y, width, height]} in
    pixels of "original_size". Each category of a picture is looked for by its name; a hit is a hottest point within a
    box of it. Raw attention is where the same layer looked, in one look at the whole picture.
    """
    from itertools import islice

    from openblip.evaluate.grounding import evaluate_grounding, named_in, read_boxed
    from openblip.evaluate.samples import read_samples, shard_samples

    pictures = list(islice(read_boxed(shard_samples(shards, captioned=False)), limit))
    seen = (text for sample in read_samples(seen_in) for text in sample.captions)
    names = named_in(seen, {name for each in pictures for name in each.boxes}) if seen_in else None
    check_files(output)
    blip = load()
    with progress_bar() as progress:
        result = evaluate_grounding(blip, pictures, names, at_least, GroundOptions(windows), progress)
    return give_out(result, as_json, output)


@evaluation.command(name="compare")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--draws", type=click.IntRange(min=1), default=10_000, show_default=True, help="Of the bootstrap.")
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the interval.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Repeats the draws.")
@json_option
def eval_compare(first: Path, second: Path, draws: int, level: float, seed: int, as_json: bool) -> int:
    """Hold two runs over the same pictures against each other: CIDEr-D, or VQA accuracy, with an interval.

    FIRST, SECOND: what eval caption, or eval vqa, wrote with --output.
    """
    from openblip.evaluate.compare import compare_runs
    from openblip.evaluate.tables import format_json, format_markdown

    result = compare_runs(first, second, draws=draws, level=level, seed=seed)
    print_line(format_json(result) if as_json else format_markdown(result))
    return 0


@evaluation.command(name="agreement")
@click.argument("ratings", type=FILE, metavar="FILE")
@json_option
@output_option
@model_options
def eval_agreement(ratings: Path, as_json: bool, output: Path | None, load: Callable[[], Blip]) -> int:
    """How far ITM and ITC order pairs of picture and text as people rated them: Kendall's tau.

    FILE: a .csv or .tsv with the columns image, text and rating, or JSON lines of them.
    """
    from openblip.evaluate.agreement import evaluate_agreement, read_ratings

    pairs = read_ratings(ratings)
    check_files(output)
    blip = load()
    with progress_bar() as progress:
        result = evaluate_agreement(blip, pairs, progress)
    return give_out(result, as_json, output)


def parse_depths(text: str) -> list[int]:
    """Numbers between commas. Raises OptionError on anything else."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise OptionError(f"--rerank {text!r} is no number: give one, or several like 0,8,16,32") from error


def check_files(
    output: Path | None, gallery: Path | None = None, pictures: Sequence[Sample | Asked] = ()
) -> dict[str, bytes]:
    """Before the work begins: whether the files that were asked for can be written. Returns the pictures by their keys,
    of which each needs one of its own there. Raises OptionError or DataError."""
    for path in (output, gallery):
        if path is not None and not path.parent.is_dir():
            raise OptionError(f"cannot write {path}: there is no folder {path.parent}")
    images = {picture.key: picture.image_bytes for picture in pictures}
    if (output or gallery) and len(images) < len(pictures):
        raise DataError(
            f"{len(pictures)} pictures have {len(images)} keys: give each a key of its own, or leave out --output and "
            "--gallery"
        )
    return images


def give_out(
    result: Evaluation,
    as_json: bool,
    output: Path | None = None,
    gallery: Path | None = None,
    images: Mapping[str, bytes] = MappingProxyType({}),
) -> int:
    """Print a table or JSON, then write the files that were asked for."""
    from openblip.evaluate.agreement import AgreementEvaluation
    from openblip.evaluate.grounding import GroundingEvaluation
    from openblip.evaluate.tables import format_json, format_markdown

    print_line(format_json(result) if as_json else format_markdown(result))
    if output is not None:
        try:
            output.write_text(f"{format_json(result, by_image=True)}\n", encoding="utf-8")
        except OSError as error:
            raise OptionError(f"cannot write {output}: {error.strerror}: name another file") from error
    if gallery is not None and not isinstance(result, AgreementEvaluation | GroundingEvaluation):
        from openblip.evaluate.gallery import write_gallery

        write_gallery(gallery, result, images)
    return 0
