"""Heatmaps of a picture -> the point, the boxes and the mask that they show, and a picture of them.

Knows arrays, boxes and Pillow. Does not know models, words or files. A heatmap is [rows, columns] in [0, 1] and covers
the whole picture, whatever the picture's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from openblip.types import Box, Grounding, GroundOptions

Heatmap = NDArray[np.float32]
Size = tuple[int, int]
"""Width and height in pixels."""

DEFAULT_THRESHOLD = GroundOptions().threshold

_SMALLEST = 0.1
"""Of the largest region's cells: regions below are specks."""
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)
"""From cold to hot, as matplotlib's `inferno` runs: lightness grows with the value, in whoever's eyes."""
_OPACITY = 0.75
_MARK = "#00e5ff"


def peak_of(heatmap: Heatmap, size: Size) -> tuple[float, float]:
    """The hottest point (x, y) in pixels of the picture: the middle of the hottest cell. Of several as hot it is the
    one nearest to the middle of them all."""
    hottest = np.argwhere(heatmap == heatmap.max())
    row, column = hottest[np.square(hottest - hottest.mean(axis=0)).sum(axis=1).argmin()]
    height, width = heatmap.shape
    return float((column + 0.5) / width * size[0]), float((row + 0.5) / height * size[1])


def boxes_of(heatmap: Heatmap, size: Size, threshold: float) -> tuple[Box, ...]:
    """Around each connected region that is at least as hot as `threshold`, in pixels, the hottest first; specks beside
    a larger region are left out. Score: the highest heat in it."""
    height, width = heatmap.shape
    found = [(len(rows), rows, columns) for rows, columns in _connected(heatmap >= threshold)]
    largest = max((cells for cells, _, _ in found), default=0)
    boxes = [
        Box(
            left=float(columns.min() / width * size[0]),
            top=float(rows.min() / height * size[1]),
            right=float((columns.max() + 1) / width * size[0]),
            bottom=float((rows.max() + 1) / height * size[1]),
            score=float(heatmap[rows, columns].max()),
        )
        for cells, rows, columns in found
        if cells >= _SMALLEST * largest or heatmap[rows, columns].max() == heatmap.max()
    ]
    return tuple(sorted(boxes, key=lambda box: -box.score))


def mask_of(grounding: Grounding, threshold: float = DEFAULT_THRESHOLD) -> NDArray[np.bool_]:
    """Which pixels [height, width] of the picture, as it is shown, are at least as hot as `threshold`."""
    return stretched(grounding.heatmap, grounding.size) >= threshold


def stretched(heatmap: Heatmap, size: Size) -> Heatmap:
    """A heatmap with a value a pixel, [height, width], linear between the middles of its cells."""
    image = Image.fromarray(np.ascontiguousarray(heatmap, np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def overlay(image: Image.Image, grounding: Grounding, longest: int = 2048) -> Image.Image:
    """The picture in grey under the heat in colours, with the boxes and the hottest point drawn in.

    image: the picture in RGB as it is shown, in any size. longest: side of what is returned, in pixels, at most.
    """
    shrink = min(1.0, longest / max(image.size))
    grey_image = image.convert("L")
    if shrink < 1:
        grey_image = grey_image.resize((max(1, round(image.width * shrink)), max(1, round(image.height * shrink))))
    heat = stretched(grounding.heatmap, grey_image.size)  # [height, width]
    opacity = (_OPACITY * heat)[..., None]
    mixed = np.asarray(grey_image, np.float32)[..., None] * (1 - opacity) + _colours(heat) * opacity
    drawn = Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
    _draw_marks(drawn, grounding)
    return drawn


def _draw_marks(drawn: Image.Image, grounding: Grounding) -> None:
    pen, line = ImageDraw.Draw(drawn), max(2, round(max(drawn.size) / 250))
    across, down = drawn.width / grounding.size[0], drawn.height / grounding.size[1]
    for box in grounding.boxes:
        left, top = box.left * across, box.top * down
        corners = (left, top, max(left, box.right * across - 1), max(top, box.bottom * down - 1))
        pen.rectangle(corners, outline=_MARK, width=line)
    x, y, arm = grounding.peak[0] * across, grounding.peak[1] * down, 4 * line
    pen.line((x - arm, y, x + arm, y), fill=_MARK, width=line)
    pen.line((x, y - arm, x, y + arm), fill=_MARK, width=line)


def _colours(heat: Heatmap) -> NDArray[np.float32]:
    """[height, width] in [0, 1] -> RGB [height, width, 3]."""
    stops = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(heat, stops, _COLOURS[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def _connected(hot: NDArray[np.bool_]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Rows and columns of the cells of each region whose cells touch at their sides."""
    waiting = set(map(tuple, np.argwhere(hot).tolist()))
    while waiting:
        cells, frontier = [], [waiting.pop()]
        while frontier:
            row, column = frontier.pop()
            cells.append((row, column))
            for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if cell in waiting:
                    waiting.remove(cell)
                    frontier.append(cell)
        rows, columns = np.array(cells).T
        yield rows, columns
