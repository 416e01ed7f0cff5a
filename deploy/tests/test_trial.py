"""The trial's parts for real: HAProxy, redis-server, processes that come and go, and requests that are counted. Most
tasks here are `trivial_service.py`; the rolling deployment is one of the service itself."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.load import pictures
from deploy.capacity.arrivals import steady
from deploy.capacity.curves import Curves
from deploy.capacity.measure import _spaced
from deploy.capacity.task import TaskSize
from deploy.pages import CHECKOUT
from deploy.trial import compare, drills, plot, report
from deploy.trial import controller as controllers
from deploy.trial.balancer import Rules, balancing
from deploy.trial.client import Connections, Plan, Sent, bodies
from deploy.trial.redis import redis_pair
from deploy.trial.stand import Setup, Stand, standing
from deploy.trial.tasks import Recipe
from openblip.errors import OptionError
from required import program

TRIVIAL = (sys.executable, str(Path(__file__).with_name("trivial_service.py")))
QUICK = controllers.Rules(start_s=30.0, deregister_s=5.0, stop_s=2.0, unhealthy_s=1.0)


@pytest.fixture(autouse=True, scope="module")
def _programs() -> None:
    program("haproxy")
    program("redis-server")
    program("taskset", "util-linux")


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A folder whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="openblip-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def photos_folder(work: Path) -> Path:
    originals = pictures.photos(CHECKOUT / "samples", None)
    pictures.write_fresh(work / "photos", originals, 500, {64: 1.0})
    return work / "photos"


@pytest.fixture
def setup(work: Path, photos_folder: Path) -> Setup:
    folder = Path(tempfile.mkdtemp(dir=work))
    recipe = Recipe("none", work / "compiled", program=TRIVIAL)
    return Setup(folder, photos_folder, recipe, balancing=Rules(check_s=0.3), controlling=QUICK)


def processes(stand: Stand) -> list[int]:
    return [managed.task.pid for managed in stand.controller.tasks]


def whats(stand: Stand, task: int) -> list[str]:
    return [event.what for event in stand.controller.events if event.task == task]


def test_tasks_come_serve_drain_and_go(setup: Setup) -> None:
    with standing(setup) as stand:
        assert len(stand.controller.serving()) == 2
        seen = stand.run(steady(100, 2))
        assert {sent.status for sent in seen.sent} == {200}
        assert set(seen.cpu_s) == {"balancer", "redis0", "redis1", "task0", "task1", "client"}
        assert 0 < seen.cpu_s["client"] < 2
        stand.controller.want(3)
        stand.controller.wait_settled(20)
        stand.controller.want(1)
        stand.controller.wait_settled(20)
        assert whats(stand, 0) == ["starting", "serving"], "the youngest go first"
        assert whats(stand, 2) == ["starting", "serving", "draining", "stopping", "ended with 0"]
        left = processes(stand)
    assert not any(psutil.pid_exists(pid) for pid in left)


def test_a_killed_task_is_replaced_and_what_it_had_in_hand_is_asked_again(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVIAL_SECONDS", "0.3")
    with standing(setup) as stand:
        found = drills.kills(stand, drills.Pace(90.0, scale=0.045))
    assert found["asked"] == found["answered"] > 150
    assert found["broken"] > 0, "the kill met no request: the test shows nothing"
    assert found["lost"] == 0
    assert len(found["replaced_s"]) == 3
    assert found["first_statuses"].keys() - {"200"} <= {"502", "503", "0"}
    assert [event.what for event in stand.controller.events].count("ended with -9") == 3


def test_without_sending_again_a_kill_loses_requests(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The balancer sends nothing twice: otherwise the test above would not show who saves them."""
    monkeypatch.setenv("TRIVIAL_SECONDS", "0.3")
    with standing(setup) as stand, stand.load(steady(40, 3)) as load:
        time.sleep(1.0)
        stand.controller.serving()[0].task.kill()
        seen = stand.finish(load)
    assert {sent.status for sent in seen.sent} - {200} <= {0, 502, 503}
    assert any(sent.status != 200 and sent.tries == 1 for sent in seen.sent)


