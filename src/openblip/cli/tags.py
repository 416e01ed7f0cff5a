"""The command tag: which labels fit photos. Knows options, not how anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.bulk import BulkOptions, bulk_options, run_bulk, sidecar_options
from openblip.cli.options import Loader, model_options
from openblip.types import TagOptions

if TYPE_CHECKING:
    from openblip.bulk.sidecars import Beside

DEFAULTS = TagOptions()


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option("--label", "own", multiple=True, help="A label to choose from; repeat it for each.")
@click.option(
    "--labels", "file", type=click.Path(path_type=Path), help="A file of labels: one a line, or a .json list."
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    help=f'A text that labels are put into, in the place of "{{}}"; repeat it for their mean.'
    f"  [default: {DEFAULTS.templates[0]}]",
)
@click.option("--screen", default=DEFAULTS.screen, show_default=True, help="Labels a photo that ITM reads; 0: none.")
@click.option("--threshold", default=DEFAULTS.threshold, show_default=True, help="Least probability of a tag.")
@click.option("--top", default=DEFAULTS.top, show_default=True, help="Tags a photo, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a photo, with probabilities.")
@sidecar_options
@bulk_options()
@model_options
def tag(
    photos: tuple[str, ...],
    own: tuple[str, ...],
    file: Path | None,
    templates: tuple[str, ...],
    screen: int,
    threshold: float,
    top: int,
    as_json: bool,
    beside: list[Beside],
    bulk: BulkOptions,
    load: Loader,
) -> int:
    """Tag photos: print which labels fit, the best first.

    PHOTO is what it is for `caption`; one that cannot be read is reported and the rest is done. Labels are any words,
    of which several may fit a photo, or none; without --label and --labels some 280 things of everyday scenes. They
    are compared with the photo at once (ITC), and the best of them are read with it one by one (ITM).
    """
    from openblip.bulk.jobs import TagJob
    from openblip.labels import checked_labels, read_labels

    bulk.check_output([] if file is None else [str(file)])
    options = TagOptions(templates or DEFAULTS.templates, screen, threshold, top)
    labels = [*own, *(read_labels(file) if file is not None else ())]
    job = TagJob(checked_labels(labels) if labels else None, options)
    return run_bulk(job, bulk.items(photos), bulk, load, as_json, beside)
