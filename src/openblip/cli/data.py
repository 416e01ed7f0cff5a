"""Commands about data sets: train. Knows options and tables, not how anything is computed."""

from __future__ import annotations

from pathlib import Path

import click

from openblip.cli.finetuning import caption, retrieval, vqa
from openblip.errors import MissingExtra


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
