"""The `openblip` command in a process of its own. Knows no test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

COMMAND = [sys.executable, "-m", "openblip"]


def start(
    arguments: Sequence[str], settings: dict[str, str] | None = None, **streams: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], text=True, check=False, timeout=120, env={**os.environ, **(settings or {})}, **streams
    )


def with_model(model: str) -> list[str]:
    return ["--model", model, "--precision", "f32", "--threads", "1"]
