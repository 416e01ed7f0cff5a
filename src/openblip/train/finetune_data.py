"""The pictures of a fine-tuning run, checked before it starts: those to learn from, and those to measure on. Knows
files and settings, no model but the size of its input."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from openblip.datasets.collector import Wanted
from openblip.datasets.examples import Picture
from openblip.datasets.read import read_pictures
from openblip.errors import DataError
from openblip.train import ranks
from openblip.train.finetune_config import MOST_TEXTS, FinetuneConfig
from openblip.train.progress import say

SHOWN = 10
FEW = 50
"""Dev pictures below which a score says little: with 6 the epoch that it chose was worse than no training at all."""
_PATIENCE_S = 10.0
_THREADS = 4


@dataclass(frozen=True)
class Sets:
    """What is learned from and what is measured on. faults: a line for each entry that cannot be used."""

    train: list[Picture]
    dev: list[Picture]
    faults: list[str]

    def doubts(self) -> list[str]:
        """What makes the dev score worth little."""
        if not self.dev:
            return ["no dev pictures: nothing tells whether the run learns by heart, name some (--dev, or --dev-share)"]
        if len(self.dev) < FEW:
            return [
                f"{len(self.dev)} dev pictures are few: which epoch is best is a matter of chance, take {FEW} or more"
            ]
        return []

    def check(self, *, skip_broken: bool) -> None:
        """Say what cannot be used, and raise DataError unless that is to be skipped, or where nothing is left."""
        more = [f"... and {len(self.faults) - SHOWN} more"] if len(self.faults) > SHOWN else []
        for line in (*self.faults[:SHOWN], *more) if ranks.rank() == 0 else ():
            say(line)
        if self.faults and not skip_broken:
            raise DataError(
                f"{len(self.faults)} entries of the data cannot be used: put them right or take them out, or go on "
                "without them (--skip-broken)"
            )
        if not self.train:
            raise DataError("the data hold nothing that can be used: name other data")


def read_sets(config: FinetuneConfig, image_size: int, *, decode: bool = True) -> Sets:
    """Read the data and the dev data, and decode every picture once to see that it is whole. decode: False leaves that
    out, for a run that is resumed.

    Raises DataError where a source cannot be read, or a picture is both learned from and measured on.
    """
    wanted: Wanted = "questions" if config.task == "vqa" else "captions"
    found = read_pictures(config.data, wanted, config.images, config.columns)
    train, dev, faults = found.pictures, list[Picture](), found.faults
    if config.dev:
        other = read_pictures(config.dev, wanted, config.dev_images or config.images, config.columns)
        dev, faults = other.pictures, faults + other.faults
        both = {(picture.shard.resolve(), picture.offset) for picture in train}
        both &= {(picture.shard.resolve(), picture.offset) for picture in dev}
        if both:
            first = min(both)[0]
            raise DataError(f"{len(both)} pictures are in data and in dev (the first: {first}): take them out of one")
    if decode:
        whole, broken = whole_pictures([*train, *dev], image_size)
        faults = [*faults, *broken]
        train = [picture for picture, is_whole in zip(train, whole, strict=False) if is_whole]
        dev = [picture for picture, is_whole in zip(dev, whole[len(whole) - len(dev) :], strict=True) if is_whole]
    if config.dev_share:
        train, dev = split(train, config.dev_share, config.seed, config.dev_limit)
    return Sets(train, dev[: config.dev_limit], faults)


def split(pictures: Sequence[Picture], share: float, seed: int, most: int) -> tuple[list[Picture], list[Picture]]:
    """The pictures without a share of them that is drawn, and that share, at most so many, each in their order."""
    count = min(max(1, round(len(pictures) * share)), len(pictures) - 1, most)
    drawn = set(np.random.default_rng((seed, 5)).permutation(len(pictures))[:count].tolist())
    return (
        [picture for place, picture in enumerate(pictures) if place not in drawn],
        [picture for place, picture in enumerate(pictures) if place in drawn],
    )


def whole_pictures(pictures: Sequence[Picture], image_size: int) -> tuple[list[bool], list[str]]:
    """Of each picture whether it can be decoded, and why not of those that cannot; each rank looks at its share."""
    said = time.monotonic()
    own, reasons = range(ranks.rank(), len(pictures), ranks.count()), dict[int, str]()

    def fault(place: int) -> str:
        try:
            pictures[place].read(image_size)
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="openblip-check") as pool:
        for done, (place, reason) in enumerate(zip(own, pool.map(fault, own), strict=True), 1):
            if reason:
                reasons[place] = reason
            if time.monotonic() - said > _PATIENCE_S and ranks.rank() == 0:
                said = time.monotonic()
                say(f"checked {done} of {len(own)} pictures")
    reasons = {place: reason for part in ranks.gather_objects(reasons) for place, reason in part.items()}
    return [place not in reasons for place in range(len(pictures))], [reasons[place] for place in sorted(reasons)]


def texts_a_picture(config: FinetuneConfig, pictures: Sequence[Picture]) -> int:
    """As many as the settings say, or as the pictures have on average."""
    if config.texts_per_image:
        return config.texts_per_image
    counts = [len(picture.questions) if config.task == "vqa" else len(picture.captions) for picture in pictures]
    return min(max(1, round(sum(counts) / len(counts))), MOST_TEXTS)
