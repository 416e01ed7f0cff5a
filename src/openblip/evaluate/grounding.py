"""The pointing game over the boxes of a data set: category names as phrases, beside the middle of the picture and
beside the attention of one look at it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from openblip.bulk.shards import Sample
from openblip.errors import DataError
from openblip.evaluate.captions import fingerprint
from openblip.evaluate.progress import Progress, at_hand, tell
from openblip.language.forms import singular
from openblip.language.phrases import noun_phrases
from openblip.language.tagging import tokenise
from openblip.metrics.bootstrap import Difference, paired_difference
from openblip.metrics.boxes import point_in_any
from openblip.pictures import Clock, read_batches
from openblip.regions import peak_of, stretched
from openblip.tasks.encoded import Encoded
from openblip.tasks.grounding import Grounder, Looks
from openblip.tasks.heatmaps import CELLS
from openblip.types import GroundOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip

Baseline = Literal["centre", "attention"]
BASELINES: tuple[Baseline, ...] = ("centre", "attention")
BoxRow = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Boxed:
    """A picture and the boxes of each category in it: x, y, width and height as shares of the picture's sides."""

    key: str
    image_bytes: bytes
    boxes: dict[str, tuple[BoxRow, ...]]


@dataclass(frozen=True, slots=True)
class Pointed:
    """One category in one picture: whether the peak, the middle of the picture, and the peak of the raw attention of
    one look hit a box of it. probability: of the phrase's match."""

    key: str
    category: str
    hit: bool
    centre: bool
    attention: bool
    probability: float


