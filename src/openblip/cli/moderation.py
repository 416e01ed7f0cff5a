"""The commands of moderation: decide about photos by a policy, and calibrate its thresholds. Knows options and lines,
not how anything is decided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.bulk import BulkOptions, bulk_options, run_bulk
from openblip.cli.options import FAILED, Loader, model_options
from openblip.errors import InputError
from openblip.terminal import print_line, progress_bar, report

if TYPE_CHECKING:
    from openblip.bulk.items import Item
    from openblip.metrics import Proportion
    from openblip.moderation import Calibration, LabelCalibration, Moderated, Threshold

policy_option = click.option(
    "--policy", required=True, type=click.Path(path_type=Path), help="A TOML file of labels and thresholds."
)


class WithDefault(click.Group):
    """A group that takes what is none of its commands for arguments of `decide`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """With that command put in front, where none is named."""
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["decide", *args]
        return super().parse_args(ctx, args)


@click.group(cls=WithDefault)
def moderate() -> None:
    """Decide about photos by a policy of yours: allow, review or block.

    `openblip moderate PHOTO... --policy FILE` is short for `openblip moderate decide`. A small model's scores are a
    reason to look, no judgement: docs/moderation.md says what it cannot know.
    """


@moderate.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@policy_option
@click.option("--text", default="", help="The text that comes with every photo that has none of its own.")
@click.option("--sidecars", is_flag=True, help="Take the text of dog.jpg from dog.txt beside it, where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a photo, with all findings.")
@bulk_options("text", "the column with the text that comes with each photo.")
@model_options
def decide(
    photos: tuple[str, ...],
    policy: Path,
    text: str,
    sidecars: bool,
    as_json: bool,
    bulk: BulkOptions,
    load: Loader,
) -> int:
    """Decide about photos, and the texts that come with them.

    PHOTO is what it is for `caption`. Prints the photo, the decision and why: the labels of the policy with their
    probabilities and the answers that explain them, words that were found in the text, and whether the text matches the
    photo. The exit code does not tell decisions: 1 means that a photo could not be read.
    """
    from openblip.moderation import ModerateJob, read_policy

    bulk.check_output([str(policy)])
    job, items = ModerateJob(read_policy(policy), text), bulk.items(photos)
    if sidecars:
        found = (with_sidecar(item) for item in items)
        items = list(found) if isinstance(items, list) else found
    return run_bulk(job, items, bulk, load, as_json)


