"""Which of a picture's texts are kept, and the threshold that keeps a given share of all of them. Plain functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openblip.bulk.capfilt.records import ScoredPicture, ScoredText
from openblip.bulk.capfilt.settings import Decision, ScoreName
from openblip.text import clean_caption

Why = Literal["kept", "empty", "duplicate", "itm", "itc"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The thresholds that are in force: least ITM probability and ITC cosine; None asks nothing."""

    itm: float | None = None
    itc: float | None = None

    def judge(self, text: ScoredText) -> Why:
        """What becomes of one text, looked at alone."""
        if not clean_caption(text.text):
            return "empty"
        # Written so that a score that is no number is dropped.
        if self.itm is not None and not (text.itm is not None and text.itm >= self.itm):
            return "itm"
        if self.itc is not None and not (text.itc is not None and text.itc >= self.itc):
            return "itc"
        return "kept"


def judge_all(texts: Sequence[ScoredText], rule: Rule) -> list[Why]:
    """What becomes of each text of a picture; of texts that clean_caption makes equal the first is kept alone."""
    verdicts: list[Why] = []
    seen: set[str] = set()
    for text in texts:
        verdict, cleaned = rule.judge(text), clean_caption(text.text)
        verdicts.append("duplicate" if verdict == "kept" and cleaned in seen else verdict)
        seen.add(cleaned)
    return verdicts


def known_rule(decision: Decision) -> Rule | None:
    """The rule where it follows from the settings alone; None where it takes the scores of all shards."""
    return Rule(decision.itm, decision.itc) if decision.keep_fraction is None else None


def fraction_rule(pictures: Iterable[ScoredPicture], fraction: float, by: ScoreName) -> Rule:
    """The rule that keeps the best fraction of all texts, to the nearest whole text and at least one. Empty texts and
    duplicates do not count. Raises nothing: without texts it keeps all of them."""
    scores = np.fromiter(
        (
            value
            for picture in pictures
            for text, verdict in zip(picture.texts, judge_all(picture.texts, Rule()), strict=True)
            if verdict == "kept" and (value := getattr(text, by)) is not None
        ),
        np.float64,
    )
    if not scores.size:
        return Rule()
    kept = min(scores.size, max(1, round(fraction * scores.size)))
    threshold = float(np.partition(scores, scores.size - kept)[scores.size - kept])
    return Rule(itm=threshold) if by == "itm" else Rule(itc=threshold)
