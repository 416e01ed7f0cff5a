"""Where in encoded pictures the words of a phrase are: what matching looks at, and GradCAM, in the picture and in
windows of it.

Knows parts, encoded pictures and `heatmaps`. Does not know how pictures are read, nor what is drawn of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openblip.config import ModelConfig
from openblip.engine import Floats, ImageStates, Ints
from openblip.language.phrases import noun_phrases
from openblip.parts import Part
from openblip.pictures import WHOLE, Windows
from openblip.regions import boxes_of, peak_of
from openblip.tasks.encoded import Encoded
from openblip.tasks.heatmaps import TILES, attended, combined, in_steps, spoke_for_it, to_one
from openblip.tasks.matches import text_vectors
from openblip.types import Caption, Grounding, GroundOptions

_COARSE = 12
"""Image tokens a side below which windows are looked at by default: `mini` has 7, a ViT-B/16 at 384 pixels 24."""
_ROWS = 64
"""Views and phrases in one call of the engine: their maps over the heads and tokens of a large model are 2 MB a row."""
_NOWHERE = frozenset("picture photo photograph image view shot close-up closeup day daytime night background".split())
"""Nouns of captions that name no part of the picture."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What the views of a picture show of a phrase; the first view is the whole picture.

    logits: of matching, [views, 2]; similarities: [views]; attention, cam: [views, side, side], where matching looked,
    and what of that spoke for a match.
    """

    logits: Floats
    similarities: Floats
    attention: Floats
    cam: Floats

    @property
    def heat(self) -> Floats:
        """[views, side, side]: the mean of both, the hottest of each 1."""
        return to_one(self.cam) + to_one(self.attention)


class Grounder:
    """Looks for phrases. matching: gives the probability and the heat; embedding: the similarity, by which windows are
    weighed, and may be the same checkpoint. layer: of the text transformer, None for the default of the model."""

    def __init__(self, matching: Part, embedding: Part, options: GroundOptions, layer: int | None = None) -> None:
        self._matching, self._embedding, self._options = matching, embedding, options
        self._layer = default_layer(matching.config) if layer is None else layer
        self.windows = windows_for(matching.config, options)
        self.parts = (matching, embedding)

    def groundings(self, encoded: Encoded, phrases: Sequence[Sequence[str]]) -> list[tuple[Grounding, ...]]:
        """phrases: of each picture its own. Raises TextError where one is empty."""
        looks = self.looks(encoded, phrases)
        return [
            tuple(self.grounding(text, look, size) for text, look in zip(texts, found, strict=True))
            for texts, found, size in zip(phrases, looks, encoded.full_sizes, strict=True)
        ]

    def looks(self, encoded: Encoded, phrases: Sequence[Sequence[str]]) -> list[list[Looks]]:
        """What every view of each picture shows of each of its phrases."""
        pictures, each = len(encoded), len(self.windows.places)
        pairs = [(picture, text) for picture, texts in enumerate(phrases) for text in texts]
        if not pairs:
            return [[] for _ in phrases]
        states, vectors = encoded.states(self._matching), encoded.vectors(self._embedding)
        if each:
            states = states.join([encoded.windows(self._matching)])
            windows = self._embedding.engine.embed_images(encoded.windows(self._embedding))
            vectors = np.concatenate([vectors, windows])
        views = np.array([view_of(picture, pictures, each) for picture, _ in pairs])  # [pairs, views]
        texts = list(dict.fromkeys(text for _, text in pairs))
        text = np.array([texts.index(text) for _, text in pairs])
        with encoded.clock.measure("search_s"):
            similarities = np.einsum("pvw,pw->pv", vectors[views], text_vectors(self._embedding, texts)[text])
            step = max(1, _ROWS // views.shape[1])
            starts = range(0, len(pairs), step)
            maps = [self._relevance(states, views[n : n + step], texts, text[n : n + step]) for n in starts]
        logits, attention, cam = (np.concatenate(each) for each in zip(*maps, strict=True))
        found = iter(map(Looks, logits, similarities, attention, cam))
        return [[next(found) for _ in texts] for texts in phrases]

    def _relevance(
        self, states: ImageStates, views: Ints, texts: Sequence[str], text: Ints
    ) -> tuple[Floats, Floats, Floats]:
        """views: [pairs, views]; text: [pairs], which of the texts. Logits [pairs, views, 2], and attention and cam
        [pairs, views, side, side]."""
        rows = self._matching.tokenizer.encode_grounded(texts, self._matching.config.text.max_positions)
        chosen, count = np.repeat(text, views.shape[1]), views.shape
        tokens, lengths = rows.tokens[chosen], rows.lengths[chosen]
        found = self._matching.engine.relevance(states, views.ravel(), tokens, lengths, self._layer)
        side = self._matching.config.vision.grid
        attention = attended(found.attention).reshape(*count, side, side)
        return found.logits.reshape(*count, 2), attention, spoke_for_it(found.cam).reshape(*count, side, side)

    def grounding(self, text: str, look: Looks, size: tuple[int, int]) -> Grounding:
        """What the looks at a picture of this full size come to."""
        heat = combined(look.heat, look.similarities, self.windows.places)
        heatmap = in_steps(heat)
        return Grounding(
            phrase=text,
            probability=float(np.exp(-np.logaddexp(0.0, look.logits[0, 0] - look.logits[0, 1]))),
            similarity=float(look.similarities[0]),
            peak=peak_of(heat, size),
            boxes=boxes_of(heatmap, size, self._options.threshold),
            size=size,
            heatmap=heatmap,
            model=self._matching.name,
        )


def view_of(picture: int, pictures: int, windows: int) -> list[int]:
    """Where among all views, the whole pictures and then the windows of each, those of one picture are."""
    first = pictures + picture * windows
    return [picture, *range(first, first + windows)]


def windows_for(config: ModelConfig, options: GroundOptions) -> Windows:
    """What is looked at besides the whole picture."""
    wanted = config.vision.grid < _COARSE if options.windows is None else options.windows
    return TILES if wanted else WHOLE


def default_layer(config: ModelConfig) -> int:
    """Of the text transformer: the last, which the pointing game prefers with `mini`; of a BERT of twelve layers the
    one that BLIP's authors show."""
    return 7 if config.text.layers == 12 else -1


def phrases_of(captions: Sequence[Caption]) -> list[str]:
    """The noun phrases of the first caption that can be somewhere in the picture, each once."""
    found = [phrase for caption in captions[:1] for phrase in noun_phrases(caption.text)]
    return list(dict.fromkeys(phrase.text for phrase in found if phrase.head not in _NOWHERE))
