"""Tags of encoded pictures: which of many labels fit. Knows neither where labels come from nor how a fit is
computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openblip.engine import Floats, Ints
from openblip.labels import COUNTED, built_in_labels, built_in_log_odds, checked_labels
from openblip.parts import Part
from openblip.pictures import Clock
from openblip.tasks.encoded import Encoded
from openblip.tasks.zero_shot import ZeroShot
from openblip.types import Tag, TagOptions

_SURE = 1e-7


def tagger(
    matching: Part, embedding: Part, labels: Sequence[str] | None, options: TagOptions | None, clock: Clock
) -> Tagger:
    """For these labels, or the built-in ones, which know how common they are. Raises OptionError on an empty label."""
    if labels is None:
        return Tagger(matching, embedding, built_in_labels(), options or TagOptions(), clock, built_in_log_odds())
    return Tagger(matching, embedding, checked_labels(labels), options or TagOptions(), clock)


class Tagger:
    """Chooses among the same labels, under the same options, for every picture.

    log_odds: [labels], of each being there before the picture is seen; None: nothing is known of it.
    """

    def __init__(
        self,
        matching: Part,
        embedding: Part,
        labels: Sequence[str],
        options: TagOptions,
        clock: Clock,
        log_odds: Floats | None = None,
    ) -> None:
        self._labels, self._options, self._name, self._log_odds = labels, options, matching.name, log_odds
        self._zero_shot = ZeroShot(matching, embedding, labels, options.templates, clock)
        self.parts = self._zero_shot.parts

    def tags(self, encoded: Encoded) -> list[tuple[Tag, ...]]:
        """Those of each picture, the best first."""
        options, similarities = self._options, self._zero_shot.similarities(encoded)
        likely = similarities if self._log_odds is None else COUNTED.sharpness * similarities + self._log_odds
        count = min(options.screen or options.top, len(self._labels))
        chosen = np.argsort(-likely, axis=1, kind="stable")[:, :count]
        if not options.screen:
            return [self._tags(*rows, None) for rows in zip(similarities, chosen, strict=True)]
        probabilities = self._probabilities(encoded, chosen)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : options.top]
        chosen = np.take_along_axis(chosen, order, axis=1)
        probabilities = np.take_along_axis(probabilities, order, axis=1)
        return [self._tags(*rows) for rows in zip(similarities, chosen, probabilities, strict=True)]

    def _probabilities(self, encoded: Encoded, chosen: Ints) -> Floats:
        """Of the chosen labels of each picture, [pictures, chosen]."""
        pictures = np.repeat(np.arange(len(encoded)), chosen.shape[1])
        found = self._zero_shot.probabilities(encoded, pictures, chosen.reshape(-1)).reshape(chosen.shape)
        if self._log_odds is None:
            return found
        sure = found.astype(np.float64).clip(_SURE, 1 - _SURE)
        logits = COUNTED.slope * np.log(sure / (1 - sure)) + COUNTED.offset + self._log_odds[chosen]
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)

    def _tags(self, similarities: Floats, chosen: Ints, probabilities: Floats | None) -> tuple[Tag, ...]:
        """Of one picture. similarities: [labels]; chosen, probabilities: [chosen]."""
        given = [None] * len(chosen) if probabilities is None else probabilities.tolist()
        return tuple(
            Tag(self._labels[label], probability, float(similarities[label]), self._name)
            for label, probability in zip(chosen, given, strict=True)
            if probability is None or probability >= self._options.threshold
        )