@dataclass(frozen=True, slots=True)
class GroundingEvaluation:
    """Shares of hits. seen_in: how many captions had to name a category, 0 where that was not asked; left_out: cases of
    categories that fewer do. seconds: for all, reading included."""

    model: str
    cases: tuple[Pointed, ...]
    windows: int
    seen_in: int
    left_out: int
    seconds: float

    @property
    def images(self) -> int:
        """Pictures that were pointed at."""
        return len({each.key for each in self.cases})

    @property
    def accuracy(self) -> float:
        """The share of hits."""
        return float(np.mean([each.hit for each in self.cases]))

    def above(self, baseline: Baseline) -> Difference:
        """By how much it beats a baseline, with the interval over draws of pictures."""
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for each in self.cases:
            row = sums[each.key]
            row[0], row[1], row[2] = row[0] + getattr(each, baseline), row[1] + each.hit, row[2] + 1
        first, second, counts = np.array(list(sums.values())).T
        return paired_difference(first.astype(np.float64), second.astype(np.float64), counts)

    @property
    def categories(self) -> tuple[tuple[str, int, float], ...]:
        """Name, cases and share of hits of each, the commonest first."""
        groups: dict[str, list[bool]] = defaultdict(list)
        for each in self.cases:
            groups[each.category].append(each.hit)
        rows = [(name, len(hits), float(np.mean(hits))) for name, hits in groups.items()]
        return tuple(sorted(rows, key=lambda row: (-row[1], row[0])))

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with every case."""
        values: dict[str, Any] = {"task": "grounding", "model": self.model, "accuracy": self.accuracy}
        values |= {name: self.above(name).to_dict() for name in BASELINES}
        values |= {"cases": len(self.cases), "images": self.images, "windows": self.windows}
        values |= {"seen_in": self.seen_in, "left_out": self.left_out, "seconds": self.seconds}
        if by_image:
            values["data"] = fingerprint([each.key for each in self.cases], [each.category for each in self.cases])
            values["pointed"] = [asdict(each) for each in self.cases]
        return values


def evaluate_grounding(
    blip: Blip,
    pictures: Iterable[Boxed],
    names: Counter[str] | None = None,
    at_least: int = 1,
    options: GroundOptions | None = None,
    progress: Progress | None = None,
) -> GroundingEvaluation:
    """Point at every category that a picture has boxes of.

    names: how many captions name what (`named_in`); categories that fewer than `at_least` do are left out. options: as
    of `Blip.ground`. Raises ModelError where the model cannot match, DataError that names a picture which cannot be
    read, or where no case is left.
    """
    start, every = time.perf_counter(), at_hand(pictures, "pictures with boxes")
    chosen = [(each, [name for name in each.boxes if names is None or names[name] >= at_least]) for each in every]
    total, left_out = sum(len(names) for _, names in chosen), sum(len(each.boxes) for each in every)
    if not total:
        raise DataError(f"none of {left_out} cases is of a category that {at_least} captions name: ask for fewer")
    grounder = Grounder(blip.part("match"), blip.part("embed"), options or GroundOptions())
    cases: list[Pointed] = []
    for found in _pointed(blip, grounder, [(each, names) for each, names in chosen if names]):
        cases += found
        tell(progress, "phrases", len(cases), total)
    return GroundingEvaluation(
        blip.part("match").name,
        tuple(cases),
        len(grounder.windows.places),
        0 if names is None else at_least,
        left_out - total,
        time.perf_counter() - start,
    )


def read_boxed(samples: Iterable[Sample]) -> Iterator[Boxed]:
    """Pictures with `objects` in their json: each a `category` and a `bbox` of x, y, width and height in pixels of
    `original_size` (width and height). Those without any are passed over. Raises DataError that names what is amiss."""
    for sample in samples:
        boxes: dict[str, tuple[BoxRow, ...]] = {}
        try:
            objects = sample.metadata["objects"]
            width, height = sample.metadata["original_size"] if objects else (1, 1)
            if not (width > 0 and height > 0):
                raise ValueError(f"original_size {[width, height]}")
            for each in objects:
                x, y, across, down = each["bbox"]
                row = (x / width, y / height, across / width, down / height)
                boxes[each["category"]] = (*boxes.get(each["category"], ()), row)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{sample.key}: its json has no "objects" with "category" and "bbox", and "original_size" ({error!r}): '
                "give shards with boxes"
            ) from error
        if boxes:
            yield Boxed(sample.key, sample.image_bytes, boxes)


def named_in(captions: Iterable[str], categories: Set[str]) -> Counter[str]:
    """How many captions name which category: as the noun of a noun phrase, in the singular or as it is written, or as
    that noun with the word before it, which then is not named alone: a stop sign is no `sign` where both are there."""
    counts: Counter[str] = Counter()
    for caption in captions:
        named: set[str] = set()
        for phrase in noun_phrases(caption):
            last = tokenise(phrase.text)[-2:]
            joined = " ".join(last)
            alone = {phrase.head, *(form for word in last[-1:] for form in (word, singular(word)))}
            named |= ({joined, singular(joined)} & categories) or (alone & categories)
        counts.update(named)
    return counts


def _pointed(blip: Blip, grounder: Grounder, asked: Sequence[tuple[Boxed, list[str]]]) -> Iterator[list[Pointed]]:
    clock, waiting = Clock(), iter(asked)
    parts = list(grounder.parts)
    size = max(1, min(part.pictures_a_call() for part in parts) // (1 + len(grounder.windows.places)))
    vision = [part.config.vision for part in parts]
    sources = (each.image_bytes for each, _ in asked)
    for loaded in read_batches(sources, size, vision, blip.limits, clock, windows=grounder.windows):
        batch = [each for _, each in zip(loaded, waiting, strict=False)]
        for picture, (boxed, _) in zip(loaded, batch, strict=True):
            if picture.error is not None:
                raise DataError(f"{boxed.key}: {picture.error}") from picture.error
        looks = grounder.looks(Encoded(loaded, parts, clock), [names for _, names in batch])
        yield [
            _case(boxed, name, grounder, look)
            for (boxed, names), found in zip(batch, looks, strict=True)
            for name, look in zip(names, found, strict=True)
        ]


def _case(boxed: Boxed, name: str, grounder: Grounder, look: Looks) -> Pointed:
    found, boxes, one = grounder.grounding(name, look, (1, 1)), boxed.boxes[name], (1, 1)
    return Pointed(
        boxed.key,
        name,
        hit=point_in_any(found.peak, boxes),
        centre=point_in_any((0.5, 0.5), boxes),
        attention=point_in_any(peak_of(stretched(look.attention[0], (CELLS, CELLS)), one), boxes),
        probability=found.probability,
    )
