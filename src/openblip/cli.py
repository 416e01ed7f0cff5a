"""The `openblip` command: parses arguments, calls the library, prints.

Every import that costs time sits inside the command that needs it, so that --help and --version answer at once. What
goes wrong is one line on stderr, never a traceback (OPENBLIP_DEBUG=1 shows it). Exit codes: 0 all done, 1 something
failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import click

from openblip.errors import MissingExtra, OpenBlipError, OptionError
from openblip.terminal import print_line, progress_bar, report
from openblip.types import Caption, GenerateOptions

if TYPE_CHECKING:
    from openblip.bulk.shards import Sample
    from openblip.evaluate import CaptionEvaluation, RetrievalEvaluation
    from openblip.pipeline import Blip

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
DEFAULTS = GenerateOptions()
ABOUT_MINI = (
    "openblip: using mini, the small model in the box: short captions of everyday scenes, often wrong in detail "
    "(--model FOLDER takes another)"
)

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> None:
    """Run the command line and exit with its code."""
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # threads that wait for a slow server would hold up the usual exit
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    debug = bool(os.environ.get("OPENBLIP_DEBUG"))
    if not debug:
        warnings.simplefilter("ignore")  # notes of libraries to programmers; this process is ours
        logging.getLogger("PIL").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to stop
    try:
        code = commands.main(list(arguments), prog_name="openblip", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "openblip"
        report(f"{error.format_message()} (see '{where} --help')")
        return WRONG_USAGE
    except click.ClickException as error:
        report(error.format_message())
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        report("interrupted")
        return INTERRUPTED
    except OpenBlipError as error:
        if debug:
            raise
        report(error)
        return WRONG_USAGE if isinstance(error, OptionError) else FAILED
    except Exception as error:
        if debug:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        report(f"unexpected {reason}; please report it with what OPENBLIP_DEBUG=1 shows")
        return FAILED
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="openblip", prog_name="openblip", message="%(prog)s %(version)s")
def commands() -> None:
    """BLIP: captions of pictures, answers about them and image-text scores, on the CPU at hand."""


def model_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say which model runs and how; the command gets a call that loads it."""

    @wraps(command)
    def with_model(
        *arguments: Any,
        model: str | None,
        engine: Literal["openvino", "torch"],
        precision: str | None,
        threads: int | None,
        **options: Any,
    ) -> int:
        return command(*arguments, load=partial(load_model, model, engine, precision, threads), **options)

    decorated: Callable[..., int] = with_model
    for option in (
        click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one a core]"),
        click.option(
            "--precision",
            type=click.Choice(["f32", "bf16", "int8"]),
            help="Of the computation.  [default: bf16 where the processor has it, else f32]",
        ),
        click.option(
            "--engine",
            type=click.Choice(["openvino", "torch"]),
            default="openvino",
            show_default=True,
            help="What computes; torch needs the extra `torch`.",
        ),
        click.option("--model", help="A model's name, its folder or .pth.  [default: $OPENBLIP_MODEL, else mini]"),
    ):
        decorated = option(decorated)
    return decorated


@commands.command()
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


@commands.command()
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


@commands.command()
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


@commands.group()
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


@commands.group(name="eval")
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
@click.option("--num-beams", type=int, default=DEFAULTS.num_beams, show_default=True, help="1 is greedy.")
@click.option("--prompt", default="", help="What captions start with.")
@model_options
def eval_caption(
    data: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    num_beams: int,
    prompt: str,
    load: Callable[[], Blip],
) -> int:
    """Caption every picture and score against its captions: CIDEr-D, BLEU, ROUGE-L."""
    from openblip.evaluate import evaluate_captions

    options = GenerateOptions(num_beams=num_beams)
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


def load_model(
    name: str | None, engine: Literal["openvino", "torch"], precision: str | None, threads: int | None
) -> Blip:
    """The model that the options name; on a terminal, the default one introduces itself."""
    from openblip.hub import MODEL_VARIABLE
    from openblip.pipeline import Blip

    blip = Blip.load(name, engine=engine, precision=precision, threads=threads)
    if name is None and not os.environ.get(MODEL_VARIABLE) and sys.stderr.isatty():
        click.echo(ABOUT_MINI, err=True)
    return blip
