"""What a scan found stands against an image until it is accepted, by name, for a time."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from deploy.findings import accepted, left
from deploy.tests.conftest import CHECKOUT

TODAY = date(2026, 11, 23)
SCAN: dict[str, Any] = {
    "findings": [
        {"name": "CVE-1", "severity": "HIGH"},
        {"name": "CVE-2", "severity": "CRITICAL"},
        {"name": "CVE-3", "severity": "LOW"},
    ],
    "findingSeverityCounts": {"HIGH": 1, "CRITICAL": 1, "LOW": 1},
}


def test_what_is_grave_stands_until_it_is_accepted() -> None:
    assert left(SCAN, set()) == ["HIGH CVE-1", "CRITICAL CVE-2"]
    assert left(SCAN, {"CVE-1"}) == ["CRITICAL CVE-2"]
    assert left(SCAN, {"CVE-1", "CVE-2"}) == []
    assert left({}, set()) == []


def test_what_is_counted_and_not_named_cannot_be_accepted() -> None:
    enhanced = {"findings": None, "findingSeverityCounts": {"HIGH": 3}}
    assert left(enhanced, {"CVE-1"}) == ["3 more, without a name"]


def test_an_acceptance_ends() -> None:
    text = "# why\n\nCVE-1 2026-11-23 no fix yet\nCVE-2 2026-11-22 no fix yet\n"
    assert accepted(text, TODAY) == {"CVE-1"}


@pytest.mark.parametrize("line", ["CVE-1", "CVE-1 2026-11-23", "CVE-1 soon no fix"])
def test_a_line_without_a_day_or_a_reason_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2, .*write a finding, the last day"):
        accepted(f"\n{line}\n", TODAY)


def test_what_is_accepted_here_can_be_read() -> None:
    accepted((CHECKOUT / "deploy" / "accepted.txt").read_text(encoding="utf-8"), TODAY)
