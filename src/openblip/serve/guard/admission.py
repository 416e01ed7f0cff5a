"""Who may ask, and how often: the key and the rate of each request below /v1. Knows headers and addresses, no route."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from starlette.requests import Request

from openblip.serve.guard.keys import Keys, presented_key, read_keys
from openblip.serve.guard.rates import RateLimit, identity
from openblip.serve.problems import ProblemError
from openblip.serve.settings import ServeSettings

_API = "/v1/"


class Admission:
    """Keys and rates as the settings have them. count: told what the rate limit did.

    Raises OptionError for a file of keys, or a rate, that cannot be used.
    """

    def __init__(self, settings: ServeSettings, count: Callable[[str], None]) -> None:
        self._keys = Keys() if settings.api_keys is None else read_keys(settings.api_keys)
        self._rates = RateLimit(settings.rate, settings.cache().url, count=count) if settings.rate else None

    async def check(self, request: Request) -> None:
        """Raise ProblemError: 401 for a key that is missing or unknown, 429 for one request too many."""
        if not request.url.path.startswith(_API):
            return
        owner = self._owner(request)
        if self._rates is None:
            return
        verdict = await self._rates.check(identity(owner, request.client.host if request.client else ""))
        if not verdict.allowed:
            wait = max(1, ceil(verdict.reset_s))
            headers = {"retry-after": str(wait)}
            raise ProblemError(429, "rate", f"too many requests: ask again in {wait} s", headers)

    async def close(self) -> None:
        """Give up the connections of the rate limit."""
        if self._rates is not None:
            await self._rates.close()

    def _owner(self, request: Request) -> str | None:
        if not self._keys:
            return None
        presented = presented_key(request.headers.raw)
        owner = None if presented is None else self._keys.owner(presented)
        if owner is None:
            detail = "a key is needed: send it as 'Authorization: Bearer ob_...' or 'X-API-Key'"
            if presented is not None:
                detail = "the key is unknown: ask whoever runs the service for one"
            raise ProblemError(401, "key", detail, {"www-authenticate": "Bearer"})
        return owner
