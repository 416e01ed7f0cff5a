"""The commands that fine-tune: train caption, vqa and retrieval. Knows their options, not how anything is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click

from openblip.cli.options import FAILED, Command
from openblip.errors import MissingExtra
from openblip.terminal import print_line

_DATA = (
    "shards (.tar), a folder with a .txt beside each picture, a .csv, .jsonl or .parquet, or a COCO .json; repeatable"
)
_HELP = {
    "data": f"What is learned from: {_DATA}.",
    "images": "The folder that paths in tables and COCO files start from.  [default: that of the file]",
    "dev": "What tells the best epoch, in the same forms.",
    "dev_images": "As --images, for --dev.  [default: --images]",
    "dev_share": "Share of the data set aside as dev instead.",
    "model": "What to start from: a model's name, its folder or .pth.  [default: $OPENBLIP_MODEL, else mini]",
    "output": "The folder that the run writes to.  [default: runs/TASK]",
    "prompt": "What stands before every caption and is not learned, as 'a picture of '.",
    "epochs": "Passes over the data.",
    "batch": "Pictures a batch, each process.",
    "accumulate": "Batches a step.",
    "texts_per_image": "Captions or questions of a picture a step; 0: as many as there are on average, at most 5.",
    "learning_rate": "Of the topmost layers; 0: by task and width of the model.",
    "layer_decay": "What each layer learns more slowly by than the one above it.",
    "backbone_rate": "The convolutional backbone's further share of it.",
    "warm_up": "Share of the steps in which the rate rises.",
    "final_share": "Of the peak, where the rate ends.",
    "weight_decay": "AdamW's.",
    "clip_norm": "Largest norm of a step's gradient.",
    "dropout": "On residual branches.",
    "word_dropout": "Share of the decoder's input words that are blanked.",
    "label_smoothing": "Of the loss on words.",
    "freeze": "A part that does not learn; repeatable.",
    "views": "With a frozen image encoder: keep its output for so many views of a picture; 0: look anew each epoch.",
    "augment": "Random crops, flips and changes of colour.",
    "mirror": "Allow flips; captions with 'left' or 'right' are never flipped.",
    "crop_area": "Smallest share of a picture that a crop keeps.",
    "colour_jitter": "Largest relative change of colour, contrast, brightness and sharpness.",
    "image_size": "Side of the pictures in pixels; 0: the model's.",
    "max_text_tokens": "Longer texts are cut.",
    "gradient_checkpointing": "Compute blocks twice instead of keeping them: less memory, a third more time.",
    "bfloat16": "Autocast to bfloat16.",
    "ema": "Of the averaged model, which is measured and saved; 0: the model itself.",
    "patience": "Stop after so many epochs without a better dev score; 0: never.",
    "self_critical": "Further epochs on CIDEr-D of the model's own captions.",
    "self_critical_rate": "Their share of the learning rate.",
    "proposals": "Captions of its own a picture there.",
    "queue": "Pictures whose features stay candidates of the contrast.",
    "alpha": "Weight of the contrast's soft targets.",
    "dev_limit": "At most so many dev pictures.",
    "dev_rerank": "Best pairs of a query that ITM re-ranks on dev.",
    "dev_max_length": "Tokens of a dev caption, the prompt's not counted.",
    "keep_tasks": "The result keeps what else the checkpoint can do.",
    "skip_broken": "Go on without entries that cannot be used.",
    "samples": "Captions or answers shown after each epoch.",
    "tensorboard": "Write figures for TensorBoard into OUTPUT/tensorboard.",
    "shard": "Spread parameters over the processes of torchrun (FSDP2).",
    "device": "cpu, cuda or auto.",
    "threads": "Of torch on the CPU; 0: its own choice.",
    "workers": "Processes that read pictures; 0: between the steps.",
    "seed": "Of everything random.",
    "save_minutes": "Between two saves within an epoch.",
    "log_steps": "Between two progress lines.",
    "image_column": "Of tables: the column of paths.  [default: image, path or file_name]",
    "caption_column": "Of tables.  [default: caption, captions or text]",
    "question_column": "Of tables.  [default: question]",
    "answer_column": "Of tables.  [default: answers or answer]",
}
"""Fields of FinetuneConfig, which has their defaults and ranges: what they are for."""
_ONLY = {
    "prompt": "caption", "word_dropout": "caption", "self_critical": "caption", "self_critical_rate": "caption",
    "proposals": "caption", "dev_max_length": "caption", "caption_column": "caption retrieval",
    "question_column": "vqa", "answer_column": "vqa", "queue": "retrieval", "alpha": "retrieval",
    "dev_rerank": "retrieval", "label_smoothing": "caption vqa",
}  # fmt: skip
"""Those that mean nothing elsewhere, and where they do."""


def finetune_options(task: str) -> Callable[[Command], Command]:
    """The options of one kind of fine-tuning; the command gets those that were given as one dict."""
    from openblip.train.finetune_config import FROZEN, FinetuneConfig

    defaults = {entry.name: entry.default for entry in fields(FinetuneConfig)}

    def decorate(command: Command) -> Command:
        for name in reversed([name for name in _HELP if task in _ONLY.get(name, task)]):
            choices = FROZEN if name == "freeze" else None
            command = _option(name, defaults[name], choices)(command)
        command = click.option("--dry-run", is_flag=True, help="Check data, memory and time, and learn nothing.")(
            command
        )
        command = click.option("--resume", is_flag=True, help="Go on from the last save of the run, exactly.")(command)
        config = click.Path(path_type=Path)
        return click.option("--config", type=config, help="A TOML file with these options, '-' as '_'.")(command)

    return decorate


def _option(name: str, default: Any, choices: tuple[str, ...] | None) -> Callable[[Command], Command]:
    """What is not given stays None, so that a config file's value counts."""
    assert default is not MISSING
    flag, about = f"--{name.replace('_', '-')}", _HELP[name]
    if isinstance(default, bool):
        about += f"  [default: {'yes' if default else 'no'}]"
        return click.option(f"{flag}/--no-{name.replace('_', '-')}", name, default=None, help=about)
    if isinstance(default, tuple):
        kind: Any = click.Choice(choices) if choices else str
        return click.option(flag, name, multiple=True, type=kind, help=about)
    if default != "" and "[default:" not in about:
        about += f"  [default: {default}]"
    return click.option(flag, name, type=type(default), default=None, help=about)


