"""What compose.yaml says of a service, as options of `podman run`, so that the proof runs the image under the very
restrictions that users run it under. Knows the keys that file uses; another one is an error and not passed over.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

# Of the build, of other services, or of who may reach it: nothing that the process in the container sees.
_ELSEWHERE = {"image", "build", "ports", "depends_on", "restart", "profiles", "healthcheck"}
_SPAN = re.compile(r"(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?$")


def read_compose(checkout: Path) -> dict[str, Any]:
    """The file as it is; its anchors are resolved."""
    return dict(yaml.safe_load((checkout / "compose.yaml").read_text(encoding="utf-8")))


def seconds(span: str) -> int:
    """Of a duration such as 1m30s. Raises ValueError."""
    found = _SPAN.match(span)
    if not span or found is None:
        raise ValueError(f"{span!r} is no duration such as 30s or 1m30s")
    return 60 * int(found["minutes"] or 0) + int(found["seconds"] or 0)


def run_options(service: dict[str, Any]) -> list[str]:
    """Of `podman run`. Raises ValueError for a key that is not known here."""
    options: list[str] = []
    for key, value in service.items():
        if key == "read_only":
            options += ["--read-only", "--read-only-tmpfs=false"] if value else []
        elif key == "stop_grace_period":
            options += ["--stop-timeout", str(seconds(value))]
        elif key == "environment":
            options += [part for name, setting in value.items() for part in ("--env", f"{name}={setting}")]
        elif key in _OF_PODMAN:
            options += [part for each in value for part in (_OF_PODMAN[key], each)]
        elif key not in _ELSEWHERE:
            raise ValueError(f"compose.yaml has the key {key}, and the proof does not know what it means to podman")
    return options


_OF_PODMAN = {"cap_drop": "--cap-drop", "security_opt": "--security-opt", "tmpfs": "--tmpfs", "volumes": "--volume"}
