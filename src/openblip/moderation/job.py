"""Decisions about any number of pictures, as a run over many takes them. Knows policies and records; knows no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING, ClassVar

from openblip.bulk.items import Item
from openblip.bulk.jobs import Job, Kind, Record, pictures_of
from openblip.config import Task
from openblip.errors import InputError
from openblip.moderation.decide import Moderator
from openblip.moderation.decisions import Moderated
from openblip.moderation.policy import Policy

if TYPE_CHECKING:
    from openblip.outcomes import Outcome
    from openblip.pipeline import Blip


@dataclass(frozen=True, slots=True)
class ModerateJob(Job):
    """A policy applied to every picture. text: that comes with those that have none of their own."""

    policy: Policy
    text: str = ""
    name: ClassVar[str] = "moderate"
    tasks: ClassVar[tuple[Task, ...]] = ("match", "embed")
    key: ClassVar[str] = "labels"
    columns: ClassVar[dict[str, tuple[str, Kind]]] = {
        "decision": ("decision", "text"), "reasons": ("reasons", "text"), "model": ("model", "text"),
    }  # fmt: skip

    def needed(self) -> tuple[Task, ...]:
        """Answers too, where the policy asks questions."""
        return (*self.tasks, "answer") if any(rule.questions for rule in self.policy.labels) else self.tasks

    def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
        """By `Moderator.decide_each`."""
        first, second = tee(items)  # which keeps no more than what is read ahead
        texts = ("\n".join(item.own) or self.text for item in second)
        return Moderator(blip, self.policy).decide_each(zip(pictures_of(first), texts, strict=True))

    def found(self, outcome: Outcome) -> Record:
        """The text, the decision, why, and every finding."""
        if not isinstance(outcome, Moderated) or outcome.decision is None:
            raise InputError("nothing was decided about the picture: give one that can be read")
        reasons = [finding.reason() for finding in outcome.decision.reasons]
        return {"text": outcome.text, "reasons": reasons, **outcome.decision.to_dict()}

    def entries(self, record: Record) -> list[Record]:
        """The record itself is the one."""
        return [{**record, "reasons": "; ".join(record["reasons"])}]

    def lines(self, record: Record) -> Iterator[str]:
        """The decision and why."""
        for entry in self.entries(record):
            yield f"{entry['decision']}{' ' if entry['reasons'] else ''}{entry['reasons']}"
