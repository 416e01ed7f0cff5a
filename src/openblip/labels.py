"""What pictures can be tagged with: the built-in labels, each with how common it is, and those of a file. Knows words.
Does not know models."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from openblip.errors import OptionError

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_BUILT_IN = Path(__file__).with_name("labels.tsv")
"""Made by `python -m benchmarks.tags --count` of the captions of Flickr8k's training photos."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How scores of a label and how common it is make a probability: as Bayes has it, the log-odds of the count are
    added to what the picture says.

    sharpness: of the cosine (ITC), for the screening. slope, offset: of the logit of ITM, which learned to tell hard
    pairs apart and is too sure of itself about single words; `python -m benchmarks.tags --fit` on training photos.
    """

    sharpness: float = 15.0
    slope: float = 0.47
    offset: float = 4.6

    def logit(self, itm_logit: float, log_odds: float) -> float:
        """Of the probability."""
        return self.slope * itm_logit + self.offset + log_odds

    def itm_logit(self, logit: float, log_odds: float) -> float:
        """The inverse of `logit`."""
        return (logit - self.offset - log_odds) / self.slope


COUNTED = Weights()


def built_in_labels() -> tuple[str, ...]:
    """What the captions that `mini` learned from speak of: people, animals, vehicles, garments, things and places,
    sorted. A larger model knows more: give it labels of your own."""
    return tuple(label for label, _ in _built_in())


def built_in_log_odds() -> NDArray[float32]:
    """Of each built-in label being named in a caption of a photo, [labels]."""
    import numpy as np

    return np.array([odds for _, odds in _built_in()], np.float32)


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Labels of a file: one a line in UTF-8, or a .json list. Raises OptionError on anything else."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        values = json.loads(text) if file.suffix == ".json" else text.splitlines()
    except OSError as error:
        raise OptionError(f"{file} cannot be read: {error.strerror or error}; name a file of labels") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{file} cannot be read: write one label a line in UTF-8, or a .json list") from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise OptionError(f'{file} is no list of labels: write ["dog", "beach"]')
    return checked_labels((value for value in values if value.strip()), str(file))


def checked_labels(labels: Iterable[str], where: str = "labels") -> tuple[str, ...]:
    """Each once, in order, without the spaces around it. Raises OptionError where there is none, or an empty one."""
    given: list[object] = [labels] if isinstance(labels, str) else list(labels)
    found: list[str] = []
    for place, label in enumerate(given, 1):
        if not isinstance(label, str) or not label.strip():
            raise OptionError(f"{where}: label {place} is {label!r}: give it words, or leave it out")
        found.append(label.strip())
    if not found:
        raise OptionError(f"{where} holds no labels: give at least one")
    return tuple(dict.fromkeys(found))


@cache
def _built_in() -> tuple[tuple[str, float], ...]:
    """Label and log-odds."""
    head, *lines = _BUILT_IN.read_text(encoding="utf-8").splitlines()
    photos = int(head.rpartition("\t")[2])
    rows = (line.split("\t") for line in lines)
    return tuple((label, math.log(int(count) / (photos - int(count)))) for label, count in rows)
