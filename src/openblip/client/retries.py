"""When a request is sent again: what failed, how often, how long apart. Knows statuses and clocks, no connection."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from openblip.errors import OpenBlipError, OptionError

STATUSES = frozenset({429, 502, 503, 504})
_FIRST_S, _LONGEST_S = 0.25, 8.0


@dataclass(frozen=True, slots=True)
class Retries:
    """At most so many, none of which begins later than within_s after the first try; 0 of either for none.

    Raises OptionError on a negative number.
    """

    times: int = 5
    within_s: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("times", self.times), ("within_s", self.within_s)):
            if not value >= 0:  # also refuses NaN
                raise OptionError(f"retries: {name}={value!r} is negative: give 0 or more")


class Attempts:
    """Those of one request."""

    def __init__(
        self,
        retries: Retries,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._retries, self._clock, self._jitter = retries, clock, jitter
        self._end, self._failed = clock() + retries.within_s, 0

    def wait_s(self, failure: OpenBlipError, retry_after: str | None = None) -> float:
        """How long to wait before the next one: twice as long each time, by chance down to half of it, and no less than
        the service's Retry-After. Raises the failure where there is none."""
        longest = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._failed, 10))
        wait = max(self._jitter(longest / 2, longest), _seconds(retry_after))
        self._failed += 1
        if self._failed > self._retries.times or self._clock() + wait > self._end:
            raise failure
        return wait


def _seconds(retry_after: str | None) -> float:
    """Of the header, in seconds or as a date; 0 where it says neither."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
