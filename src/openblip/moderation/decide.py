"""Pictures, their texts and a policy -> decisions. Each picture is encoded once by each checkpoint that is asked. Knows
how scores become findings. Does not know files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, tee
from typing import TYPE_CHECKING

import numpy as np

from openblip.engine import Floats
from openblip.errors import InputError
from openblip.image import ImageSource
from openblip.moderation.decisions import Decision, LabelFinding, Moderated, TextMatch, WordFinding
from openblip.moderation.policy import LabelRule, Policy
from openblip.moderation.words import WordList
from openblip.pictures import Clock, read_batches
from openblip.tasks.answers import Answerer
from openblip.tasks.encoded import Encoded
from openblip.tasks.grounding import Grounder
from openblip.tasks.matches import Matcher
from openblip.tasks.zero_shot import ZeroShot
from openblip.types import Answer, GenerateOptions, GroundOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip


_REGIONS = GroundOptions(windows=False)
"""Of the picture as it is encoded anyway; windows of it would be read and encoded for pictures that are allowed too."""


class Moderator:
    """Applies one policy: `Moderator(Blip.load("mini"), read_policy("policy.toml")).decide("photo.jpg", "its text")`.

    Raises ModelError where the model cannot do what the policy asks: match and embed, and answer where it has
    questions.
    """

    def __init__(self, blip: Blip, policy: Policy) -> None:
        self.policy, self._limits = policy, blip.limits
        self._matching, self._embedding = blip.part("match"), blip.part("embed")
        self._seen = [rule for rule in policy.labels if rule.phrases]
        self._phrases = [phrase for rule in self._seen for phrase in rule.phrases]
        self._owner = np.repeat(np.arange(len(self._seen)), [len(rule.phrases) for rule in self._seen])
        self._screens = np.array([self._seen[owner].screen for owner in self._owner], np.float32)
        parts = [self._matching, self._embedding]
        self._zero_shot = (
            ZeroShot(self._matching, self._embedding, self._phrases, policy.templates, Clock())
            if self._phrases
            else None
        )
        self._answerer: Answerer | None = None
        if any(rule.questions for rule in policy.labels):
            parts.append(blip.part("answer"))
            self._answerer = Answerer(parts[-1], GenerateOptions.for_answers(), None)
        self._grounder = Grounder(self._matching, self._embedding, _REGIONS) if policy.regions else None
        self._parts = tuple(dict.fromkeys(parts))
        self._words = [(rule, WordList(rule.words)) for rule in policy.labels if rule.words]

    def decide(self, image: ImageSource, text: str = "") -> Decision:
        """About one picture and the text that comes with it, if any. Raises ImageError where it cannot be used."""
        [moderated] = self.decide_each([(image, text)])
        if moderated.error is not None:
            raise moderated.error
        if moderated.decision is None:
            raise InputError("nothing was decided about the picture: give one that can be read")
        return moderated.decision

    def decide_each(self, pictures: Iterable[tuple[ImageSource, str]]) -> Iterator[Moderated]:
        """About any number of pictures, each with its text ("": none), in order, batch by batch; one that cannot be
        used comes out with its error, and the rest goes on."""
        first, second = tee(pictures)  # which keeps no more than the pictures that are read ahead
        texts = (text for _, text in second)
        size, clock = min(part.pictures_a_call() for part in self._parts), Clock()
        inputs = [part.config.vision for part in self._parts]
        for batch in read_batches((image for image, _ in first), size, inputs, self._limits, clock):
            own = list(islice(texts, len(batch)))
            usable = [place for place, loaded in enumerate(batch) if loaded.error is None]
            encoded = Encoded([batch[place] for place in usable], self._parts, clock)
            found = iter(self._decisions(encoded, [own[place] for place in usable]) if usable else ())
            for loaded, text in zip(batch, own, strict=True):
                decision = None if loaded.error else next(found)
                yield Moderated(loaded.source, error=loaded.error, text=text, decision=decision)

    def _decisions(self, encoded: Encoded, texts: Sequence[str]) -> list[Decision]:
        """One a picture."""
        labels = self._located(encoded, self._explained(encoded, self._label_findings(encoded)))
        matches = self._text_matches(encoded, texts)
        return [
            Decision.of(tuple(row), tuple(self._found_words(text)), match, self._matching.name)
            for row, text, match in zip(labels, texts, matches, strict=True)
        ]

    def _label_findings(self, encoded: Encoded) -> list[list[LabelFinding]]:
        """[pictures][labels with phrases]."""
        if self._zero_shot is None:
            return [[] for _ in range(len(encoded))]
        similarities = self._zero_shot.similarities(encoded)
        pictures, phrases = np.nonzero(similarities >= self._screens)
        probabilities = np.full(similarities.shape, np.nan, np.float32)
        if len(pictures):
            probabilities[pictures, phrases] = self._zero_shot.probabilities(encoded, pictures, phrases)
        return [
            [self._label_finding(owner, rule, *rows) for owner, rule in enumerate(self._seen)]
            for rows in zip(similarities, probabilities, strict=True)
        ]

    def _label_finding(self, owner: int, rule: LabelRule, similarities: Floats, probabilities: Floats) -> LabelFinding:
        """Of one picture. similarities, probabilities: [phrases], the latter NaN where nobody asked."""
        own = np.flatnonzero(self._owner == owner)
        asked = own[~np.isnan(probabilities[own])]
        best = asked[np.argmax(probabilities[asked])] if len(asked) else own[np.argmax(similarities[own])]
        probability = float(probabilities[best]) if len(asked) else None
        return LabelFinding(
            label=rule.name,
            decision=rule.verdict(probability),
            phrase=self._phrases[best],
            similarity=float(similarities[best]),
            probability=probability,
            screen=rule.screen,
            review=rule.review,
            block=rule.block,
        )

    def _explained(self, encoded: Encoded, findings: list[list[LabelFinding]]) -> list[list[LabelFinding]]:
        """With answers to the questions of the labels that do not allow the picture: all are asked together."""
        asked = [
            (picture, place, question)
            for picture, row in enumerate(findings)
            for place, finding in enumerate(row)
            if finding.decision != "allow"
            for question in self._seen[place].questions
        ]
        if self._answerer is None or not asked:
            return findings
        pictures = np.array([picture for picture, _, _ in asked], np.int64)
        answers: dict[tuple[int, int], list[Answer]] = {}
        found = self._answerer.answers(encoded, pictures, [question for _, _, question in asked])
        for (picture, place, _), answer in zip(asked, found, strict=True):
            answers.setdefault((picture, place), []).append(answer)
        return [
            [replace(finding, answers=tuple(answers.get((picture, place), ()))) for place, finding in enumerate(row)]
            for picture, row in enumerate(findings)
        ]

    def _located(self, encoded: Encoded, findings: list[list[LabelFinding]]) -> list[list[LabelFinding]]:
        """With the regions behind the labels that do not allow the picture."""
        phrases = [[each.phrase for each in row if each.decision != "allow"] for row in findings]
        places = [place for place, row in enumerate(phrases) if row]
        if self._grounder is None or not places:
            return findings
        found = self._grounder.groundings(encoded.take(places), [phrases[place] for place in places])
        boxes = {(place, each.phrase): each.boxes for place, row in zip(places, found, strict=True) for each in row}
        return [
            [
                finding if finding.decision == "allow" else replace(finding, regions=boxes[place, finding.phrase])
                for finding in row
            ]
            for place, row in enumerate(findings)
        ]

    def _text_matches(self, encoded: Encoded, texts: Sequence[str]) -> list[TextMatch | None]:
        """One a picture; None where it has no text, or nobody asks."""
        rule, found = self.policy.text, list[TextMatch | None]([None] * len(texts))
        places = [place for place, text in enumerate(texts) if text.strip()]
        if rule.match is None or not places:
            return found
        own = [texts[place] for place in places]
        matcher = Matcher(self._matching, self._embedding, own, encoded.clock)
        for place, match in zip(places, matcher.matches(encoded, np.array(places), np.arange(len(own))), strict=True):
            verdict = "allow" if match.probability >= rule.match else rule.on_mismatch
            found[place] = TextMatch(verdict, match.probability, match.similarity, rule.match)
        return found

    def _found_words(self, text: str) -> Iterator[WordFinding]:
        for rule, words in self._words:
            for found in words.find(text):
                shown = text[found.start : found.end]
                yield WordFinding(rule.name, rule.on_words, found.words, shown, found.start, found.end)
