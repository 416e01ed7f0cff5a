"""Boxes and points, for the grounding of words: overlap and the pointing game. Knows no model and no picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openblip.errors import InputError


def box_overlap(boxes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box with every other, [boxes, others], in [0, 1].

    boxes, others: [n, 4], each x, y, width and height from the upper left corner, as COCO gives them. A box without an
    area overlaps nothing.

    Raises InputError on another shape, or a width or height below 0.
    """
    left, right = _as_boxes(boxes), _as_boxes(others)
    upper = np.maximum(left[:, None, :2], right[None, :, :2])
    lower = np.minimum(left[:, None, :2] + left[:, None, 2:], right[None, :, :2] + right[None, :, 2:])
    # Sums of corners round: a side that is shared is never longer than the box's own.
    most = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(lower - upper, 0.0, most).prod(axis=2)
    union = left[:, None, 2:].prod(axis=2) + right[None, :, 2:].prod(axis=2) - shared
    overlap: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def point_in_any(point: Sequence[float], boxes: ArrayLike, margin: float = 0.0) -> bool:
    """The pointing game (Zhang et al. 2016): whether a point (x, y) hits one of the boxes [n, 4], or comes as near as
    `margin` (the original allows 15 pixels). The accuracy is the share of hits."""
    x, y = point
    each = _as_boxes(boxes)
    across = (each[:, 0] - margin <= x) & (x <= each[:, 0] + each[:, 2] + margin)
    down = (each[:, 1] - margin <= y) & (y <= each[:, 1] + each[:, 3] + margin)
    return bool((across & down).any())


def _as_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(boxes, np.float64)
    if values.size == 0:
        return values.reshape(0, 4)
    if values.ndim != 2 or values.shape[1] != 4 or not np.isfinite(values).all() or (values[:, 2:] < 0).any():
        raise InputError(f"boxes of shape {values.shape} are not [n, 4] with x, y, width and height from 0 up")
    return values
