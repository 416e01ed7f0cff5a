"""Maps of the views of a picture -> one heatmap of the picture. Knows arrays alone.

A view is the whole picture or a window of it, and its map [side, side] covers it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openblip.engine import Floats
from openblip.pictures import Place, Windows
from openblip.regions import stretched

CELLS = 56
"""Of a heatmap, a side: eight times the 7 x 7 of `mini`."""
_TEMPERATURE = 0.2
"""Of the softmax over the similarities of the windows of one size. Of 0.05 to 0.3 and none, 0.15 and 0.2 were best."""
_STEPS = 255

TILES = Windows(
    tuple((x / n, y / n, (x + 1) / n, (y + 1) / n) for n in (2, 3) for y in range(n) for x in range(n)), scale=1.5
)
"""The quarters and the ninths of the picture. Read for 1.5 times the model's input, a picture is decoded to at least
three times that, so that a ninth has all the pixels that the model takes."""


def attended(attention: Floats) -> Floats:
    """attention: [rows, heads, length, image tokens]. Where the first text token, of which the match is told, looked:
    the mean of the heads, [rows, image tokens without [CLS]]."""
    found: Floats = attention[:, :, 0, 1:].mean(axis=1)
    return found


def spoke_for_it(cam: Floats) -> Floats:
    """cam: [rows, heads, length, image tokens]. The sum over heads and text tokens, [rows, image tokens without
    [CLS]]."""
    found: Floats = cam[..., 1:].sum(axis=(1, 2))
    return found


def combined(maps: Floats, similarities: Floats, places: Sequence[Place]) -> Floats:
    """One heatmap, 1 at its hottest: the whole picture's and one of the windows of each size, each compressed by a
    square root so that none outshouts the others.

    maps: [views, side, side], the whole picture first, then the windows at `places`; similarities: of the views with
    the phrase, [views], by which the windows of one size are weighed.
    """
    heat = np.sqrt(to_one(stretched(maps[0], (CELLS, CELLS))))
    for size in dict.fromkeys(_size(place) for place in places):
        ours = [view for view, place in enumerate(places, start=1) if _size(place) == size]
        heat = heat + np.sqrt(to_one(_tiled(maps[ours], similarities[ours], [places[view - 1] for view in ours])))
    return to_one(heat)


def to_one(heat: Floats) -> Floats:
    """The hottest becomes 1; without any heat it is all 1: no place is likelier than another."""
    highest = heat.max()
    result: Floats = heat / highest if highest > 0 else np.ones_like(heat)
    return result


def in_steps(heat: Floats) -> Floats:
    """Rounded to what a byte holds, so that a heatmap is the same after it was sent as a picture."""
    return np.rint(heat * _STEPS).astype(np.float32) / np.float32(_STEPS)


def _tiled(maps: Floats, similarities: Floats, places: Sequence[Place]) -> Floats:
    weights = np.exp((similarities - similarities.max()) / _TEMPERATURE)
    canvas = np.zeros((CELLS, CELLS), np.float32)
    for weight, one, place in zip(weights, maps, places, strict=True):
        left, top, right, bottom = (round(edge * CELLS) for edge in place)
        canvas[top:bottom, left:right] += weight * stretched(one, (right - left, bottom - top))
    return canvas


def _size(place: Place) -> float:
    return round(place[2] - place[0], 6)
