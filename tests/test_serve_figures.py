"""Figures as CloudWatch reads them: what a mean is, what a line holds, and when a service writes one."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from openblip.serve.figures import NAMESPACE, Figures, Level
from openblip.serve.metrics import Metrics
from serve_app import as_json, door, photo, service, wait_until_ready
from tiny_blip import counted_blip


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def figures(metrics: Metrics, level: Level | None = None) -> Figures:
    return Figures(metrics, level or Level(), lambda: 3, "captions")


def test_a_mean_weighs_each_number_by_its_time_and_begins_anew() -> None:
    clock = Clock()
    level = Level(clock)
    level.add(4)
    clock.now += 1
    level.add(-3)
    clock.now += 3
    assert level.mean() == pytest.approx((4 * 1 + 1 * 3) / 4)
    clock.now += 2
    assert level.mean() == 1
    assert level.mean() == 1, "no time has passed"


def test_a_line_is_an_embedded_metric_of_what_happened_since_the_last() -> None:
    clock, metrics = Clock(), Metrics()
    level = Level(clock)
    written = figures(metrics, level)
    level.add(2)
    clock.now += 10
    for status, count in (("200", 5), ("429", 3), ("504", 1), ("503", 1)):
        metrics.requests.labels("/v1/caption", status).inc(count)
    metrics.requests.labels("/readyz", "503").inc(9)
    metrics.saw_rate("refused")
    metrics.saw_cache("timeout")
    metrics.saw_cache("skipped")
    metrics.saw_cache("hit")
    line = written.line()
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    [directive] = found["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [["Service"]]
    assert abs(found["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    assert found["Service"] == "captions"
    values = {each["Name"]: found[each["Name"]] for each in directive["Metrics"]}
    assert values == {"InFlight": 2, "Waiting": 3, "Requests": 10, "Errors": 1, "Refused": 2, "CacheFailures": 2}
    assert {each["Unit"] for each in directive["Metrics"]} == {"Count"}
    later = json.loads(written.line())
    assert (later["Requests"], later["Refused"], later["CacheFailures"]) == (0, 0, 0)


def test_nothing_is_written_while_no_work_is_taken() -> None:
    ready = [False]
    out = io.StringIO()

    async def some() -> None:
        writing = asyncio.create_task(figures(Metrics()).write(0.01, lambda: ready[0], out))
        await asyncio.sleep(0.05)
        assert out.getvalue() == ""
        ready[0] = True
        while not out.getvalue():
            await asyncio.sleep(0.01)
        writing.cancel()

    asyncio.run(asyncio.wait_for(some(), 10))


def test_a_service_writes_what_it_has_in_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with door(counted_blip("openvino", tmp_path), tmp_path, figures_s=0.05, figures_name="here") as client:
        wait_until_ready(client)
        assert client.post("/v1/caption", json={"images": as_json(photo(1))}).status_code == 200
        assert service(client).in_hand == 0
        lines: list[dict[str, Any]] = []
        deadline = time.monotonic() + 10
        while not sum(line["Requests"] for line in lines) and time.monotonic() < deadline:
            time.sleep(0.05)
            lines += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(line["Requests"] for line in lines) == 1
    assert any(line["InFlight"] > 0 for line in lines)
    assert {line["Service"] for line in lines} == {"here"}


def test_no_line_is_written_unless_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with door(counted_blip("openvino", tmp_path), tmp_path) as client:
        wait_until_ready(client)
    assert capsys.readouterr().out == ""
