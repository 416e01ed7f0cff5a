"""The command ground: where in a photo words are. Knows options, lines and files, not how anything is computed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.options import FAILED, model_options
from openblip.errors import InputError, OptionError
from openblip.terminal import print_line, report
from openblip.types import Grounding, GroundOptions

if TYPE_CHECKING:
    from PIL import Image

    from openblip.pipeline import Blip

_DEFAULTS = GroundOptions()
_PATH = click.Path(path_type=Path)

windows_option = click.option(
    "--windows/--no-windows",
    default=None,
    help="Look at windows of the photo too, which finds smaller things.  [default: where the model sees a coarse grid]",
)


@click.command()
@click.argument("photo")
@click.argument("phrases", nargs=-1, metavar="[PHRASE]...")
@click.option(
    "--overlay", type=_PATH, help="Draw heat, boxes and peak over the photo: a .png, or a folder for several."
)
@click.option("--mask", type=_PATH, help="Write what is hotter than the threshold in white: a .png, or a folder.")
@click.option("--array", type=_PATH, help="Write the heatmaps to this .npy: [phrases, rows, columns] from 0 to 1.")
@click.option(
    "--threshold",
    type=float,
    default=_DEFAULTS.threshold,
    show_default=True,
    help="How hot a region is, from 0 to 1 at the hottest point.",
)
@windows_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@model_options
def ground(
    photo: str,
    phrases: tuple[str, ...],
    overlay: Path | None,
    mask: Path | None,
    array: Path | None,
    threshold: float,
    windows: bool | None,
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Show where in PHOTO each PHRASE is; without one, every noun phrase of the photo's own caption.

    Prints the probability of a match, the hottest point (x,y), the boxes around what is hot (left,top,right,bottom, in
    pixels) and the phrase. A place is found for anything: what is not in the photo has a low probability.
    """
    from openblip.image import SUFFIXES

    options, several = GroundOptions(windows, threshold), len(phrases) != 1
    for flag, path in (("--overlay", overlay), ("--mask", mask)):
        kind = "" if path is None else path.suffix.lower()
        if kind in SUFFIXES and (several or kind != ".png"):
            raise click.UsageError(
                f"{flag} {path} cannot hold a picture a phrase: name a folder, or one phrase and a .png"
            )
    if array is not None and array.suffix != ".npy":
        raise click.UsageError(f"--array {array} is to hold an array: name a file that ends in .npy")
    _check_outputs(photo, phrases or ("",), overlay, mask)
    [found] = load().ground(photo, list(phrases) or None, options)
    if as_json:
        print_line(json.dumps({"source": photo, "groundings": [grounding.to_dict() for grounding in found]}))
    else:
        for grounding in found:
            print_line(ground_line(grounding))
    if not found:
        report(f"{photo}: its caption names nothing to look for: give PHRASE")
        return FAILED
    _check_outputs(photo, [grounding.phrase for grounding in found], overlay, mask)
    if array is not None:
        write_array(array, found)
    write_pictures(photo, found, overlay, mask, threshold)
    return 0


def ground_line(grounding: Grounding) -> str:
    """What is printed for one phrase."""
    peak = ",".join(f"{value:.0f}" for value in grounding.peak)
    boxes = " ".join(
        ",".join(f"{value:.0f}" for value in (box.left, box.top, box.right, box.bottom)) for box in grounding.boxes
    )
    return f"{grounding.probability:.4f} {peak} {boxes} {grounding.phrase}"


def write_array(path: Path, found: Sequence[Grounding]) -> None:
    """The heatmaps as one array. Raises OptionError where it cannot be written."""
    import numpy as np

    with _writing(path) as part, part.open("wb") as file:
        np.save(file, np.stack([grounding.heatmap for grounding in found]))


def write_pictures(
    photo: str, found: Sequence[Grounding], overlay: Path | None, mask: Path | None, threshold: float
) -> None:
    """The overlays and masks that were asked for. Raises OptionError where one cannot be written."""
    if overlay is None and mask is None:
        return
    from PIL import Image

    from openblip.image import load_image
    from openblip.regions import mask_of
    from openblip.regions import overlay as drawn

    image = load_image(photo) if overlay is not None else None
    for number, grounding in enumerate(found, start=1):
        if overlay is not None and image is not None:
            _save(drawn(image, grounding), overlay, number, grounding)
        if mask is not None:
            _save(Image.fromarray(mask_of(grounding, threshold)), mask, number, grounding)


def _check_outputs(photo: str, phrases: Sequence[str], overlay: Path | None, mask: Path | None) -> None:
    """Raises UsageError where one would be written over the photo or over another."""
    taken = {Path(photo).resolve(): "the photo"}
    for flag, given in (("--overlay", overlay), ("--mask", mask)):
        if given is None:
            continue
        for number, phrase in enumerate(phrases, start=1):
            path, whose = _file_of(given, number, phrase), f"that of {flag}"
            if (other := taken.setdefault(path.resolve(), whose)) != whose:
                raise click.UsageError(f"{flag} would write over {path}, which is {other}: name another place")


def _save(image: Image.Image, given: Path, number: int, grounding: Grounding) -> None:
    path = _file_of(given, number, grounding.phrase)
    with _writing(path) as part:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(part, format="PNG")


def _file_of(given: Path, number: int, phrase: str) -> Path:
    """The path itself where it is a .png, else one in that folder."""
    if given.suffix.lower() == ".png":
        return given
    words = re.sub(r"[^a-z0-9]+", "-", phrase.lower()).strip("-")[:40]
    return given / f"{number}-{words or 'phrase'}.png"


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Where to write what then takes the path's place."""
    from openblip.bulk.sidecars import whole_file

    try:
        with whole_file(path) as part:
            yield part
    except InputError as error:
        raise OptionError(f"{error}: name another place") from error
