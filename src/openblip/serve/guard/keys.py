"""API keys: made here, kept as hashes in a file, and compared in constant time. Knows no request and no rate.

A key is 256 random bits, so a plain SHA-256 of it is safe at rest: no one can try all of them, and two are never alike.
A slow, salted hash (argon2, bcrypt) is for passwords, which people choose from few; here it would only cost every
request a tenth of a second and give an attacker that lever.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from openblip.errors import OptionError

PREFIX = "ob_"
"""Every key begins with it, so that scanners for leaked secrets know one when they see it."""

_RANDOM_BYTES = 32
_LONGEST_KEY = 256
_LONGEST_FILE_BYTES = 10_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Keys:
    """Owners and the hashes of their keys; an empty one means that the service is open.

    An owner may have several keys, so that an old one goes on working while a new one is handed out.
    """

    entries: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """Name and SHA-256 of the key, 32 bytes, in the order of the file."""

    def __bool__(self) -> bool:
        return bool(self.entries)

    def owner(self, presented: str) -> str | None:
        """Whose key it is, or None. Compares with every entry, so that the time tells nothing."""
        hashed = _hash(presented[:_LONGEST_KEY])
        found = None
        for name, known in self.entries:
            if hmac.compare_digest(hashed, known):
                found = name
        return found if len(presented) <= _LONGEST_KEY else None


def new_key(name: str) -> tuple[str, str]:
    """A fresh key for an owner, and the line for the file of keys, which does not hold the key.

    Raises OptionError for a name that a line cannot hold.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(f"{name[:70]!a} cannot name a key's owner: give 1 to 64 letters, digits and any of . _ @ -")
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return key, f"{name} {_hash(key).hex()}"


def read_keys(path: Path) -> Keys:
    """The keys of a file with a line `name sha256hex` each; empty lines and those that begin with # are left out.

    Raises OptionError for a file that cannot be read, holds no key (the service would be open by mistake) or has a line
    of another form; it gives the number of the line and nothing of what the line holds.
    """
    try:
        if path.stat().st_size > _LONGEST_FILE_BYTES:
            raise OptionError(f"the file of keys {path} is larger than {_LONGEST_FILE_BYTES:,} bytes: name another one")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(f"the file of keys {path} is no text: give lines 'name sha256hex'") from None
    except OSError as error:
        raise OptionError(f"the file of keys {path} cannot be read ({error.strerror}): check path and rights") from None
    entries: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, hashed = _parsed(line, f"line {number} of the file of keys {path}")
        if hashed in entries:
            raise OptionError(f"line {number} of the file of keys {path} repeats a key: give each key once")
        entries[hashed] = name
    if not entries:
        raise OptionError(f"the file of keys {path} holds no key: add one, or name no file and leave the service open")
    return Keys(tuple((name, hashed) for hashed, name in entries.items()))


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key in the headers of a request, as ASGI gives them: `Authorization: Bearer …`, else `X-API-Key: …`.

    None where there is neither. A header that comes twice is as good as a wrong key: "".
    """
    bearers, others = [], []
    for name, value in headers:
        match name.lower():
            case b"authorization":
                scheme, _, key = value.strip().partition(b" ")
                if scheme.lower() == b"bearer":  # Basic may be meant for a proxy
                    bearers.append(key)
            case b"x-api-key":
                others.append(value)
    given = bearers or others
    if not given:
        return None
    return given[0].strip().decode("latin-1") if len(given) == 1 else ""


def _parsed(line: str, where: str) -> tuple[str, bytes]:
    name, _, hashed = line.strip().partition(" ")
    hashed = hashed.strip().lower()
    if _HASH.fullmatch(hashed) and _NAME.fullmatch(name):
        return name, bytes.fromhex(hashed)
    if PREFIX in line:
        raise OptionError(f"{where} holds a key itself: keep its SHA-256 there, and replace the key")
    raise OptionError(f"{where} cannot be read: give a name, a space and the 64 hex digits of the key's SHA-256")


def _hash(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