def test_a_task_that_hangs_or_does_not_end_is_killed(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVIAL_DEAF", "1")
    with standing(setup) as stand:
        stand.controller.serving()[0].task.pause()
        stand.controller.wait(lambda: "unhealthy, killed" in whats(stand, 0), 15, "it was not noticed")
        stand.controller.wait_settled(15)
        stand.controller.want(1)
        took_s = stand.controller.wait_settled(15)
        assert QUICK.stop_s < took_s < QUICK.stop_s + 5
        assert "ended with -9" in whats(stand, 2)


def test_a_drill_fails_where_the_controller_ended_meanwhile(setup: Setup) -> None:
    def unbalanced(stand: Stand) -> None:
        with stand.load(steady(20, 1)) as load:
            stand.balancer.process.kill()
            with pytest.raises(RuntimeError, match="the controller ended"):
                stand.finish(load)

    with pytest.raises(RuntimeError, match="the controller ended"), standing(setup) as stand:
        unbalanced(stand)


def test_the_cache_is_emptied_before_a_load_but_where_it_is_kept(setup: Setup) -> None:
    with standing(setup) as stand, Redis(port=stand.redis.ports[0]) as client:
        client.set("key", "kept")
        stand.run(steady(20, 0.5), keep=True)
        assert client.get("key") == b"kept"
        with pytest.raises(RuntimeError, match="only 0 of 5 requests were answered from the cache"):
            _spaced(stand, 5, 0.01, hot=1.0)  # these tasks have no cache
        assert client.get("key") == b"kept"
        stand.run(steady(20, 0.5))
        assert client.get("key") is None


def test_a_task_that_cannot_start_ends_the_trial_with_its_words(setup: Setup) -> None:
    program = (sys.executable, "-c", "import time; print('no weights', flush=True); time.sleep(60)")
    hopeless = replace(setup, recipe=replace(setup.recipe, program=program), controlling=replace(QUICK, start_s=0.5))
    with pytest.raises(RuntimeError, match=r"(?s)was not ready in 0\.5 s.*no weights"), standing(hopeless):
        pass


def test_redis_fails_over_behind_one_address(work: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=work))
    with redis_pair(folder) as pair, balancing(folder, Rules(), pair.ports) as balancer:
        client = Redis(port=balancer.cache_port, socket_timeout=1.0)

        def value() -> object:
            try:
                return client.get("key")
            except RedisError:
                return None

        def wait_for(expected: object) -> None:
            deadline = time.monotonic() + 10
            while value() != expected and time.monotonic() < deadline:
                time.sleep(0.05)
            assert value() == expected

        for _ in range(100):  # the balancer looks for the primary first
            try:
                client.set("key", "kept")
                break
            except RedisError:
                time.sleep(0.1)
        wait_for(b"kept")
        with Redis(port=pair.ports[1]) as replica:
            for _ in range(100):
                if replica.get("key") == b"kept":
                    break
                time.sleep(0.05)
        pair.fail_over(after_s=0.2)
        wait_for(b"kept")
        client.set("key", "new")
        client.close()


