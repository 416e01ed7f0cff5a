"""What the registry's scan found, and what of it was accepted. Run by deploy/scripts/image.sh, on plain Python 3.11:
`findings.py ACCEPTED`, where the registry's answer is on stdin. Knows no AWS.

A line of ACCEPTED is a finding's name, the last day on which it is accepted, and why: what has no fix yet must not hold
up all else for ever, nor be forgotten.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

GRAVE = ("HIGH", "CRITICAL")


def accepted(text: str, today: date) -> set[str]:
    """Names that are accepted on a day. Raises ValueError that names a line without a name, a day and a reason."""
    names = set()
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split("#", 1)[0].split(maxsplit=2)
        if not parts:
            continue
        try:
            name, until, _ = parts
            last = date.fromisoformat(until)
        except ValueError:
            raise ValueError(f"line {number}, {line!r}: write a finding, the last day as 2026-12-31, and why") from None
        if today <= last:
            names.add(name)
    return names


def left(answer: dict[str, Any], names: set[str]) -> list[str]:
    """What is grave and not accepted. A scan that counts more than it names cannot be accepted by name."""
    found = [each for each in answer.get("findings") or [] if each["severity"] in GRAVE]
    counts = answer.get("findingSeverityCounts") or {}
    unnamed = sum(counts.get(severity, 0) for severity in GRAVE) - len(found)
    grave = [f"{each['severity']} {each['name']}" for each in found if each["name"] not in names]
    return grave + [f"{unnamed} more, without a name"] * (unnamed > 0)


def main() -> int:
    """Prints what stands against an image, and ends with 1 where anything does."""
    path = Path(sys.argv[1])
    try:
        names = accepted(path.read_text(encoding="utf-8") if path.is_file() else "", date.today())
    except ValueError as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 2
    grave = left(json.load(sys.stdin) or {}, names)
    for each in grave:
        sys.stderr.write(f"{each}: take a newer base or package, or accept it in {path} with a day and a reason\n")
    return bool(grave)


if __name__ == "__main__":
    sys.exit(main())
