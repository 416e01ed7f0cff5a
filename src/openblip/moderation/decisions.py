"""What was found in a picture and its text, and what is done with it. Frozen results; knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from openblip.moderation.policy import Verdict, strictest
from openblip.outcomes import Outcome
from openblip.types import Answer, Box


@dataclass(frozen=True, slots=True)
class LabelFinding:
    """How far a picture shows what a label stands for.

    phrase: the one that counts: of those read with the picture the likeliest, else the most similar. similarity: its
    cosine with the picture (ITC). probability: that it describes the picture (ITM); None where the screening held all
    phrases back. screen, review, block: the thresholds of the policy. answers: to the questions of the policy; regions:
    boxes around what spoke for the phrase, the clearest first; both only where the label does not allow the picture.
    """

    label: str
    decision: Verdict
    phrase: str
    similarity: float
    probability: float | None
    screen: float
    review: float | None
    block: float | None
    answers: tuple[Answer, ...] = ()
    regions: tuple[Box, ...] = ()

    def reason(self) -> str:
        """In a line."""
        scores = f"{self.probability:.4f}" if self.probability is not None else "screened out"
        said = "".join(f", {answer.question} {answer.text} ({answer.probability:.2f})" for answer in self.answers)
        where = "".join(
            f" at {box.left:.0f},{box.top:.0f}-{box.right:.0f},{box.bottom:.0f}" for box in self.regions[:1]
        )
        return f"{self.label} {scores} ({self.phrase}{where}){said}"


@dataclass(frozen=True, slots=True)
class WordFinding:
    """Words of the policy in the text that comes with the picture. found: as the text has them, from character `start`
    to before `end`."""

    label: str
    decision: Verdict
    words: str
    found: str
    start: int
    end: int

    def reason(self) -> str:
        """In a line."""
        return f"{self.label} in the text ({' '.join(self.found.split())})"


@dataclass(frozen=True, slots=True)
class TextMatch:
    """How well the text that comes with a picture describes it (ITM, ITC). threshold: below it they do not match."""

    decision: Verdict
    probability: float
    similarity: float
    threshold: float

    @property
    def matches(self) -> bool:
        """Whether they do."""
        return self.probability >= self.threshold

    def reason(self) -> str:
        """In a line."""
        return f"text {'matches' if self.matches else 'does not match'} {self.probability:.4f}"


Finding = LabelFinding | WordFinding | TextMatch


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with a picture: the strictest of what its findings ask for.

    labels: one a label that has phrases, in the order of the policy, also those that allow it. words: those found in
    its text. text_match: None where there was no text, or the policy does not ask. model: which gave the scores.
    """

    decision: Verdict
    labels: tuple[LabelFinding, ...]
    words: tuple[WordFinding, ...]
    text_match: TextMatch | None
    model: str

    @classmethod
    def of(
        cls, labels: tuple[LabelFinding, ...], words: tuple[WordFinding, ...], match: TextMatch | None, model: str
    ) -> Decision:
        """The one that these findings lead to."""
        every: tuple[Finding, ...] = (*labels, *words, *((match,) if match is not None else ()))
        return cls(strictest(each.decision for each in every), labels, words, match, model)

    @property
    def reasons(self) -> Iterator[Finding]:
        """The findings that ask for more than to allow it."""
        every: tuple[Finding, ...] = (*self.labels, *self.words, *((self.text_match,) if self.text_match else ()))
        return (each for each in every if each.decision != "allow")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Moderated(Outcome):
    """What became of one of many pictures. text: what came with it."""

    text: str = ""
    decision: Decision | None = None
