"""Where results are kept, how long, and how much a failing cache may cost a request; knows no store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from openblip.errors import OptionError

NOWHERE = "none"
_SCHEMES = ("redis", "rediss")
_PARAMETERS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")


@dataclass(frozen=True)
class CacheSettings:
    """Settings of the result cache, validated at construction.

    `url` is "" (on disk, below `folder`), "none", or `redis[s]://[user:password@]host[:port][/db]`, of Redis or Valkey;
    TLS takes the parameters `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs` and `ssl_check_hostname`.
    It may hold a password: `repr` and every message leave it out, `place` is what may be shown.

    Raises OptionError for a value outside its range.
    """

    url: str = field(default="", repr=False)
    folder: Path | None = None
    ttl_s: float = 7 * 86_400
    """How long a result is kept."""
    max_bytes: int = 1_000_000_000
    """Bound of the cache on disk; the oldest goes first. Redis has its own: `maxmemory`."""
    max_value_bytes: int = 1_000_000
    """A longer result is not kept."""
    timeout_s: float = 0.1
    """What one cache operation may take before the request goes on without it."""
    circuit_failures: int = 5
    """After so many failures in a row the cache is left alone."""
    circuit_retry_s: float = 2.0
    """After so long it is tried again, by one operation at a time."""
    lock_s: float = 1.0
    """A process that computes renews its lock; so long after it died another one computes."""
    wait_s: float = 5.0
    """How long one process waits at most for another's computation before it computes too."""

    def __post_init__(self) -> None:
        for name in ("ttl_s", "timeout_s", "circuit_retry_s", "lock_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise OptionError(f"{name} of the cache is {getattr(self, name)}: give seconds above 0")
        if not 0 <= self.wait_s < float("inf"):
            raise OptionError(f"wait_s of the cache is {self.wait_s}: give seconds from 0 on")
        if self.lock_s < 2 * self.timeout_s:
            raise OptionError(
                f"lock_s of the cache is {self.lock_s}: give at least twice timeout_s ({self.timeout_s}), "
                "or a lock runs out while it is renewed"
            )
        if self.circuit_failures < 1:
            raise OptionError(f"circuit_failures of the cache is {self.circuit_failures}: give 1 or more")
        if self.max_bytes < 1_000_000:
            raise OptionError(f"max_bytes of the cache is {self.max_bytes:,}: give 1,000,000 or more")
        if not 1 <= self.max_value_bytes <= self.max_bytes:
            raise OptionError(
                f"max_value_bytes of the cache is {self.max_value_bytes:,}: give 1 to max_bytes ({self.max_bytes:,})"
            )
        if self.url:
            _check_url(self.url)
        elif self.folder is None:
            raise OptionError("the cache on disk has no folder: name one, or give the URL 'none' or redis://host")

    @property
    def place(self) -> str:
        """Where results are kept, without user, password and parameters."""
        if not self.url:
            return str(self.folder)
        if self.url == NOWHERE:
            return "nowhere"
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"


def _check_url(url: str) -> None:
    """Raise OptionError unless redis can use it; no message shows a part of the URL that may hold a password."""
    if url == NOWHERE:
        return
    scheme, found, _ = url.partition("://")
    if not found or scheme not in _SCHEMES:
        raise OptionError(
            "the cache URL begins with none of redis:// and rediss://: give one of them, 'none' for no cache, "
            "or nothing for one on disk"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text quotes the URL
        port, parts = 0, None
    if parts is None or port == 0 or parts.fragment:
        raise OptionError(
            "the cache URL cannot be read: give redis://user:password@host:port/0, and write special characters of the "
            "password as %XX (/ is %2F, # is %23, @ is %40)"
        )
    if not parts.hostname:
        raise OptionError("the cache URL names no host: give redis://host:6379/0")
    if not parts.path.strip("/").isdigit() and parts.path not in ("", "/"):
        raise OptionError("the path of the cache URL is no number: give that of a Redis database, as in redis://host/0")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise OptionError(f"the cache URL has an unknown parameter: give any of {', '.join(_PARAMETERS)}")
        if scheme == "redis":
            raise OptionError(f"the cache URL has {name} without TLS: write rediss://")