def _finetune(task: Any, config: Path | None, resume: bool, dry_run: bool, options: dict[str, Any]) -> int:
    from openblip.train.finetune_config import read_finetune_config

    given = {name: value for name, value in options.items() if value not in (None, ())}
    settings = read_finetune_config(config, task, given)
    try:
        from openblip.train.dry_run import dry_run as look
        from openblip.train.finetune import run_finetune
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("torch", "train") from error
    if not dry_run:
        run_finetune(settings, resume=resume)
        return 0
    lines, usable = look(settings)
    for line in lines:
        print_line(line)
    return 0 if usable else FAILED


@click.command()
@finetune_options("caption")
def caption(config: Path | None, resume: bool, dry_run: bool, **options: Any) -> int:
    """Fine-tune a model on your own captioned pictures."""
    return _finetune("caption", config, resume, dry_run, options)


@click.command()
@finetune_options("vqa")
def vqa(config: Path | None, resume: bool, dry_run: bool, **options: Any) -> int:
    """Fine-tune a model to answer your own questions about pictures."""
    return _finetune("vqa", config, resume, dry_run, options)


@click.command()
@finetune_options("retrieval")
def retrieval(config: Path | None, resume: bool, dry_run: bool, **options: Any) -> int:
    """Fine-tune a model to find your own pictures by text and texts by picture."""
    return _finetune("retrieval", config, resume, dry_run, options)
