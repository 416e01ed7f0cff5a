"""A circuit breaker: what keeps failing is left alone for a while.

Knows counts and a clock, not what is being tried. Written here because the asyncio breakers on the package index are no
longer kept, and the kept one (pybreaker) knows Tornado's coroutines alone.
"""

from __future__ import annotations

import time


class Circuit:
    """Closed until `failures` attempts in a row failed, then open for `retry_s` seconds, then open but for one trial.

    Whoever asked `allows` and was let through reports once: `succeeded`, `failed` or `abandoned`.
    Source of the three states: Nygard, Release It!, chapter 5.
    """

    def __init__(self, failures: int, retry_s: float) -> None:
        self._limit = failures
        self._retry_s = retry_s
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether attempts are refused, but for the trials."""
        return self._opened_at is not None

    def allows(self) -> bool:
        """Whether to attempt it now; an open circuit lets one trial through once `retry_s` have passed."""
        if self._opened_at is None:
            return True
        if self._trying or time.monotonic() - self._opened_at < self._retry_s:
            return False
        self._trying = True
        return True

    def succeeded(self) -> bool:
        """Close the circuit; True if it was open."""
        was_open = self.is_open
        self._failures = 0
        self._opened_at = None
        self._trying = False
        return was_open

    def failed(self) -> bool:
        """Note a failure; True if it opened the circuit, which a failed trial does not: it only keeps it open."""
        self._failures += 1
        if self._trying:
            self._trying = False
            self._opened_at = time.monotonic()
        elif self._opened_at is None and self._failures >= self._limit:
            self._opened_at = time.monotonic()
            return True
        return False

    def abandoned(self) -> None:
        """The attempt ended without an answer, because whoever wanted it went away: the next one may try."""
        self._trying = False