@moderate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@policy_option
@click.option(
    "--block-precision", default=0.95, show_default=True, help="Of what is blocked, the share that shows the label."
)
@click.option(
    "--review-recall", default=0.9, show_default=True, help="Of what shows it, the share that is at least reviewed."
)
@click.option("--write", is_flag=True, help="Put the thresholds into the policy; its comments stay.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@model_options
def calibrate(
    folder: Path,
    policy: Path,
    block_precision: float,
    review_recall: float,
    write: bool,
    as_json: bool,
    load: Loader,
) -> int:
    """Choose the thresholds of a policy by photos that you have judged.

    FOLDER holds a sub-folder for each label of the policy and one called "none", or a labels.csv with the columns file
    and labels (separated by ";"). Prints, for each label, the threshold from which a photo is blocked and the one from
    which it is reviewed, and what they are worth: precision and recall on photos that did not choose them, with 95%
    intervals.
    """
    from openblip.moderation import Targets, read_labelled, read_policy
    from openblip.moderation import calibrate as calibrated
    from openblip.moderation.calibrate import with_thresholds
    from openblip.moderation.policy import read_text
    from openblip.moderation.toml import check_installed

    if write:
        check_installed()
    rules, targets = read_policy(policy), Targets(block_precision, review_recall)
    labelled, done = read_labelled(folder, [rule.name for rule in rules.labels if rule.phrases]), 0
    with progress_bar() as progress:

        def follow(moderated: Moderated) -> None:
            nonlocal done
            done += 1
            if moderated.error is not None:
                report(moderated.error)
            progress("pictures", done, len(labelled))

        found = calibrated(load(), rules, labelled, targets, follow)
    if as_json:
        print_line(json.dumps(found.to_dict()))
    else:
        for line in calibration_lines(found):
            print_line(line)
    if write:
        replace_text(policy, with_thresholds(read_text(policy), found.labels))
        click.echo(f"openblip: thresholds written to {policy}", err=True)
    return FAILED if found.unreadable else 0


@moderate.command("calibrate-text")
@click.argument("folder", type=click.Path(path_type=Path))
@policy_option
@click.option("--pass", "passing", default=0.95, show_default=True, help="Of photos with their texts, those to pass.")
@click.option("--write", is_flag=True, help="Put the threshold into the policy; its comments stay.")
@model_options
def calibrate_text(folder: Path, policy: Path, passing: float, write: bool, load: Loader) -> int:
    """Choose from which score on a photo matches its text, by photos with texts that do.

    FOLDER holds dog.txt beside dog.jpg. Each photo is held against its own text and against that of another. Prints
    the threshold and what it is worth on photos that did not choose it, with 95% intervals: the share of the photos
    that pass with their own text, and the share that is caught with another's.
    """
    from openblip.bulk.items import Columns, find_items
    from openblip.moderation import calibrate_text as calibrated
    from openblip.moderation import read_policy
    from openblip.moderation.policy import read_text
    from openblip.moderation.toml import check_installed, edited

    if write:
        check_installed()
    read_policy(policy)
    items = [with_sidecar(item) for item in find_items([str(folder)], (), Columns())]
    for item in items:
        if item.error is not None:
            raise item.error
    pairs = [(item.picture, item.own[0]) for item in items if isinstance(item.picture, Path) and item.own]
    found = calibrated(load(), pairs, passing)
    passed, caught = shown(found.passed), shown(found.caught)
    print_line(f"match = {found.match} (held out: own texts pass {passed}, others' are caught {caught})")
    if write:
        replace_text(policy, edited(read_text(policy), {("text",): {"match": found.match}}))
        click.echo(f"openblip: threshold written to {policy}", err=True)
    return 0


def with_sidecar(item: Item) -> Item:
    """With the text of dog.txt beside dog.jpg as its own, where there is one; with an error where it is no text."""
    from openblip.bulk.sidecars import sidecar_path
    from openblip.image import shown_name

    if not isinstance(item.picture, Path) or not (path := sidecar_path(item.picture)).is_file():
        return item
    try:
        return replace(item, own=(path.read_text(encoding="utf-8-sig"),))
    except (OSError, ValueError) as error:
        fault = InputError(f"{shown_name(path)} cannot be read: {error}; write it in UTF-8")
        return replace(item, picture=None, error=fault)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    from openblip.bulk.sidecars import whole_file

    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def calibration_lines(found: Calibration) -> Iterator[str]:
    """What is printed: two lines a label."""
    for label in found.labels:
        yield from label_lines(label)
    yield f"{found.pictures} pictures, {found.unreadable} unreadable; precision is that of a set with as many of each"


def label_lines(label: LabelCalibration) -> Iterator[str]:
    """Of one label."""
    counts = f"{label.label}: {label.shown} pictures show it, {label.others} do not"
    if label.review is None or label.block is None:
        yield f"{counts}: too few, its thresholds stay"
        return
    yield f"{counts}; screen = {label.screen}"
    yield f"  review = {threshold_line(label.review)}"
    yield f"  block = {threshold_line(label.block)}"


def threshold_line(threshold: Threshold) -> str:
    """A threshold and what it is worth."""
    if threshold.value is None:
        return "never: no threshold reaches the precision"
    return f"{threshold.value} (held out: precision {shown(threshold.precision)}, recall {shown(threshold.recall)})"


def shown(share: Proportion) -> str:
    """A share with its interval."""
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
