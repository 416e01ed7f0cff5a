"""What a trial makes of what it saw: what counts as lost, when it ends with 1, and what of earlier runs it keeps."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from deploy.capacity.arrivals import steady
from deploy.capacity.curves import Curves
from deploy.trial import drills, report
from deploy.trial.__main__ import RESULTS, _capacity, _merged, _wrong
from deploy.trial.client import Sent
from deploy.trial.stand import Seen, Setup
from deploy.trial.tasks import Recipe

CURVES = Curves("none", 1, {1: 0.02}, 0.0, 0.001, 0.001, 0.0003, 1.0)


@pytest.mark.parametrize(
    ("first", "status", "broken", "lost"),
    [
        (200, 200, 0, 0), (429, 200, 0, 0), (429, 429, 0, 0), (502, 200, 1, 0), (0, 200, 1, 0),
        (502, 429, 1, 1), (429, 502, 0, 1), (502, 502, 1, 1), (0, 0, 1, 1), (-1, -1, 1, 1),
    ],
)  # fmt: skip
def test_lost_is_what_was_accepted_and_has_no_caption(first: int, status: int, broken: int, lost: int) -> None:
    seen = Seen([Sent(0.5, 0.1, status, first, 2, False)], 0.0, {})
    found = drills._found("one", seen, steady(1.0, 2.0))
    assert (found["broken"], found["lost"]) == (broken, lost)


def _row(load: str, failed: int) -> dict[str, Any]:
    figures = {"rate": 10.0, "p99_ms": 100.0, "refused": 0.5}
    return {"load": load, "measured": {**figures, "failed": failed}, "simulated": figures}


def test_a_trial_fails_where_something_was_lost_failed_or_was_not_seen() -> None:
    fine = {"rows": [_row("30%", 0), _row("saturation", 0)]}
    assert _wrong({"compare": fine, "rolling": {"lost": 0, "within_load": True}, "kills": {"lost": 0}}) == []
    bad = {"rows": [_row("30%", 0), _row("saturation", 2)]}
    assert _wrong({"compare": bad}) == ["saturation: 2 requests failed"]
    [line] = _wrong({"rolling": {"lost": 0, "within_load": False}})
    assert "over before the deployment" in line
    assert _wrong({"kills": {"lost": 3}}) == ["kills: 3 lost"]


def _arguments(output: Path, parts: str, model: str) -> Namespace:
    return Namespace(output=output, parts=parts, model=model, seconds=30.0, soak=20.0, scale=1.0)


def _compared(capacity: float) -> dict[str, Any]:
    return {"capacity": capacity, "tasks": 2, "rows": [], "seconds": 30.0, "outside_ms": 1.0}


def test_a_part_keeps_when_where_and_of_what_it_was_measured(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    one = _merged({"compare": _compared(70.0)}, {}, 0.25, _arguments(output, "compare", "mini"))
    output.write_text(json.dumps(one), encoding="utf-8")
    both = _merged({"hang": {"lost": 0}}, {}, 1.5, _arguments(output, "hang", "other"))
    assert both["runs"]["compare"] == one["runs"]["compare"]
    assert [both["runs"][part]["model"] for part in ("compare", "hang")] == ["mini", "other"]
    notes = report._notes(both)
    assert "Model: mini. openblip" in notes
    assert "- `python -m deploy.trial --parts compare --seconds 30`: 20" in notes
    assert notes.index("load before: 0.25") < notes.index("Model: other.") < notes.index("load before: 1.5")


def test_the_capacity_is_of_this_run_or_of_one_with_the_same_model_and_tasks(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    known = _merged({"compare": _compared(70.0)}, {}, 0.1, _arguments(output, "compare", "mini"))
    output.write_text(json.dumps(known), encoding="utf-8")

    def capacity(model: str = "mini", tasks: int = 2, compared: Any = None) -> float:
        setup = Setup(tmp_path, tmp_path, Recipe(model, tmp_path), tasks=tasks)
        return _capacity(CURVES, setup, compared, output)

    assert capacity() == 70.0
    assert capacity(compared=_compared(50.0)) == 50.0
    assert capacity(model="other") == capacity(tasks=3) != 70.0


def test_the_kept_results_say_of_each_part_how_it_was_measured() -> None:
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert kept["runs"].keys() == {"compare", *kept["drills"]}
    assert {run["model"] for run in kept["runs"].values()} == {"mini"}
