"""Settings of a run, as plain values: which differ, and a short name for them. Knows no run."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Which settings differ, and how."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new, path = before.get(name), now.get(name), prefix + name
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{path}.")
        elif old != new:
            found.append(f"{path} was {json.dumps(old)}, is {json.dumps(new)}")
    return found


def short_hash(values: Any) -> str:
    """Of plain types: the same for the same values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
