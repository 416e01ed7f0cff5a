"""The capacity plan from end to end, with short loads: its tables, its plot, its arithmetic."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from deploy.capacity import plan, plot, report
from deploy.capacity.__main__ import main
from deploy.capacity.curves import Curves
from deploy.capacity.task import TaskSize
from deploy.pages import CHECKOUT
from deploy.settings import Scaling, Settings

SLOW = Curves("slow", 2, {1: 0.6, 8: 4.0}, 0.007, 0.1, 0.003, 0.0006, 3.0)
SIZE = TaskSize(cores=2.0, max_batch=8, max_queue=16, max_requests=32)


def test_a_plan_is_made_written_and_drawn(tmp_path: Path) -> None:
    basis = plan.Basis(SLOW, Settings(), SIZE, quick=True)
    found = {
        "one_task": plan.one_task(basis), "bounds": plan.bounds(basis), "policies": plan.policies(basis),
        "days": plan.days(basis), "internet": plan.internet(basis),
    }  # fmt: skip
    shares = {row["share"]: row for row in found["one_task"]}
    assert shares[0.3]["p99_s"] < shares[0.9]["p99_s"]
    assert shares[0.3]["refused"] == 0 < shares[1.2]["refused"]
    assert_allclose(shares[1.2]["rate"], basis.task_rate(), rtol=0.15)
    hot = found["days"][2]
    assert hot["cached"] > found["days"][1]["cached"]
    thousand = next(row for row in found["internet"] if (row["rate"], row["hit"]) == (1000, 0.0))
    assert_allclose(thousand["tasks"], 1000 / basis.task_rate() / 0.7, rtol=0.01)
    task = {"vcpus": 2, "memory_gb": 4, "dollars_hour": 0.0987, "prices_on": "2026-11-23", "rate": basis.task_rate()}
    chosen = found["policies"][0]
    result = {**found, "chosen": chosen, "curves": asdict(SLOW), "size": asdict(SIZE), "task": task}
    text = report.markdown(result)
    for table in text.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1
    assert f"| **{chosen['requests']}** | **{chosen['target']:g}** | **{chosen['minimum']}** |" in text
    assert "one from the cache: 3.0 ms; one that is" in text
    by_hand = replace(SLOW, notes={"cached_s": "as measured with mini"})
    text = report.markdown({**result, "curves": asdict(by_hand)})
    assert "set by hand: a request from the cache, 3.0 ms (as measured with mini)" in text
    assert "one from the cache" not in text, "it stands among what was measured"
    plot.draw(result, tmp_path / "capacity.svg")
    assert "chosen" in (tmp_path / "capacity.svg").read_text(encoding="utf-8")


def test_a_deployment_of_few_tasks_is_planned_within_its_maximum() -> None:
    few = Settings(scaling=Scaling(minimum=1, maximum=1, scheduled=()))
    found = plan.policies(plan.Basis(SLOW, few, SIZE, quick=True))
    assert {row["minimum"] for row in found} == {1}
    assert max(row["most_tasks"] for row in found) == 1


def test_the_plan_of_given_settings_is_theirs_and_leaves_the_page_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text(
        "[drain]\nrequest_s = 10\n[scaling]\nminimum = 1\nmaximum = 2\nscheduled = []\n"
        "[service.limits]\nmax_queue = 8\n",
        encoding="utf-8",
    )
    page, kept = CHECKOUT / "docs" / "capacity.md", CHECKOUT / "deploy" / "capacity" / "plan.json"
    before = page.read_bytes(), kept.read_bytes()
    output = tmp_path / "plan.json"
    command = ["capacity", "plan", "--quick", "--settings", str(settings), "--output", str(output)]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 0
    told = capsys.readouterr()
    assert "The policy of the settings under three loads" in told.out
    assert "the settings serve mini, the curves are of base-random" in told.err
    found = json.loads(output.read_text(encoding="utf-8"))
    assert (found["chosen"], found["size"]["max_queue"], found["size"]["timeout_s"]) == (None, 8, 10.0)
    assert found["scaling"]["maximum"] == 2
    assert (page.read_bytes(), kept.read_bytes()) == before


def test_the_curves_that_are_kept_can_be_read() -> None:
    for name in ("mini", "base-random"):
        assert Curves.read(CHECKOUT / "deploy" / "capacity" / "curves" / f"{name}.json").model == name
