"""How match rows are split into runs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openblip.engines.runs import match_runs


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 9), st.integers(1, 5))
def test_every_row_runs_once_beside_the_rows_of_its_picture(
    picture: list[int], max_rows: int, max_pictures: int
) -> None:
    asked = np.array(picture, np.int64)
    seen: list[int] = []
    for pictures, rows in match_runs(asked, max_rows, max_pictures):
        assert len(pictures) <= max_pictures
        assert len(rows) <= max_rows
        assert np.array_equal(asked[rows], np.repeat(pictures, len(rows) // len(pictures)))
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(picture)))


def test_equal_numbers_of_texts_share_one_run() -> None:
    runs = match_runs(np.array([2, 0, 1, 1, 2, 0]))
    assert [(pictures.tolist(), rows.tolist()) for pictures, rows in runs] == [([0, 1, 2], [1, 5, 2, 3, 0, 4])]
