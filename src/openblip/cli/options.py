"""What the commands share: exit codes, and the options that say which model runs, how it searches and among which
answers. Knows no command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import click

from openblip.errors import OptionError
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
DEFAULTS = GenerateOptions()
ABOUT_MINI = (
    "openblip: using mini, the small model in the box: short captions of everyday scenes, often wrong in detail "
    "(openblip pull base fetches larger ones)"
)

Command = TypeVar("Command", bound=Callable[..., Any])

# ------------------------------------------------------------------------------------------------------------ the model


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
        return command(*arguments, load=Loader(model, engine, precision, threads), **options)

    named = click.option("--model", help="A model's name, its folder or .pth.  [default: $OPENBLIP_MODEL, else mini]")
    return named(run_options()(with_model))


def run_options(precision: str | None = None) -> Callable[[Command], Command]:
    """The options that say how a model runs. precision: the default, where it is not left to the engine."""
    threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one a core]")
    return with_all(engine_options(precision), threads)


def engine_options(precision: str | None = None) -> Callable[[Command], Command]:
    """The options that say what computes, and in which precision."""
    default = precision or "bf16 where the processor has it, else f32"
    return with_all(
        click.option(
            "--engine",
            type=click.Choice(["openvino", "torch"]),
            default="openvino",
            show_default=True,
            help="What computes; torch needs the extra `torch`.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["f32", "bf16", "f16", "int8"]),
            default=precision,
            help=f"Of the computation; int8 is for openvino, f16 for torch on CUDA.  [default: {default}]",
        ),
    )


@dataclass(frozen=True, slots=True)
class Loader:
    """Calling it loads the model that the options name; on a terminal, the default one introduces itself."""

    model: str | None
    engine: Literal["openvino", "torch"]
    precision: str | None
    threads: int | None

    def __call__(self, lanes: int = 1) -> Blip:
        """lanes: see `Blip.load`."""
        from openblip.hub import MODEL_VARIABLE
        from openblip.pipeline import Blip

        blip = Blip.load(self.model, engine=self.engine, precision=self.precision, threads=self.threads, lanes=lanes)
        if self.model is None and not os.environ.get(MODEL_VARIABLE) and sys.stderr.isatty():
            click.echo(ABOUT_MINI, err=True)
        return blip


# ----------------------------------------------------------------------------------------------------------- the search

prompt_option = click.option("--prompt", default="", help="What captions start with.")

_SEARCH = {
    "num_return": ("--num-captions", "Captions a photo."),
    "num_beams": ("--num-beams", "Width of the beam search; 1 is greedy."),
    "num_beam_groups": ("--num-beam-groups", "Groups of beams that are to say different things."),
    "diversity_penalty": ("--diversity-penalty", "With groups: what repeating an earlier group's word costs."),
    "max_length": ("--max-length", "At most so many tokens, those of the prompt counted."),
    "min_length": ("--min-length", "At least so many tokens, those of the prompt counted."),
    "length_penalty": ("--length-penalty", "Of the beam search: above 1 favours longer texts, below 1 shorter ones."),
    "early_stopping": ("--early-stopping", "End the beam search at as many closed texts as beams."),
    "repetition_penalty": ("--repetition-penalty", "Above 1 a word that was said becomes less likely."),
    "sample": ("--sample", "Draw words by their probability instead of searching."),
    "top_p": ("--top-p", "With --sample: the nucleus."),
    "temperature": ("--temperature", "With --sample: above 1 bolder, below 1 safer."),
    "seed": ("--seed", "With --sample: repeats a draw."),
}
"""Fields of GenerateOptions, which has their defaults and ranges: flag and help."""
BEAM_SEARCH = ("num_beams", "max_length", "min_length", "length_penalty", "early_stopping", "repetition_penalty")


def search_options(
    fields: Sequence[str] = tuple(_SEARCH), defaults: GenerateOptions = DEFAULTS
) -> Callable[[Command], Command]:
    """The options that say how a text is searched for; the command gets them as GenerateOptions."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_search(*arguments: Any, **given: Any) -> Any:
            chosen = {field: given.pop(field) for field in fields}
            if given.get("stream") and chosen["num_return"] != 1:
                raise OptionError("--stream shows one caption: leave out --num-captions")
            if chosen["num_beams"] is None:
                chosen["num_beams"] = 1 if chosen["sample"] or given.get("stream") else _enough_beams(chosen)
            return command(*arguments, options=replace(defaults, **chosen), **given)

        return with_all(*(_search_option(field, fields, defaults) for field in fields))(with_search)  # type: ignore[return-value]

    return decorate


def _search_option(field: str, fields: Sequence[str], defaults: GenerateOptions) -> Callable[[Command], Command]:
    flag, about = _SEARCH[field]
    default = getattr(defaults, field)
    if isinstance(default, bool):
        return click.option(flag, field, is_flag=True, help=about)
    if field == "num_beams" and "num_return" in fields:
        about += f"  [default: {default}, or as many as captions and groups take]"
        return click.option(flag, field, type=type(default), help=about)
    return click.option(flag, field, type=type(default), default=default, show_default=True, help=about)


def _enough_beams(chosen: dict[str, Any]) -> int:
    """The default of num_beams: at least one a caption, and as many in every group."""
    wanted, groups = max(DEFAULTS.num_beams, chosen["num_return"]), max(1, chosen["num_beam_groups"])
    return int(-(-wanted // groups) * groups)


# --------------------------------------------------------------------------------------------------- answers and photos


def answer_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say among which answers is chosen; the command gets a list, or None."""

    @wraps(command)
    def with_answers(*arguments: Any, answer: tuple[str, ...], answers: IO[bytes] | None, **options: Any) -> int:
        allowed = [*answer, *(_read_answers(answers) if answers else ())]
        return command(*arguments, answers=list(dict.fromkeys(allowed)) or None, **options)

    return with_all(
        click.option("--answer", multiple=True, help="One of the answers to choose from; repeat it for each."),
        click.option(
            "--answers", type=click.File("rb"), help="A file of answers to choose from: one a line, or a .json list."
        ),
    )(with_answers)


def _read_answers(file: IO[bytes]) -> list[str]:
    try:
        text = file.read().decode("utf-8-sig")
        answers = json.loads(text) if file.name.endswith(".json") else text.splitlines()
    except ValueError as error:
        raise OptionError(f"{file.name} cannot be read: write one answer a line in UTF-8, or a .json list") from error
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise OptionError(f'{file.name} is no list of answers: write ["yes", "no"]')
    answers = [answer.strip() for answer in answers if answer.strip()]
    if not answers:
        raise OptionError(f"{file.name} holds no answers: write one a line")
    return answers


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """All these options, in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
