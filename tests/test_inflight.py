"""The two batching policies in simulated time: cases that can be counted by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.inflight import COUNTS, Costs, grouped, in_flight

FLAT = Costs([10.0] * len(COUNTS), [1.0] * len(COUNTS))


def test_a_lone_picture_takes_its_encoding_and_its_steps() -> None:
    assert grouped([5.0], [3], FLAT, 16) == in_flight([5.0], [3], FLAT, 16) == [13.0]


def test_grouping_lets_the_second_wait_and_in_flight_lets_it_join() -> None:
    assert grouped([0.0, 1.0], [3, 3], FLAT, 16) == [13.0, 25.0]
    assert in_flight([0.0, 1.0], [3, 3], FLAT, 16) == [23.0, 23.0]


def test_a_batch_is_bounded() -> None:
    assert grouped([0.0] * 3, [1] * 3, FLAT, 2) == [11.0, 11.0, 22.0]


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 16),
    st.floats(0.1, 5),
)
def test_nobody_is_lost_and_nobody_is_served_sooner_than_alone(
    pictures: list[tuple[float, int]], most: int, slope: float
) -> None:
    costs = Costs([slope * count for count in COUNTS], [1.0 + count for count in COUNTS])
    arrivals = sorted(arrival for arrival, _ in pictures)
    steps = [step for _, step in pictures]
    alone = costs.encode(1) + min(steps) * costs.step(1)
    for policy in (grouped, in_flight):
        waits = policy(arrivals, steps, costs, most)
        assert len(waits) == len(pictures)
        assert min(waits) >= alone * (1 - 1e-9) - 1e-9
