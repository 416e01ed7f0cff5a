"""What every evaluation shares: samples at hand, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from openblip.errors import DataError

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

Item = TypeVar("Item")


def at_hand(items: Iterable[Item], what: str = "samples") -> list[Item]:
    """All of them. Raises DataError where there are none."""
    found = list(items)
    if not found:
        raise DataError(f"the data set holds no {what}: there is nothing to evaluate")
    return found


def tell(progress: Progress | None, stage: str, done: int, total: int) -> None:
    """Say how far a stage is, to whoever listens."""
    if progress is not None:
        progress(stage, done, total)
