"""Heatmaps to points, boxes, masks and pictures, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from openblip import Grounding
from openblip.regions import Heatmap, boxes_of, mask_of, overlay, peak_of, stretched

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))
HEATMAPS = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(0, 1, width=32, allow_subnormal=False),
)


def grounding(heatmap: Heatmap, size: tuple[int, int], threshold: float = 0.5) -> Grounding:
    boxes = boxes_of(heatmap, size, threshold)
    return Grounding("a dog", 0.5, 0.2, peak_of(heatmap, size), boxes, size, heatmap, "tiny")


def two_spots() -> Heatmap:
    heatmap = np.zeros((10, 20), np.float32)
    heatmap[1:4, 2:6] = 0.8
    heatmap[6:9, 12:18] = 1.0
    heatmap[0, 19] = 0.7  # a speck
    return heatmap


def test_each_spot_has_a_box_in_pixels_of_the_picture_the_hottest_first() -> None:
    boxes = boxes_of(two_spots(), (200, 50), 0.5)
    assert [(box.left, box.top, box.right, box.bottom) for box in boxes] == [(120, 30, 180, 45), (20, 5, 60, 20)]
    assert [box.score for box in boxes] == pytest.approx([1.0, 0.8])
    assert [box.score for box in boxes_of(two_spots(), (200, 50), 0.9)] == [1.0]


def test_cells_that_touch_at_a_corner_are_two_regions() -> None:
    assert len(boxes_of(np.eye(2, dtype=np.float32), (2, 2), 0.5)) == 2


def test_the_hottest_speck_is_kept() -> None:
    heatmap = np.full((10, 10), 0.6, np.float32)
    heatmap[:, 5] = 0.0
    heatmap[0, 9] = 1.0
    heatmap[0, 8] = heatmap[1, 9] = 0.0
    assert (90, 0, 100, 10) in [(b.left, b.top, b.right, b.bottom) for b in boxes_of(heatmap, (100, 100), 0.5)]


def test_the_peak_is_the_middle_of_the_hottest_cell() -> None:
    heatmap = np.zeros((4, 8), np.float32)
    heatmap[1, 6] = 1
    assert peak_of(heatmap, (80, 80)) == (65.0, 30.0)


@given(HEATMAPS, SIZES, st.floats(0.01, 1.0))
def test_whatever_the_sizes_regions_lie_in_the_picture(
    heatmap: Heatmap, size: tuple[int, int], threshold: float
) -> None:
    width, height = size
    peak = peak_of(heatmap, size)
    assert 0 <= peak[0] <= width
    assert 0 <= peak[1] <= height
    boxes = boxes_of(heatmap, size, threshold)
    assert bool(boxes) == bool((heatmap >= threshold).any())
    for box in boxes:
        assert 0 <= box.left < box.right <= width * (1 + 1e-9)
        assert 0 <= box.top < box.bottom <= height * (1 + 1e-9)
        assert box.score >= np.float32(threshold) or box.score == pytest.approx(threshold)
    if boxes:  # the first holds the peak, when only one cell is hottest
        assert boxes[0].score == heatmap.max()
    found = grounding(heatmap, size, threshold)
    assert mask_of(found, threshold).shape == (height, width)
    assert overlay(Image.new("RGB", size), found).size == size


@given(HEATMAPS, SIZES)
def test_a_stretched_heatmap_stays_within_its_values(heatmap: Heatmap, size: tuple[int, int]) -> None:
    wide = stretched(heatmap, size)
    assert wide.shape == size[::-1]
    assert heatmap.min() - 1e-6 <= wide.min() <= wide.max() <= heatmap.max() + 1e-6


def test_a_mask_grows_as_the_threshold_falls_and_lies_where_the_heat_is() -> None:
    found = grounding(two_spots(), (200, 100))
    strict, loose = mask_of(found, 0.9), mask_of(found, 0.5)
    assert 0 < strict.sum() < loose.sum() < loose.size
    assert not (strict & ~loose).any()
    assert strict[75, 150]
    assert not loose[50, 100]


def test_an_overlay_shows_heat_boxes_and_peak() -> None:
    grey = Image.new("RGB", (200, 100), (120, 120, 120))
    drawn = np.asarray(overlay(grey, grounding(two_spots(), (200, 100))), np.int64)
    assert drawn.shape == (100, 200, 3)
    assert drawn[50, 95].tolist() == [120, 120, 120]  # cold: the picture as it is
    assert drawn[70, 130, 0] > drawn[70, 130, 2] + 50  # hot: no longer grey
    assert (0, 229, 255) in {tuple(pixel) for pixel in drawn[60].tolist()}  # the upper edge of the box


def test_a_large_picture_gives_a_smaller_overlay_with_the_marks_in_their_places() -> None:
    found = grounding(two_spots(), (400, 200))
    small = np.asarray(overlay(Image.new("RGB", (400, 200)), found, longest=100))
    assert small.shape == (50, 100, 3)
    assert small[30, 60:90].tolist().count([0, 229, 255]) > 20
