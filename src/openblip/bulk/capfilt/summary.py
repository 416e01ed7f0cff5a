"""What became of one shard, in numbers, and the pairs that the contact sheet may show: small, however large the
shard."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openblip.bulk.capfilt.records import SOURCES, ScoredPicture, ScoredText
from openblip.bulk.capfilt.rule import Why
from openblip.bulk.capfilt.samples import WebSample

BIN = 0.05  # width of a histogram's bins; ITM has 20 of them from 0 to 1, ITC 40 from -1 to 1
BINS = {"itm": 20, "itc": 40}
LOWEST = {"itm": 0.0, "itc": -1.0}
SHOWN_ERRORS = 20
GROUPS = tuple(f"{source} {verdict}" for source in SOURCES for verdict in ("kept", "dropped"))


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and a text that the contact sheet may show. order: a number that is drawn from their names, so that the
    smallest ones are a fair sample; offset, size: where the picture lies in its shard."""

    order: str
    shard: str
    key: str
    member: str
    offset: int
    size: int
    text: str
    itm: float | None
    itc: float | None
    decision: Why


@dataclass(slots=True)
class Summary:
    """Counts of a shard, or of several.

    decision: what was carried out; tar_bytes: size of the written shard, 0 where nothing was kept. pictures: by what
    became of them (kept, no text kept, broken). texts: by source, then by decision. histograms: by source and score,
    how many texts were kept and dropped in each bin. errors: [shard, key, reason] of the first broken pictures.
    broken_off: by shard, why its tar could not be read to the end. pairs: by group, for the contact sheet.
    """

    decision: str
    tar_bytes: int = 0
    pictures: dict[str, int] = field(default_factory=lambda: {"kept": 0, "no_text_kept": 0, "broken": 0})
    texts: dict[str, dict[str, int]] = field(default_factory=lambda: {source: {} for source in SOURCES})
    histograms: dict[str, dict[str, dict[str, list[int]]]] = field(default_factory=lambda: _empty_histograms())
    errors: list[list[str]] = field(default_factory=list)
    broken_off: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, list[Pair]] = field(default_factory=lambda: {group: [] for group in GROUPS})

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Summary:
        """Of what `to_dict` gave. Raises TypeError or KeyError on anything else."""
        pairs = {group: [Pair(**pair) for pair in values["pairs"][group]] for group in GROUPS}
        return cls(**{**values, "pairs": pairs})

    def add(self, other: Summary, shown_pairs: int) -> None:
        """Count another shard in, after those that are in already."""
        self.tar_bytes += other.tar_bytes
        for name, count in other.pictures.items():
            self.pictures[name] += count
        for source in SOURCES:
            merged = Counter(self.texts[source]) + Counter(other.texts[source])
            self.texts[source] = dict(sorted(merged.items()))
            for score, kinds in other.histograms[source].items():
                for kind, counts in kinds.items():
                    own = self.histograms[source][score][kind]
                    own[:] = [before + more for before, more in zip(own, counts, strict=True)]
        self.errors = (self.errors + other.errors)[:SHOWN_ERRORS]
        self.broken_off |= other.broken_off
        for group in GROUPS:
            self.pairs[group] = first_pairs(self.pairs[group] + other.pairs[group], shown_pairs)


class SummaryWriter:
    """Adds up a shard, picture by picture."""

    def __init__(self, name: str, decision: str, shown_pairs: int) -> None:
        self.broken_off: str | None = None
        self._name, self._shown = name, shown_pairs
        self._summary = Summary(decision)

    def add(self, sample: WebSample, scored: ScoredPicture, verdicts: Sequence[Why]) -> None:
        """One picture and what became of its texts."""
        summary = self._summary
        if scored.error is not None:
            summary.pictures["broken"] += 1
            if len(summary.errors) < SHOWN_ERRORS:
                summary.errors.append([self._name, scored.key, scored.error])
            return
        summary.pictures["kept" if "kept" in verdicts else "no_text_kept"] += 1
        for place, (text, verdict) in enumerate(zip(scored.texts, verdicts, strict=True)):
            counts = summary.texts[text.source]
            counts[verdict] = counts.get(verdict, 0) + 1
            if verdict in ("kept", "itm", "itc"):
                self._count(text, verdict)
                self._offer(sample, place, text, verdict)

    def finish(self, tar_bytes: int) -> Summary:
        """The whole."""
        self._summary.tar_bytes = tar_bytes
        if self.broken_off:
            self._summary.broken_off = {self._name: self.broken_off}
        for group, pairs in self._summary.pairs.items():
            self._summary.pairs[group] = first_pairs(pairs, self._shown)
        self._summary.texts = {source: dict(sorted(counts.items())) for source, counts in self._summary.texts.items()}
        return self._summary

    def _count(self, text: ScoredText, verdict: Why) -> None:
        for score, bins in BINS.items():
            value = getattr(text, score)
            if value is not None:
                place = min(bins - 1, max(0, int((value - LOWEST[score]) / BIN)))
                kind = "kept" if verdict == "kept" else "dropped"
                self._summary.histograms[text.source][score][kind][place] += 1

    def _offer(self, sample: WebSample, place: int, text: ScoredText, verdict: Why) -> None:
        if not self._shown or sample.image is None:
            return
        image = sample.image
        order = hashlib.sha256(f"{self._name}\0{sample.key}\0{place}".encode("utf-8", "replace")).hexdigest()[:16]
        pairs = self._summary.pairs[f"{text.source} {'kept' if verdict == 'kept' else 'dropped'}"]
        pairs.append(
            Pair(
                order,
                self._name,
                sample.key,
                image.name,
                image.offset,
                image.size,
                text.text,
                text.itm,
                text.itc,
                verdict,
            )
        )
        if len(pairs) > 8 * self._shown:
            pairs[:] = first_pairs(pairs, self._shown)


def first_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first ones by their drawn order."""
    return sorted(pairs, key=lambda pair: pair.order)[:count]


def read_summary(path: Path) -> Summary | None:
    """A written summary; None where there is none, or none that can be read."""
    try:
        return Summary.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _empty_histograms() -> dict[str, dict[str, dict[str, list[int]]]]:
    return {
        source: {score: {kind: [0] * bins for kind in ("kept", "dropped")} for score, bins in BINS.items()}
        for source in SOURCES
    }
