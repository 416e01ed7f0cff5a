"""The simulation beside what queueing theory knows, and what must hold for every load: nothing is lost or made up."""

from __future__ import annotations

from dataclasses import replace
from math import factorial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from deploy.capacity import task
from deploy.capacity.arrivals import Pattern, Pictures, diurnal, flash, ramp, steady
from deploy.capacity.cluster import Care, Cluster
from deploy.capacity.curves import Curves
from deploy.capacity.engine import Sample, quietest, shares
from deploy.capacity.processor import Processor
from deploy.capacity.simulation import Outcome, Scenario, run
from deploy.capacity.task import TaskSize
from openblip.errors import OptionError

PLAIN = Curves("plain", 1, {1: 0.02}, 0.0, 0.0, 0.0, 0.0, 5.0)
REAL = Curves("real", 1, {1: 0.024, 2: 0.036, 8: 0.11, 32: 0.4}, 0.004, 0.003, 0.001, 0.0003, 5.0, 0.001)
ENDLESS = TaskSize(max_batch=1, max_queue=10**6, max_requests=10**6, timeout_s=1e9)
SWIFT = Care(provision_s=2.0, health_s=1.0, notice_s=0.5, drain_s=5.0)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_a_lone_task_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    """M/D/1: mean time = S + load S / (2 (1 - load))."""
    found = run(Scenario(steady(load / 0.02, 400.0), PLAIN, ENDLESS, tasks=1))
    assert found.asked > 9000
    assert_allclose(found.seconds.mean(), 0.02 + load * 0.02 / (2 * (1 - load)), rtol=0.05)
    assert_allclose(found.used_core_s / 400.0, load, rtol=0.03)


def test_batches_of_different_lengths_wait_as_pollaczek_and_khinchine_say() -> None:
    """M/G/1: mean time = S + load S (1 + c²) / (2 (1 - load)), c the coefficient of variation of the batches."""
    load, lengths = 0.7, (0.4, 0.6, 1.0, 2.0)
    found = run(Scenario(steady(load / 0.02, 400.0), replace(PLAIN, spread={1: lengths}), ENDLESS, tasks=1))
    expected = 0.02 + load * 0.02 * (1 + float(np.var(lengths))) / (2 * (1 - load))
    assert_allclose(found.seconds.mean(), expected, rtol=0.06)
    assert_allclose(found.used_core_s / 400.0, load, rtol=0.03)


@pytest.mark.parametrize("cores", [1, 3])
def test_shared_cores_have_as_much_in_hand_as_erlang_says(cores: int) -> None:
    """M/M/c: how many there are does not depend on the order in which they are served (processor sharing)."""
    env, random, load = simpy.Environment(), Random(1), 0.7
    processor, times = Processor(env, cores), list[float]()

    def one() -> Any:
        began = env.now
        yield processor.run(random.expovariate(1.0))
        times.append(env.now - began)

    def many() -> Any:
        for _ in range(20_000):
            yield env.timeout(random.expovariate(load * cores))
            env.process(one())

    env.process(many())
    env.run()
    offered = load * cores
    waiting = offered**cores / factorial(cores) / (1 - load)
    waits = waiting / (sum(offered**k / factorial(k) for k in range(cores)) + waiting)
    assert_allclose(np.mean(times), 1 + waits / (cores * (1 - load)), rtol=0.07)


