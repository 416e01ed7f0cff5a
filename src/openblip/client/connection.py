"""What both clients share: how a connection is set up, and what is made of its failures. Knows httpx2, no task."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openblip.client.results import error_of, not_ours
from openblip.client.retries import STATUSES, Attempts
from openblip.errors import MissingExtra, OptionError, ServiceError

if TYPE_CHECKING:
    import httpx2

KEY_VARIABLE = "OPENBLIP_API_KEY"
_CONNECT_S = 5.0


def arguments_of(url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    """Those of httpx2's clients. Raises OptionError on an address or key that cannot be one, and MissingExtra."""
    api_key = api_key or os.environ.get(KEY_VARIABLE, "")
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise MissingExtra("httpx2", "client") from error
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise OptionError(f"{url!r} is no address: give http://host:port") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise OptionError(f"{url!r} is no address of a service: give http://host:port")
    if not timeout_s > 0:
        raise OptionError(f"timeout_s={timeout_s!r} is out of range: give a positive number")
    if not (api_key.isascii() and api_key.isprintable()):
        raise OptionError("the API key holds characters that no key has: give it as it was made")
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
    return {"base_url": parsed, "headers": headers, "timeout": timeout}


def shown(url: httpx2.URL) -> str:
    """An address as messages have it: a password in it is nobody's to read."""
    return str(url.copy_with(userinfo=b"")).rstrip("/")


def wait_after_error(attempts: Attempts, url: str, error: httpx2.RequestError) -> float:
    """How long to wait before the next try. Raises ServiceError where there is none: a time-out had its time, and what
    is wrong with the request stays wrong."""
    import httpx2

    if not isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError | httpx2.ConnectTimeout):
        raise unreachable(url, error) from error
    return attempts.wait_s(unreachable(url, error))


def wait_after_refusal(attempts: Attempts, response: httpx2.Response) -> float:
    """The same after an answer that was read. Raises what the service says is wrong."""
    failure = error_of(response.status_code, _json_or_none(response.content))
    if response.status_code not in STATUSES:
        raise failure
    return attempts.wait_s(failure, response.headers.get("retry-after"))


def parsed_answer(response: httpx2.Response) -> Mapping[str, Any]:
    """Its JSON. Raises ServiceError where it is none."""
    found = _json_or_none(response.content)
    if not isinstance(found, dict):
        raise not_ours(response.text, response.status_code)
    return found


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def unreachable(url: str, error: Exception) -> ServiceError:
    """For a connection that failed."""
    why = " ".join(str(error).split()) or type(error).__name__
    return ServiceError(f"no answer from {url} ({why}): check that it runs there")
