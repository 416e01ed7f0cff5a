"""What Locust saw, request by request, and what it comes to. Knows no server and no Locust."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Record:
    """One request. start_s: Unix time; status: of HTTP, 0 where there was no answer, -1 where an answer of 200 holds an
    error; users: how many there were when it ended; size: of what was sent, in bytes."""

    start_s: float
    seconds: float
    task: str
    status: int
    cached: bool
    size: int
    users: int

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.start_s + self.seconds


@dataclass(frozen=True)
class Summary:
    """What the requests of a window come to. answered: those that ended in it, well. rate: of them a second, counted
    from the last answer before the window (the first request, where there is none) to the last one in it, so that
    batches at its edges do not matter.
    percentiles_ms: of the answered. cached: share of those. refused: answered 429. errors: all others, by status."""

    seconds: float
    answered: int
    rate: float
    percentiles_ms: dict[str, float]
    cached: float
    refused: int
    errors: dict[str, int]


def verdict(content: bytes) -> tuple[int, bool]:
    """What an answer of status 200 says: 200, or -1 where it holds an error or no result; and whether all of it was
    cached."""
    try:
        results = json.loads(content)["results"]
        failed = not results or any(result.get("error") for result in results)
        return (-1 if failed else 200), all(result["cached"] for result in results)
    except (ValueError, KeyError, TypeError, AttributeError):
        return -1, False


def write(records: Iterable[Record], path: Path) -> None:
    """As JSON lines."""
    path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records), encoding="utf-8")


def read(path: Path) -> list[Record]:
    """In the order in which they began."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted((Record(**json.loads(line)) for line in lines), key=lambda record: record.start_s)


def summary(records: Sequence[Record], start_s: float, end_s: float) -> Summary:
    """Of the window from start_s to end_s."""
    ended = [record for record in records if start_s <= record.end_s < end_s]
    answered = [record for record in ended if record.status == 200]
    begun_s = min((record.start_s for record in records), default=start_s)
    before = [record.end_s for record in records if record.status == 200 and record.end_s < start_s]
    errors = Counter(str(record.status) for record in ended if record.status not in (200, 429))
    return Summary(
        seconds=round(end_s - start_s, 3),
        answered=len(answered),
        rate=_rate([record.end_s for record in answered], max(before, default=begun_s)),
        percentiles_ms=percentiles_ms([record.seconds for record in answered]),
        cached=sum(record.cached for record in answered) / max(1, len(answered)),
        refused=sum(record.status == 429 for record in ended),
        errors=dict(sorted(errors.items())),
    )


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds: each a time that was measured, the first that so many per cent do not exceed.
    Empty where there is none."""
    if not seconds:
        return {}
    found = np.percentile(np.asarray(seconds) * 1000, PERCENTILES, method="inverted_cdf")
    return {f"p{percent}": round(float(value), 2) for percent, value in zip(PERCENTILES, found, strict=True)}


def _rate(ends_s: Sequence[float], since_s: float) -> float:
    return len(ends_s) / (max(ends_s) - since_s) if ends_s else 0.0