def test_a_rolling_deployment_of_the_service_loses_no_request(setup: Setup, work: Path) -> None:
    """Real tasks, real caches, real drain; nobody sends anything twice."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    recipe = Recipe("mini", work / "compiled", cores=cores)
    real = replace(setup, recipe=recipe, balancing=Rules(), controlling=controllers.Rules())
    with standing(real) as stand:
        found = drills.rolling(stand, drills.Pace(30.0, scale=0.3))
        states = [event.what for event in stand.controller.events]
    assert found["asked"] > 150
    assert found["within_load"], "the load was over before the deployment: it shows nothing"
    assert (found["lost"], found["broken"]) == (0, 0), found["statuses"]
    assert states.count("serving") == 4
    assert states.count("draining") == states.count("ended with 0") == 2


CURVES = Curves("none", 1, {1: 0.02}, 0.0, 0.001, 0.001, 0.0003, 1.0)


def sent(start_s: float, seconds: float, status: int = 200, first: int | None = None) -> Sent:
    return Sent(start_s, seconds, status, status if first is None else first, 1, False)


def test_a_window_counts_what_ended_in_it_and_judges_what_began_in_it() -> None:
    seen = [sent(9.5, 1.0), sent(11, 0.5), sent(12, 9.5), sent(13, 0.1, 429), sent(14, 0.1, 502), sent(25, 0.1)]
    found = compare.measured(seen, 10.0, 10.0)
    assert found["rate"] == 0.2
    assert (found["p50_ms"], found["p99_ms"], found["refused"], found["failed"]) == (500.0, 9500.0, 0.25, 1)


def test_what_is_off_by_more_than_three_tenths_is_named() -> None:
    row = {"load": "30%", "measured": {"rate": 10.0, "p99_ms": 100.0, "refused": 0.0},
           "simulated": {"rate": 12.9, "p99_ms": 131.0, "refused": 0.5}}  # fmt: skip
    assert compare.disagreements([row]) == ["30%: p99_ms +31%"]
    saturated = {**row, "load": "saturation", "measured": {"rate": 10.0, "p99_ms": 1.0, "refused": 0.4}}
    assert compare.disagreements([saturated]) == []


def test_bodies_are_hot_or_come_again_only_where_they_may(photos_folder: Path) -> None:
    def plan(count: int, **more: object) -> Plan:
        return Plan(1, str(photos_folder), "none", [0.0] * count, **more)  # type: ignore[arg-type]

    assert len(set(bodies(plan(100)))) == 100
    assert len(set(bodies(plan(100, hot=0.5)))) == 51
    with pytest.raises(ValueError, match="500 pictures"):
        bodies(plan(501))
    assert len(set(bodies(plan(600, again=True)))) == 500


@pytest.mark.parametrize(("open_s", "most_idle_s"), [(0.2, 60.0), (60.0, 0.2)], ids=["closed meanwhile", "idle long"])
def test_a_connection_that_was_idle_is_used_only_where_it_is_safe(open_s: float, most_idle_s: float) -> None:
    """Else a request is sent into one that the balancer closes at that moment, and counts as lost."""
    came: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(0)
        with suppress(asyncio.IncompleteReadError, TimeoutError):
            while True:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), open_s)
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async def ask() -> list[int]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            connections = Connections(server.sockets[0].getsockname()[1], most_idle_s)
            first, _, _ = await connections.post(b"picture")
            again, _, _ = await connections.post(b"picture")
            assert len(came) == 1
            await asyncio.sleep(0.5)
            late, _, _ = await connections.post(b"picture")
            connections.close()
            return [first, again, late]

    assert asyncio.run(ask()) == [200, 200, 200]
    assert len(came) == 2


def test_requests_go_out_at_their_times_whatever_comes_back(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVIAL_SECONDS", "1.5")
    with standing(setup) as stand:
        seen = stand.run(steady(30, 2))
    assert {each.status for each in seen.sent} == {200}
    assert max(each.seconds for each in seen.sent) < 6, "a time holds the client's own waiting, and that is short"
    assert seen.sent == sorted(seen.sent, key=lambda each: each.start_s)


def test_tables_and_plot_of_a_trial(tmp_path: Path) -> None:
    real = {"rate": 10.0, "p50_ms": 40.0, "p99_ms": 100.0, "refused": 0.0, "failed": 0, "p99_range_ms": [90.0, 120.0]}
    cores = {"tasks": 0.6, "client": 0.05, "balancer": 0.01, "redis0": 0.01, "redis1": 0.0}
    simulated = {"rate": 10.1, "p50_ms": 39.0, "p99_ms": 110.0, "refused": 0.0, "pictures_a_batch": 1.2}
    row = {"load": "30%", "offered": 10.0, "pace": 1.1, "measured": real, "cores_busy": cores, "simulated": simulated}
    drill = {
        "title": "kill -9", "seconds": 180.0, "asked": 9, "answered": 8, "refused": 1, "broken": 2, "lost": 0,
        "times_ms": {"p50": 40.0, "p99": 90.0}, "longest_ms": 95.0, "replaced_s": [4.0, 4.5],
        "last_failed_try_s": [0.2, None],
        "marks": {"kill 1": 12.0},
        "timeline": [{"time_s": 0.0, "asked": 4.0, "p99_ms": 90.0, "p50_ms": 40.0, "refused": 0.5, "broken": 1.0}],
    }  # fmt: skip
    rows = [row, {**row, "load": "saturation"}]
    machine = {"cpu": "A processor", "instructions": ["avx2"], "cores": 2, "load_before": 0.1,
               "versions": {"openblip": "0.1.0"}}  # fmt: skip
    command = "python -m deploy.trial --parts compare,kills"
    run = {"command": command, "date": "2026-01-01", "model": "mini", "machine": machine}
    result = {
        "compare": {"rows": rows, "tasks": 2, "seconds": 60.0, "capacity": 70.0, "outside_ms": 1.5},
        "drills": {"kills": drill}, "failed": {}, "runs": {"compare": run, "kills": run},
    }  # fmt: skip
    text = report.markdown(result)
    assert "| 30% | 10.0 | 1.10 | 10.0 | 10.1 | +1% | 100 | 90 to 120 | 110 | +10% |" in text
    assert (
        "| kill -9 | 180 | 9 | 1 | 2 | **0** | 40 | 90 | 95 | replaced after 4.0, 4.5 s; the last failed try was"
        in text
    )
    for table in text.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1
    assert plot.draw(result, tmp_path / "trial.svg")
    assert "kill -9" in (tmp_path / "trial.svg").read_text(encoding="utf-8")
    assert text.count(f"- `{command}`: 2026-01-01, load before: 0.1") == 1
    assert not plot.draw({"runs": {}}, tmp_path / "none.svg")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="not this machine's"):
        Recipe("mini", Path("compiled"), cores=(4096,))
    with pytest.raises(OptionError, match="leastconn or roundrobin"):
        Rules(balance="random")


@pytest.mark.slow
def test_the_simulation_agrees_with_the_run(work: Path, photos_folder: Path) -> None:
    """The whole comparison with mini, on a machine that does nothing else: minutes."""
    from deploy.capacity.measure import measure

    cores = tuple(sorted(os.sched_getaffinity(0)))[:2]
    setup = Setup(Path(tempfile.mkdtemp(dir=work)), photos_folder, Recipe("mini", work / "compiled", cores=cores))
    curves = measure(setup, None, {}, asked=60)
    size = TaskSize(readers=os.cpu_count() or 1, max_queue=32, max_requests=64)
    found = compare.compare(replace(setup, folder=Path(tempfile.mkdtemp(dir=work))), curves, size, 10.0)
    assert compare.disagreements(found["rows"]) == []
