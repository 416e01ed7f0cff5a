"""The scaling policy of the stacks as it is simulated: when it adds and removes tasks, and how many."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity.arrivals import flash
from deploy.capacity.cluster import Care
from deploy.capacity.curves import Curves
from deploy.capacity.plan import choose
from deploy.capacity.scaling import IN_FLIGHT, REQUESTS, Policy
from deploy.capacity.simulation import Outcome, Scenario, run
from deploy.capacity.task import TaskSize
from deploy.settings import Scaling, ScheduledMinimum
from openblip.errors import OptionError

SCALING = Scaling(minimum=2, maximum=10, target_in_flight=4.0, target_requests_per_minute=1000, scheduled=())
MINUTE_S = 60.0


def play(policy: Policy, values: list[tuple[float, float]], tasks: int = 2) -> list[int]:
    """How many tasks there shall be after each minute with these metrics."""
    found = []
    for minute, (in_flight, requests) in enumerate(values):
        tasks = policy.wanted(minute * MINUTE_S, tasks, {IN_FLIGHT: in_flight, REQUESTS: requests})
        found.append(tasks)
    return found


def test_three_minutes_above_the_target_add_tasks_in_proportion() -> None:
    assert play(Policy.of(SCALING), [(10.0, 0.0)] * 3) == [2, 2, 5]
    assert play(Policy.of(SCALING), [(10.0, 0.0), (10.0, 0.0), (4.0, 0.0), (10.0, 0.0)]) == [2, 2, 2, 2]
    assert play(Policy.of(SCALING), [(90.0, 0.0)] * 3) == [2, 2, 10], "never above the maximum"


def test_the_guard_counts_too_and_the_larger_number_wins() -> None:
    assert play(Policy.of(SCALING), [(0.0, 2900.0)] * 3) == [2, 2, 6]
    assert play(Policy.of(SCALING), [(6.0, 2900.0)] * 3) == [2, 2, 6]
    assert play(Policy.of(SCALING), [(14.0, 1100.0)] * 3) == [2, 2, 7]


def test_tasks_go_after_a_quarter_of_an_hour_when_both_metrics_are_low() -> None:
    low = [(1.0, 100.0)] * 16
    assert play(Policy.of(SCALING), low, 8) == [8] * 14 + [2, 2]
    assert play(Policy.of(SCALING), [(1.0, 950.0)] * 20, 8) == [8] * 20, "the guard is above 90% of its target"
    assert play(Policy.of(SCALING), [(3.7, 100.0)] * 20, 8) == [8] * 20, "nine tenths of the target are not below it"


def test_tasks_go_no_sooner_than_the_cooldown_after_the_last_change() -> None:
    slow = replace(SCALING, scale_in_cooldown_s=1800)
    minutes = play(Policy.of(slow), [(10.0, 0.0)] * 3 + [(0.1, 0.0)] * 40)
    assert minutes[2] == 5
    assert minutes.index(2, 3) == 2 + 30


def test_minimums_are_scheduled() -> None:
    scheduled = (ScheduledMinimum("day", 5, hour="7"), ScheduledMinimum("night", 2, hour="20", minute="30"))
    policy = Policy.of(replace(SCALING, scheduled=scheduled))
    hours = {hour: policy.minimum(hour * 3600.0) for hour in (0.0, 6.9, 7.0, 20.4, 20.5, 31.0)}
    assert hours == {0.0: 2, 6.9: 2, 7.0: 5, 20.4: 5, 20.5: 2, 31.0: 5}
    assert policy.wanted(8 * 3600.0, 2, {IN_FLIGHT: 0.0, REQUESTS: 0.0}) == 5
    with pytest.raises(OptionError, match="single time of the day"):
        Policy.of(replace(SCALING, scheduled=(ScheduledMinimum("often", 2, hour="*/2"),)))


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 50_000)), max_size=60), st.integers(1, 30), st.integers(1, 10)
)
def test_the_number_stays_between_its_bounds_and_rises_only_above_a_target(
    values: list[tuple[float, float]], tasks: int, minimum: int
) -> None:
    policy = Policy.of(replace(SCALING, minimum=minimum))
    before = min(max(tasks, minimum), 10)
    for minute, (in_flight, requests) in enumerate(values):
        wanted = policy.wanted(minute * MINUTE_S, before, {IN_FLIGHT: in_flight, REQUESTS: requests})
        assert minimum <= wanted <= 10
        assert wanted <= before or in_flight > 4.0 or requests > 1000.0
        assert wanted >= before or (in_flight < 3.6 and requests < 900.0)
        before = wanted


CURVES = Curves("slow", 2, {1: 0.4, 8: 2.0}, 0.01, 0.005, 0.002, 0.0003, 8.0)
CROWD = flash(1.0, at_s=300, hold_s=1500, seconds=1900)
SIZE = TaskSize(cores=2.0, max_batch=8, max_queue=8, max_requests=16)


def crowded(scaling: Scaling | None) -> Outcome:
    policy = None if scaling is None else partial(Policy.of, scaling)
    return run(Scenario(CROWD, CURVES, SIZE, care=Care(), policy=policy))


def test_a_crowd_is_refused_until_tasks_are_there_and_then_served() -> None:
    fixed = crowded(None)
    scaled = crowded(replace(SCALING, target_in_flight=2.0, target_requests_per_minute=130))
    assert fixed.most_tasks() == 2
    assert 4 <= scaled.most_tasks() <= 10
    assert scaled.share(429, 504, begin_s=700, end_s=1800) < 0.01 < fixed.share(429, 504, begin_s=700, end_s=1800)
    grown = next(sample.time_s for sample in scaled.samples if sample.desired > 2)
    assert 300 < grown <= 300 + 60 + 4 * MINUTE_S


def test_without_the_guard_tasks_come_and_go_in_turns() -> None:
    """What is in hand says how much too few tasks there are, but not how many too many: with enough of them it is near
    nothing, so that most are taken away again while the crowd still stands there."""
    alone = crowded(replace(SCALING, target_in_flight=2.0, target_requests_per_minute=10**6))
    numbers = [sample.desired for sample in alone.samples if sample.time_s > 700]
    assert max(numbers) == 10
    assert min(numbers) == 2
    assert alone.share(429, begin_s=700, end_s=1800) > 0.02


def policy(price: float, refused: float, crowd: float = 1.0, **more: float) -> dict[str, float]:
    usual = {"usual_p99_s": 2.0, "usual_refused": 0.0, "usual_dollars_per_1000": price}
    return {**usual, "refused": refused, "dollars_per_1000": crowd, **more}


def test_the_cheapest_policy_is_chosen_then_who_refuses_least() -> None:
    cheap, kinder, dear = policy(1.0, 0.05), policy(1.01, 0.04), policy(1.2, 0.0)
    slow, refusing = policy(0.1, 0.0, usual_p99_s=11.0), policy(0.1, 0.0, usual_refused=0.01)
    assert choose([cheap, kinder, dear, slow, refusing]) is kinder
    assert choose([cheap, same := policy(1.0, 0.05, crowd=0.9), dear]) is same
    with pytest.raises(ValueError, match="larger tasks"):
        choose([slow, refusing])
