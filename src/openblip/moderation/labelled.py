"""A folder of pictures that somebody has judged -> pictures with the labels that are true of them. Opens no picture;
knows no model."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openblip.bulk.sources import find_images
from openblip.errors import DataError, InputError
from openblip.image import shown_name

LIST, NONE = "labels.csv", "none"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture, and what it shows of what a policy looks for; perhaps nothing."""

    path: Path
    labels: frozenset[str]


def read_labelled(folder: Path, names: Sequence[str]) -> list[Labelled]:
    """Every judged picture of a folder, in order.

    With a labels.csv (columns file and labels, these separated by ";") those that it names, with any number of labels
    each. Without, the pictures of the sub-folders, which are called as the labels (names), or "none": a picture shows
    what its folder says and nothing else of the policy.

    Raises DataError, which names the place, on a label that the policy does not have and where there are no pictures.
    """
    if not folder.is_dir():
        raise DataError(f"{shown_name(folder)} is no folder: name one with a sub-folder a label, or with {LIST}")
    found = list(_listed(folder, names) if (folder / LIST).is_file() else _sorted(folder, names))
    if not found:
        raise DataError(
            f"{shown_name(folder)} holds no judged pictures: give it sub-folders called {', '.join((*names, NONE))}, "
            f"or a {LIST}"
        )
    return found


def _sorted(folder: Path, names: Sequence[str]) -> Iterator[Labelled]:
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if inner.name != NONE:
            _check(inner.name, names, f"the sub-folder {shown_name(inner)}")
        for photo in find_images([str(inner)]):
            if isinstance(photo, InputError):
                raise DataError(str(photo))
            yield Labelled(Path(photo), frozenset({inner.name} - {NONE}))


def _listed(folder: Path, names: Sequence[str]) -> Iterator[Labelled]:
    path = folder / LIST
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{shown_name(path)} cannot be read: {error}; write it as CSV in UTF-8") from error
    for number, row in enumerate(rows, 2):
        file, said = row.get("file"), row.get("labels")
        if not file or said is None:
            raise DataError(f'{shown_name(path)}, line {number}: no file or no labels: write "file,labels" on top')
        labels = frozenset(filter(None, (part.strip() for part in said.split(";")))) - {NONE}
        for label in labels:
            _check(label, names, f"{shown_name(path)}, line {number}")
        yield Labelled(folder / file, labels)


def _check(label: str, names: Sequence[str], where: str) -> None:
    if label not in names:
        raise DataError(
            f"{where} says {label!r}, which is no label of the policy that has phrases: give one of "
            f"{', '.join(names)}, or {NONE}"
        )
