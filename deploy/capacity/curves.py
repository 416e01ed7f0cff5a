"""What a task was measured to take: its batches, the work around them, its start. Knows JSON; `measure` fills it."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from openblip.errors import OptionError

_MEAN_OFF = 0.01  # shares are rounded


@dataclass(frozen=True)
class Curves:
    """Seconds of one core, where nothing else is said, on a machine all of whose cores are at work.

    threads: of the engine; batch_s: of a batch by its pictures, on the clock with that many threads, the mean; spread:
    what single batches of a size took beside that mean, from short to long, each as likely (the longest caption of a
    batch says how long it takes); none where all take the same. around_s: what the service does with a batch while the
    engine waits. read_s: decoding and resizing a picture. front_s: all else that a request takes of the task, cached_s:
    what one takes whose result is in the cache already, refused_s: one that is refused at once. alone_s: as
    front_s, of one that finds nothing else in hand; 0 where it is no other. outside_s: the client, the balancer and
    Redis, of each request. start_s: from the process's start until it is ready, on the clock.
    """

    model: str
    threads: int
    batch_s: dict[int, float]
    read_s: float
    front_s: float
    cached_s: float
    refused_s: float
    start_s: float
    alone_s: float = 0.0
    outside_s: float = 0.0
    around_s: float = 0.0
    spread: dict[int, tuple[float, ...]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = sorted(self.batch_s)
        if not sizes or sizes[0] != 1:
            raise OptionError(f"batch_s has the sizes {sizes}: measure a batch of one picture, and larger ones")
        if self.threads < 1:
            raise OptionError(f"threads={self.threads}: take 1 or more")
        times = {**{f"batch_s[{size}]": time for size, time in self.batch_s.items()},
                 "read_s": self.read_s, "front_s": self.front_s, "cached_s": self.cached_s,
                 "refused_s": self.refused_s, "start_s": self.start_s, "alone_s": self.alone_s,
                 "around_s": self.around_s, "outside_s": self.outside_s}  # fmt: skip
        for name, time in times.items():
            if not 0 <= time < float("inf") or (time == 0 and name.startswith("batch")):
                raise OptionError(f"{name}={time!r} is no time of work: measure it again")
        for size, shares in self.spread.items():
            if size not in self.batch_s or not shares or min(shares) <= 0 or abs(fmean(shares) - 1) > _MEAN_OFF:
                raise OptionError(f"spread[{size}]={shares!r}: give shares of the mean of a size that was measured")

    def work(self, pictures: float) -> float:
        """Core seconds of a batch, with what the service does with it."""
        return self.batch(pictures) * self.threads + self.around_s

    def batch(self, pictures: float) -> float:
        """Seconds of the engine for a batch of any size, a mean one too: on the line between two that were measured;
        beyond the largest, its time for each picture."""
        sizes = sorted(self.batch_s)
        if pictures >= sizes[-1]:
            return self.batch_s[sizes[-1]] * pictures / sizes[-1]
        place = bisect_left(sizes, pictures)
        if sizes[place] == pictures:
            return self.batch_s[sizes[place]]
        below, above = sizes[place - 1], sizes[place]
        share = (pictures - below) / (above - below)
        return self.batch_s[below] + share * (self.batch_s[above] - self.batch_s[below])

    def on_a_machine_of(self, pace: float) -> Curves:
        """The same where all work takes so many times as long: a virtual machine's speed sways."""
        names = ("read_s", "front_s", "cached_s", "refused_s", "alone_s", "around_s", "outside_s")
        batch_s = {size: seconds * pace for size, seconds in self.batch_s.items()}
        return replace(self, batch_s=batch_s, **{name: getattr(self, name) * pace for name in names})

    def drawn_work(self, pictures: int, random: Random) -> float:
        """As `work`, of one batch of this size, shorter or longer than the mean: as those of the measured size that is
        nearest in proportion."""
        if not self.spread:
            return self.work(pictures)
        nearest = min(self.spread, key=lambda size: max(size, pictures) / min(size, pictures))
        share = random.choice(self.spread[nearest])
        return self.batch(pictures) * share * self.threads + self.around_s

    def rate(self, cores: float, pictures: int) -> float:
        """Uncached pictures a second that so many cores can do at most, in batches of this size."""
        each_s = self.read_s + self.front_s + self.outside_s
        return cores / (each_s + self.work(pictures) / pictures)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Curves:
        """Raises OptionError where the file is none of ours."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            sizes = {int(size): time for size, time in fields["batch_s"].items()}
            spread = {int(size): tuple(shares) for size, shares in fields.get("spread", {}).items()}
            return cls(**{**fields, "batch_s": sizes, "spread": spread})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OptionError(
                f"{path} holds no curves ({error}): make it with python -m deploy.capacity measure"
            ) from None
