"""The real thing, where a hub can be reached: the published checkpoints are fetched and must give what was published.

Run with: pytest -m hub tests/hub (gigabytes to fetch, minutes to run).
"""

from __future__ import annotations

import json
import subprocess

import pytest

from command_line import COMMAND

pytestmark = [pytest.mark.hub, pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.mark.parametrize(("name", "checks"), [("base", 5), ("large", 1)])
def test_a_set_gives_what_was_published(name: str, checks: int) -> None:
    subprocess.run([*COMMAND, "pull", name], check=True)
    done = subprocess.run([*COMMAND, "verify", name, "--json"], check=False, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)["checks"]
    assert len(found) == checks
    assert [check for check in found if not check["matched"]] == []
    assert done.returncode == 0
