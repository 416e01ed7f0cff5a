"""The command capfilt: noisy shards to cleaned ones. Knows options and lines, not how anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from openblip.cli.options import DEFAULTS, FAILED, cores, engine_options
from openblip.terminal import progress_bar

NONE = "none"


@click.command()
@click.argument("shards", nargs=-1, required=True, metavar="SHARDS...")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The folder of this run, new or to go on with."
)
@click.option("--captioner", help="The model that writes, or none.  [default: $OPENBLIP_MODEL, else mini]")
@click.option("--filter", "filter_", help="The model that scores, or none.  [default: the captioner]")
@click.option(
    "--itm", type=float, help="Keep texts of at least this ITM probability.  [default: 0.5, where nothing else decides]"
)
@click.option("--itc", type=float, help="Keep texts of at least this ITC cosine; with --itm both must hold.")
@click.option("--keep-fraction", type=float, help="Instead: keep this share of all texts, the best ones.")
@click.option(
    "--by", type=click.Choice(["itm", "itc"]), default="itm", show_default=True, help="With --keep-fraction: the score."
)
@click.option("--redecide", is_flag=True, help="Another decision for the scores that --out holds.")
@click.option("--prompt", default="", help="What the captioner starts with; no part of the text that is kept.")
@click.option(
    "--num-captions", type=click.IntRange(min=1), default=1, show_default=True, help="Synthetic texts a picture."
)
@click.option("--top-p", type=float, default=0.9, show_default=True, help="The nucleus that they are drawn from.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Above 1 bolder, below 1 safer.")
@click.option("--max-length", type=int, default=DEFAULTS.max_length, show_default=True, help="At most so many tokens.")
@click.option("--min-length", type=int, default=DEFAULTS.min_length, show_default=True, help="At least so many tokens.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws; each picture has its own.")
@click.option("--pairs", type=int, default=24, show_default=True, help="Of each kind in the report's contact sheet.")
@click.option("--workers", type=int, help="Processes of one thread each, or workers on Ray.  [default: one a core]")
@click.option("--ray", metavar="ADDRESS", help="Run on this Ray cluster; local starts one (needs the extra `bulk`).")
@engine_options()
def capfilt(
    shards: tuple[str, ...],
    out: Path,
    captioner: str | None,
    filter_: str | None,
    itm: float | None,
    itc: float | None,
    keep_fraction: float | None,
    by: Literal["itm", "itc"],
    redecide: bool,
    prompt: str,
    num_captions: int,
    top_p: float,
    temperature: float,
    max_length: int,
    min_length: int,
    seed: int,
    pairs: int,
    workers: int | None,
    ray: str | None,
    engine: Literal["openvino", "torch"],
    precision: str | None,
) -> int:
    """Clean noisy SHARDS as in BLIP's CapFilt: the captioner adds a text to each picture, the filter drops bad ones.

    SHARDS are WebDataset tars, folders of them, quoted globs or ranges like train-{0000..0099}.tar; the texts of a
    picture are "captions" or "caption" of KEY.json, or KEY.txt. OUT/shards holds the pictures with a text that was
    kept, ready for `openblip train pretrain`; OUT/report.html shows what was kept and dropped. The same command goes on
    where it was cut off.
    """
    from openblip.bulk.capfilt.run import CapFilt
    from openblip.bulk.capfilt.settings import Decision, Scoring, nucleus
    from openblip.bulk.shards import find_shards

    names = _models(captioner, filter_)
    options = nucleus(
        num_return=num_captions,
        top_p=top_p,
        temperature=temperature,
        max_length=max_length,
        min_length=min_length,
        seed=seed,
    )
    scoring = Scoring(*names, captions=options, prompt=prompt, engine=engine, precision=precision)
    run = CapFilt(
        shards=[shard for source in shards for shard in find_shards(source)],
        out=out,
        scoring=scoring,
        decision=Decision(itm, itc, keep_fraction, by),
        workers=cores() if workers is None else workers,
        ray=ray,
        shown_pairs=pairs,
        redecide=redecide,
    )
    with progress_bar() as progress:
        report = run.run(progress, _say)
    for line in report.lines:
        _say(line)
    _say(f"{out / 'shards'} holds the kept pictures, {out / 'report.html'} shows them")
    return FAILED if report.whole.broken_off else 0


def _models(captioner: str | None, filter_: str | None) -> tuple[str | None, str | None]:
    """Both names, None where one is left out. Without a name the captioner is the default model and the filter the
    captioner."""
    from openblip.hub import chosen_name

    writes = None if captioner == NONE else chosen_name(captioner)
    if filter_ is None:
        return writes, writes if captioner != NONE else chosen_name(None)
    return writes, None if filter_ == NONE else filter_


def _say(line: str) -> None:
    click.echo(f"openblip: {line}", err=True)
