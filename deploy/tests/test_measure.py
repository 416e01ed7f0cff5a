"""What measuring leaves behind, and what it makes of counts; a whole measurement is a slow test of `test_trial.py`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.capacity import measure
from deploy.capacity.engine import Engine, Found


@dataclass(frozen=True)
class Broken(Engine):
    """On core 0 it fails at once, on core 1 it takes a minute."""

    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        words = "raise SystemExit('no weights')" if self.cores == (0,) else "import time; time.sleep(60)"
        command = [sys.executable, "-c", words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process


def test_no_engine_stays_behind_where_another_fails() -> None:
    broken = Broken("mini", None, 1, (), Path("pictures"))
    with pytest.raises(RuntimeError, match="no weights"):
        measure.together(broken, (0, 1))
    assert len(broken.started) == 2
    assert [process.poll() for process in broken.started] == [1, -9]


def test_the_pace_is_what_the_engine_takes_now_beside_the_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "together", lambda *_: Found({1: 0.024, 8: 0.1}, {}, 0.0, 0.0))
    assert round(measure.pace(Broken("mini", None, 1, (), Path("pictures")), (0, 1), {1: 0.02, 8: 0.1}), 4) == 1.1
