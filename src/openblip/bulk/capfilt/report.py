"""All shards' summaries -> report.json and what is printed. The same run gives the same report, byte by byte, however
often it was interrupted: there is no time and no path in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openblip.bulk.capfilt.records import SOURCES
from openblip.bulk.capfilt.rule import Rule
from openblip.bulk.capfilt.summary import BIN, BINS, LOWEST, Summary


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """What is told of a single shard: its pictures by what became of them, its texts by source and decision."""

    pictures: dict[str, int]
    texts: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run.

    models: captioner and filter as the manifest has them. decision: what was asked; rule: the thresholds that it came
    to. shards: each one's counts by name; whole: all of them together. shown: how many pairs of a kind the contact
    sheet has at most.
    """

    models: dict[str, Any]
    scoring: dict[str, Any]
    decision: dict[str, Any]
    rule: Rule
    shards: dict[str, ShardCounts]
    whole: Summary
    shown: int

    def to_dict(self) -> dict[str, Any]:
        """What report.json holds."""
        whole = self.whole
        return {
            "models": self.models,
            "scoring": self.scoring,
            "decision": self.decision,
            "thresholds": {"itm": self.rule.itm, "itc": self.rule.itc},
            "pictures": {"all": sum(whole.pictures.values()), **whole.pictures},
            "texts": {source: _accepted(whole.texts[source]) for source in SOURCES},
            "histograms": {
                "bins": {score: {"from": LOWEST[score], "width": BIN, "count": BINS[score]} for score in BINS},
                **whole.histograms,
            },
            "shards": {
                name: {
                    "pictures": counts.pictures,
                    "texts": {source: _accepted(counts.texts[source]) for source in SOURCES},
                }
                for name, counts in self.shards.items()
            },
            "broken_pictures": whole.errors,
            "broken_shards": whole.broken_off,
        }

    def to_json(self) -> bytes:
        """The file."""
        return json.dumps(self.to_dict(), indent=2).encode() + b"\n"

    @property
    def picture_line(self) -> str:
        """What became of the pictures."""
        counts = self.whole.pictures
        return (
            f"{sum(counts.values()):,} pictures: {counts['kept']:,} kept, {counts['no_text_kept']:,} without a text "
            f"that was kept, {counts['broken']:,} broken"
        )

    @property
    def lines(self) -> list[str]:
        """What is said at the end of a run."""
        said = [self.picture_line]
        for source in SOURCES:
            accepted = _accepted(self.whole.texts[source])
            if accepted["all"]:
                said.append(
                    f"{source} texts: {accepted['kept']:,} of {accepted['all']:,} kept ({accepted['rate']:.1%})"
                )
        thresholds = [f"{name.upper()} at least {value:.4g}" for name, value in rule_items(self.rule)]
        said.append(f"threshold: {' and '.join(thresholds) or 'none'}")
        said += [f"{shard}: {key}: {reason}" for shard, key, reason in self.whole.errors]
        said += [f"{shard} breaks off: {reason}" for shard, reason in self.whole.broken_off.items()]
        return said


def rule_items(rule: Rule) -> list[tuple[str, float]]:
    """The thresholds that there are, by score."""
    return [(name, value) for name, value in (("itm", rule.itm), ("itc", rule.itc)) if value is not None]


def _accepted(counts: dict[str, int]) -> dict[str, Any]:
    everything, kept = sum(counts.values()), counts.get("kept", 0)
    dropped = {verdict: count for verdict, count in counts.items() if verdict != "kept"}
    return {"all": everything, "kept": kept, "rate": kept / everything if everything else 0.0, "dropped": dropped}