def test_cores_are_shared_by_weight_and_no_job_takes_more_than_its_width() -> None:
    env = simpy.Environment()
    processor, ends = Processor(env, 2.0), dict[str, float]()

    def job(name: str, seconds: float, weight: float, width: float) -> Any:
        yield processor.run(seconds, weight, width)
        ends[name] = env.now

    # The narrow one has a core for itself; the wide ones share the other as 3 to 1.
    for args in (("narrow", 4.0, 9.0, 1.0), ("heavy", 1.5, 3.0, 2.0), ("light", 1.0, 1.0, 2.0)):
        env.process(job(*args))
    env.run()
    assert_allclose([ends["heavy"], ends["light"], ends["narrow"]], [2.0, 2.5, 4.0])
    assert_allclose(processor.used_s, 6.5)


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.floats(0, 3), st.floats(0.1, 4), st.floats(0.5, 3)), min_size=1, max_size=12
    ),
    st.floats(0.5, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_processor_does_all_work_and_no_more(jobs: list[tuple[float, float, float, float]], cores: float) -> None:
    env = simpy.Environment()
    processor, done = Processor(env, cores), list[float]()

    def job(start: float, seconds: float, weight: float, width: float) -> Any:
        yield env.timeout(start)
        yield processor.run(seconds, weight, width)
        assert env.now - start >= seconds / min(width, cores) - 1e-6
        done.append(seconds)

    for each in jobs:
        env.process(job(*each))
    env.run()
    assert len(done) == len(jobs)
    assert_allclose(processor.used_s, sum(done), atol=1e-6)
    assert processor.used_s <= cores * env.now + 1e-6


STATUSES = {200, 429, 502, 503, 504}


@given(st.data())
@settings(max_examples=20, deadline=None, phases=[Phase.generate])
def test_every_request_is_answered_once_or_still_in_hand(data: st.DataObject) -> None:
    """Whatever is killed, deployed, refused or too late meanwhile."""
    size = TaskSize(
        cores=data.draw(st.sampled_from([0.5, 1.0, 2.0])), readers=data.draw(st.integers(1, 3)),
        max_batch=data.draw(st.integers(1, 8)), max_queue=data.draw(st.integers(1, 20)),
        max_requests=data.draw(st.integers(1, 40)), timeout_s=data.draw(st.floats(0.1, 10)),
    )  # fmt: skip
    actions: list[Any] = [Cluster.deploy, lambda cluster: [cluster.kill(each) for each in cluster.of("healthy")[:1]],
                          lambda cluster: cluster.want(1), lambda cluster: cluster.want(4)]  # fmt: skip
    events = [
        (data.draw(st.floats(0, 7)), data.draw(st.sampled_from(actions))) for _ in range(data.draw(st.integers(0, 4)))
    ]
    pictures = Pictures(new=data.draw(st.floats(0, 1)), pool=20, hot=data.draw(st.floats(0, 1)))
    rate, tasks = data.draw(st.floats(1, 120)), data.draw(st.integers(1, 3))
    shared = data.draw(st.booleans())
    scenario = Scenario(steady(rate, 8.0), REAL, size, pictures, SWIFT, tasks, one_machine=shared, events=events)
    found = run(scenario)
    assert found.asked == len(found.status) + found.in_hand_at_end
    assert set(found.status.tolist()) <= STATUSES
    assert (found.seconds >= 0).all()
    assert run(scenario).seconds.tolist() == found.seconds.tolist(), "the same seed, another outcome"


def test_a_task_at_its_bound_does_what_the_curves_say_and_refuses_the_rest() -> None:
    size = TaskSize(max_batch=8, max_queue=64)
    curves = replace(PLAIN, batch_s={1: 0.05, 8: 0.16})
    found = run(Scenario(steady(100.0, 200.0), curves, size, tasks=1))
    assert_allclose(found.rate(20.0), curves.rate(1.0, 8), rtol=0.02)
    assert_allclose(found.share(429, begin_s=20.0), 0.5, atol=0.03)
    assert_allclose(found.pictures_a_batch, 8, rtol=0.02)
    assert found.percentile_s(99, 20.0) <= (64 + 16) * 0.02 + 1e-6


def test_pictures_that_are_read_have_places_so_that_slow_readers_make_no_queue_of_their_own() -> None:
    """On one core readers starve beside the engine: what is read waits, too."""
    size = TaskSize(max_batch=8, max_queue=16, max_requests=512)
    curves = replace(PLAIN, batch_s={1: 0.05, 8: 0.2}, read_s=0.01)
    found = run(Scenario(steady(60.0, 120.0), curves, size, tasks=1))
    assert found.share(429, begin_s=20.0) > 0.3
    assert found.share(504) == 0
    assert found.percentile_s(99, 20.0) <= 1.1 * (16 + 8) / found.rate(20.0)


def test_requests_at_given_times_are_all_answered() -> None:
    """As the run was waited for whose times they are; drawn ones end with the pattern."""
    curves, pattern = replace(PLAIN, batch_s={1: 0.5}), steady(10.0, 1.0)
    found = run(Scenario(pattern, curves, tasks=1), times=[0.1, 0.9, 0.99])
    assert (found.asked, found.status.tolist(), found.in_hand_at_end) == (3, [200] * 3, 0)
    assert_allclose(found.rate(), 1.0)  # one ended within the second
    assert run(Scenario(pattern, curves, tasks=1)).in_hand_at_end > 0


def test_batches_grow_with_the_load() -> None:
    sizes = [run(Scenario(steady(rate, 60.0), replace(PLAIN, batch_s={1: 0.02, 32: 0.32}), tasks=1)).pictures_a_batch
             for rate in (5.0, 40.0, 80.0)]  # fmt: skip
    assert 1.0 <= sizes[0] < sizes[1] < sizes[2]


def test_readers_that_yield_too_much_keep_batches_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one core beside an engine that fills it, those with nice 10 get a tenth of it, and too few pictures are ready
    when a batch begins; those with nice 5 get a quarter."""
    curves = Curves("reads", 1, {1: 0.036, 32: 0.3}, 0.0067, 0.0035, 0.0, 0.0, 1.0)
    scenario = Scenario(steady(70.0, 120.0), curves, TaskSize(), tasks=1)
    found = run(scenario)
    monkeypatch.setattr(task, "_READER_WEIGHT", 110 / 1024)
    starved = run(scenario)
    assert found.pictures_a_batch > 4 * starved.pictures_a_batch
    assert found.rate(20.0) > 1.4 * starved.rate(20.0)


def test_a_hot_picture_is_computed_once_by_all_tasks_together() -> None:
    scenario = Scenario(steady(200.0, 20.0), REAL, tasks=3, pictures=Pictures(hot=1.0))
    found = run(scenario)
    assert found.cached > 0.99
    assert set(found.status.tolist()) == {200}
    assert sum(found.seconds > 0.02) <= 8, "only those that came while it was computed wait for it"


def _healthy_after(found: Outcome, at_s: float) -> float:
    """How long after it there were again as many healthy tasks as wanted."""
    return min(each.time_s for each in found.samples if each.time_s > at_s + 1 and each.healthy >= each.desired) - at_s


def test_a_rolling_deployment_loses_nothing_and_a_killed_task_what_it_had_in_hand() -> None:
    pattern = steady(25.0, 90.0)
    deployed = run(Scenario(pattern, REAL, tasks=3, care=SWIFT, events=[(30.0, Cluster.deploy)]))
    assert set(deployed.status.tolist()) == {200}
    assert deployed.paid_s > 3 * 90 + 3 * 5, "old and new ones are there at the same time"

    killed = run(Scenario(pattern, REAL, tasks=3, care=SWIFT,
                          events=[(30.0, lambda cluster: cluster.kill(cluster.of("healthy")[0]))]))  # fmt: skip
    failed = killed.began_s[killed.status == 502]
    assert 0 < len(failed) < 40
    assert failed.max() < 30.0 + SWIFT.notice_s, "the balancer knows by then"
    assert _healthy_after(killed, 30.0) < SWIFT.notice_s + SWIFT.provision_s + REAL.start_s + 2 * SWIFT.health_s + 5


def test_outside_work_on_the_same_machine_costs_its_share() -> None:
    pattern, curves = steady(20.0, 100.0), replace(REAL, outside_s=0.01)
    apart, together = (run(Scenario(pattern, curves, one_machine=shared)) for shared in (False, True))
    assert_allclose(together.used_core_s - apart.used_core_s, 0.01 * together.asked, rtol=0.15)


def test_patterns_have_their_rates() -> None:
    random = Random(3)
    crowd = flash(2.0, at_s=100, rise_s=60, hold_s=200, seconds=600)
    assert [crowd.rate(at) for at in (0, 100, 160, 300)] == [2.0, 2.0, 20.0, 20.0]
    day = diurnal(1.0, 9.0, 1000.0)
    assert_allclose([day.rate(0), day.rate(500), day.rate(250)], [1.0, 9.0, 5.0])
    for pattern, expected in ((steady(20, 500), 10_000), (ramp(0, 40, 500), 10_000), (day, 5000)):
        times = list(pattern.times(random))
        assert times == sorted(times)
        assert_allclose(len(times), expected, rtol=0.05)
    with pytest.raises(OptionError, match="above 0"):
        list(Pattern("none", 1.0, lambda now: 0.0, 0.0).times(random))


def test_pictures_are_new_hot_or_popular() -> None:
    draw = Pictures(new=0.5, pool=50, hot=0.4, hot_from_s=10.0).draw(Random(0))
    before, after = [draw(0.0) for _ in range(4000)], [draw(11.0) for _ in range(4000)]
    assert 0 not in before
    assert_allclose([before.count(-1), after.count(0)], [2000, 1600], rtol=0.06)
    assert before.count(1) > 4 * before.count(10)
    assert max(before) <= 50
    with pytest.raises(OptionError, match="from 0 to 1"):
        Pictures(new=1.5)


def test_curves_lie_on_lines_and_survive_their_file(tmp_path: Path) -> None:
    assert_allclose(
        [REAL.batch(size) for size in (1, 1.5, 2, 5, 8, 32, 64)], [0.024, 0.03, 0.036, 0.073, 0.11, 0.4, 0.8]
    )
    spread = replace(REAL, spread={1: (0.5, 1.5), 32: (0.9, 1.1)})
    spread.write(tmp_path / "curves.json")
    assert Curves.read(tmp_path / "curves.json") == spread
    drawn = {round(spread.drawn_work(size, Random(seed)), 4) for size in (5, 8) for seed in range(20)}
    assert drawn == {0.0365, 0.1095, 0.099, 0.121}, "5 is nearer to 1 than to 32 in proportion, 8 is not"
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OptionError, match=r"deploy\.capacity measure"):
        Curves.read(tmp_path / "other.json")
    wrongs: list[dict[str, Any]] = [
        {"batch_s": {2: 1.0}}, {"read_s": -1.0}, {"threads": 0}, {"start_s": float("nan")},
        *({"spread": spread} for spread in ({1: ()}, {1: (0.5, 0.6)}, {1: (0.0, 2.0)}, {3: (1.0,)})),
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(OptionError):
            replace(REAL, **wrong)


def test_on_a_slower_machine_all_work_takes_longer_and_nothing_else() -> None:
    curves = replace(REAL, around_s=0.002, outside_s=0.001, spread={1: (0.5, 1.5)})
    slower = curves.on_a_machine_of(1.5)
    for name in ("read_s", "front_s", "cached_s", "refused_s", "alone_s", "around_s", "outside_s"):
        assert getattr(slower, name) == 1.5 * getattr(curves, name) > 0, name
    assert (slower.start_s, slower.spread) == (curves.start_s, curves.spread)
    assert_allclose(slower.rate(1.0, 8), curves.rate(1.0, 8) / 1.5)


def test_what_the_service_does_with_a_batch_comes_once_a_batch() -> None:
    around = replace(REAL, threads=2, around_s=0.004)
    assert_allclose([around.work(1), around.work(8)], [2 * 0.024 + 0.004, 2 * 0.11 + 0.004])
    assert_allclose(1 / around.rate(1.0, 8), 0.004 + 0.003 + (2 * 0.11 + 0.004) / 8)


def test_batches_are_timed_when_others_do_least() -> None:
    samples = [Sample(0.05, 0.05, 0.8), Sample(0.03, 0.03, 0.02), Sample(0.06, 0.07, 0.9), Sample(0.031, 0.03, 0.0)]
    assert {sample.cpu_s for sample in quietest(samples)} == {0.03, 0.031}
    assert quietest(samples[:1]) == samples[:1]


def test_a_spread_keeps_the_mean_and_the_long_ones() -> None:
    times = np.random.default_rng(0).gamma(4.0, 0.01, 777).tolist()
    found = shares(times)
    assert found == sorted(found)
    assert_allclose(np.mean(found), 1.0, atol=1e-3)
    assert_allclose(np.std(found), np.std(times) / np.mean(times), rtol=0.1)
    assert shares([0.03, 0.01]) == [0.5, 1.5]


def test_a_request_that_is_alone_takes_what_one_alone_takes_and_others_what_many_take() -> None:
    curves = replace(PLAIN, front_s=0.02, alone_s=0.01)
    assert_allclose(run(Scenario(steady(1.0, 30.0), curves, tasks=1)).percentile_s(50), 0.03, rtol=0.01)
    busy = run(Scenario(steady(100.0, 60.0), curves, TaskSize(max_batch=1), tasks=1))
    assert_allclose(busy.rate(5.0), curves.rate(1.0, 1), rtol=0.02)
    same = replace(curves, alone_s=0.0)
    assert_allclose(run(Scenario(steady(1.0, 30.0), same, tasks=1)).percentile_s(50), 0.04, rtol=0.01)
