"""Kendall's tau, the paired bootstrap and boxes: by hand, against scipy's figures, and what each must obey."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from openblip.errors import DataError, InputError
from openblip.metrics import box_overlap, kendall_tau, paired_difference, point_in_any


def test_tau_by_hand() -> None:
    """Ratings 1 1 2 3, scores 1 2 2 3: of six pairs one ties on each side, four agree, none disagree."""
    found = kendall_tau([1, 2, 2, 3], [1, 1, 2, 3])
    assert found.pairs == 4
    assert found.tau_b == pytest.approx(4 / 5)  # 4 / sqrt(5 * 5)
    assert found.tau_c == pytest.approx(2 * 4 * 3 / (16 * 2))


@pytest.mark.parametrize(
    ("count", "levels", "tau_b", "tau_c"),
    # scipy 1.17.1, scipy.stats.kendalltau(scores, ratings, variant=...) of the draws below.
    [(60, 4, 0.2598657372609634, 0.28814814814814815), (200, 5, 0.3196863311096007, 0.3461875)],
)
def test_tau_equals_that_of_scipy(count: int, levels: int, tau_b: float, tau_c: float) -> None:
    generator = np.random.default_rng(11)
    if count == 200:
        generator.integers(1, 5, 60), generator.normal(0, 0.6, 60)
    ratings = generator.integers(1, levels + 1, count).astype(float)
    scores = np.round(ratings / levels + generator.normal(0, 0.6, count), 1)
    found = kendall_tau(scores, ratings)
    assert (found.tau_b, found.tau_c) == (pytest.approx(tau_b, abs=1e-12), pytest.approx(tau_c, abs=1e-12))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.data())
def test_tau_has_a_sign_and_a_range(scores: list[int], data: Any) -> None:
    ratings = data.draw(st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores)))
    if len(set(scores)) == 1 or len(set(ratings)) == 1:
        with pytest.raises(DataError, match="alike"):
            kendall_tau(scores, ratings)
        return
    found = kendall_tau(scores, ratings)
    assert -1 - 1e-12 <= found.tau_b <= 1 + 1e-12
    assert kendall_tau([-score for score in scores], ratings).tau_b == pytest.approx(-found.tau_b)
    assert kendall_tau(ratings, scores).tau_b == pytest.approx(found.tau_b)
    assert kendall_tau(scores, scores).tau_b == pytest.approx(1.0)
    assert kendall_tau([score**3 for score in scores], ratings) == found  # the order alone counts


@pytest.mark.parametrize(
    ("scores", "ratings"), [([1, 2], [1, 2, 3]), ([1, float("nan")], [1, 2]), ([[1], [2]], [1, 2])]
)
def test_ratings_that_do_not_go_with_the_scores(scores: Any, ratings: Any) -> None:
    with pytest.raises(InputError):
        kendall_tau(scores, ratings)


def test_a_constant_gain_has_no_spread() -> None:
    first = np.random.default_rng(0).normal(size=50)
    found = paired_difference(first, first + 0.1)
    assert (found.low, found.high, found.difference) == (pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert found.clear
    assert found.better == 1.0
    same = paired_difference(first, first)
    assert (same.difference, same.low, same.high, same.clear, same.better) == (0.0, 0.0, 0.0, False, 0.5)


def test_the_interval_is_that_of_the_normal_distribution() -> None:
    """Of 400 pairs the mean's interval is close to 1.96 standard errors."""
    generator = np.random.default_rng(1)
    first, delta = generator.normal(size=400), generator.normal(0.05, 1.0, 400)
    found = paired_difference(first, first + delta)
    error = 1.96 * delta.std(ddof=1) / 20
    assert found.low == pytest.approx(delta.mean() - error, abs=0.01)
    assert found.high == pytest.approx(delta.mean() + error, abs=0.01)
    wider = paired_difference(first, first + delta, level=0.99)
    assert wider.low < found.low < found.high < wider.high


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator, held = np.random.default_rng(2), 0
    for _ in range(200):
        first = generator.normal(size=60)
        found = paired_difference(first, first + generator.normal(0.3, 1.0, 60), draws=500)
        held += found.low <= 0.3 <= found.high
    assert 0.90 <= held / 200 <= 0.99


@given(arrays.arrays(float, st.integers(2, 20), elements=st.floats(-5, 5)), st.integers(0, 99))
def test_turned_round_the_interval_turns_round(first: Any, seed: int) -> None:
    second = first[::-1].copy()
    there, back = (paired_difference(*runs, draws=300, seed=seed) for runs in ((first, second), (second, first)))
    assert (back.low, back.high) == (pytest.approx(-there.high, abs=1e-9), pytest.approx(-there.low, abs=1e-9))
    assert back.better == pytest.approx(1 - there.better)


def test_questions_of_one_picture_are_drawn_together() -> None:
    """Two pictures: one with a single right answer lost, one with three gained; the mean is over the four."""
    found = paired_difference(np.array([1.0, 0.0]), np.array([0.0, 3.0]), np.array([1, 3]))
    assert (found.first, found.second, found.difference) == (0.25, 0.75, 0.5)
    assert (found.low, found.high) == (-1.0, 1.0)  # only the first picture, or only the second


def test_many_pictures_are_drawn_in_turns() -> None:
    scores = np.random.default_rng(3).normal(size=3000)
    assert paired_difference(scores, scores + 1, draws=3000).draws == 3000


@pytest.mark.parametrize(
    ("first", "second", "options", "error"),
    [
        (np.zeros(3), np.zeros(2), {}, InputError),
        (np.zeros((2, 2)), np.zeros((2, 2)), {}, InputError),
        (np.zeros(1), np.zeros(1), {}, DataError),
        (np.zeros(3), np.zeros(3), {"level": 1.0}, InputError),
        (np.zeros(3), np.zeros(3), {"draws": 0}, InputError),
    ],
)
def test_runs_that_cannot_be_compared(first: Any, second: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        paired_difference(first, second, **options)


def test_overlap_by_hand() -> None:
    boxes, others = [[0, 0, 4, 4], [10, 10, 2, 2]], [[2, 2, 4, 4], [0, 0, 4, 4], [10, 10, 0, 5]]
    np.testing.assert_allclose(box_overlap(boxes, others), [[4 / 28, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert box_overlap([], others).shape == (0, 3)


coordinates = st.lists(st.tuples(*[st.floats(0, 50)] * 4), min_size=1, max_size=4)


@given(coordinates, coordinates)
def test_overlap_is_symmetric_and_a_share(boxes: Any, others: Any) -> None:
    found = box_overlap(boxes, others)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    np.testing.assert_allclose(found, box_overlap(others, boxes).T)


def test_pointing_by_hand() -> None:
    boxes = [[10, 20, 30, 40], [100, 100, 5, 5]]
    assert point_in_any((10, 60), boxes)
    assert point_in_any((102, 103), boxes)
    assert not point_in_any((41, 30), boxes)
    assert point_in_any((41, 30), boxes, margin=1)
    assert not point_in_any((0, 0), [])


@pytest.mark.parametrize("boxes", [[[0, 0, 4]], [[0, 0, -1, 4]], [[0, 0, float("nan"), 4]], [1, 2, 3, 4]])
def test_boxes_that_are_none(boxes: Any) -> None:
    with pytest.raises(InputError):
        box_overlap(boxes, boxes)
