"""The image itself: its Dockerfile is run, and what comes of it is asked for everything.

Takes some minutes, and registries of packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.container.engine import missing_programs
from deploy.container.wheels import wheels
from required import lacking

CHECKOUT = Path(__file__).resolve().parents[2]
MAX_BYTES = 500_000_000  # of the image without weights


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_dockerfile_makes_an_image_that_serves(tmp_path: Path) -> None:
    missing = missing_programs()
    if missing or os.geteuid():
        lacking("PROGRAMS", f"needs root, and of Debian's packages: {', '.join(missing) or 'all are there'}")
    figures = tmp_path / "figures.json"
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "src")])
    command = [sys.executable, "-m", "deploy.container.prove", "--starts", "1", "--json", str(figures)]
    work = os.environ.get("OPENBLIP_IMAGE_WORK")  # keeps the layers for the next time
    command += ["--work", work] if work else []
    done = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["bytes"]["none"] < MAX_BYTES
    assert 20e6 < found["bytes"]["mini"] - found["bytes"]["none"] < 40e6, "the weights of mini, and nothing else"
    assert max(found["starts"]["a later start"]) < 20


@pytest.mark.slow
@pytest.mark.parametrize("extras", ["serve", "serve,search"])
def test_every_package_has_a_wheel_for_arm64(extras: str) -> None:
    found = wheels("aarch64", extras.split(","))
    compiled = {name.split("-")[0] for name in found if "aarch64" in name}
    assert {"openvino", "numpy", "pillow", "tokenizers"} <= compiled
    assert not [name for name in found if "x86_64" in name or not name.endswith(".whl")]
