"""Which addresses a service may fetch for a stranger: https, one plain host, and public IP addresses alone.

Pure rules: resolves no name and opens no connection. Python's `is_global` is not enough: it holds multicast for global,
and until 3.11.10 and 3.12.4 (CVE-2024-4032) ranges that are not. Source of the ranges: IANA's special-purpose address
registries of IPv4 and IPv6.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import quote, urlsplit

import idna

from openblip.errors import ImageError

HTTPS_PORT = 443
LONGEST_URL = 2048

_NETLOC = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[^:\[\]%]{1,1000}))(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253

# What Python calls global in some version or other, and a stranger has no business with.
_NOT_PUBLIC_V4 = [
    IPv4Network(network)
    for network in (
        "100.64.0.0/10",  # behind a carrier's or cloud's NAT
        "168.63.129.16/32",  # Azure's host, reachable from its virtual machines alone
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata lies there
        "192.88.99.0/24",  # relays of 6to4
    )
]
_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: holds an IPv4 address
        "3fff::/20",  # documentation
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Target:
    """Where one request goes: all that is checked and all that is used come from here."""

    host: str
    """Lower case ASCII: a name without a dot at its end, or an IP address without brackets."""
    port: int
    path: str
    """Path and query, percent-encoded."""
    literal: IPv4Address | IPv6Address | None
    """The host's IP address where it is written as one."""

    @property
    def authority(self) -> str:
        """What the header Host says."""
        host = f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address, without a fragment."""
        return f"https://{self.authority}{self.path}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a unicast address of the public internet."""
    if isinstance(address, IPv4Address):
        return (
            address.is_global
            and not (address.is_multicast or address.is_reserved)
            and not any(address in network for network in _NOT_PUBLIC_V4)
        )
    if address.scope_id is not None:
        return False
    if address in _NAT64:  # an IPv4 address as networks of IPv6 alone see it
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _UNICAST_V6 and address.is_global and not any(address in network for network in _NOT_PUBLIC_V6)


def parse_url(url: str, ports: Collection[int] = (HTTPS_PORT,)) -> Target:
    """The parts of an address that may be fetched, as far as the address alone tells.

    Raises ImageError for anything but https, for a user, a port that is not among `ports`, characters that programs
    read differently, and a host that is neither a full name nor an IP address in its usual spelling.
    """
    if len(url) > LONGEST_URL:
        raise ImageError(f"the picture's address is longer than {LONGEST_URL} characters: send the picture itself")
    if not url.isprintable() or any(char.isspace() or char == "\\" for char in url):
        raise ImageError(
            "the picture's address holds a space, a backslash or an invisible character: write them as %XX"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _unreadable() from None
    if parts.scheme != "https":
        raise ImageError(f"the picture's address begins with {parts.scheme[:20]!a}: give https://, or send the picture")
    if "@" in parts.netloc:
        raise ImageError("the picture's address holds a user name: only addresses without one are fetched")
    match = _NETLOC.fullmatch(parts.netloc)
    if match is None:
        raise _unreadable()
    port = int(match["port"] or HTTPS_PORT)
    if port not in ports:
        raise ImageError(f"the picture's address names port {port}: only {_listed(ports)} is fetched")
    literal: IPv4Address | IPv6Address | None = _ipv6(match["six"]) if match["six"] else None
    host = str(literal) if literal else _host(match["name"])
    if literal is None and _NUMBER.fullmatch(host.rpartition(".")[2]):
        literal = _ipv4(host)
    elif literal is None and "." not in host:
        raise not_public(host)
    path = quote(parts.path or "/", safe="%/:=&~+!$,;'@()*")
    query = quote(parts.query, safe="%/:=&?~+!$,;'@()*[]")
    return Target(host, port, f"{path}?{query}" if query else path, literal)


def not_public(host: str) -> ImageError:
    """One line for a host that has no public address and for one that does not exist: inside names stay unknown."""
    return ImageError(f"{host} is not the name of a public server: check the address, or send the picture itself")


def _host(text: str) -> str:
    """A name in lower case ASCII, without a dot at its end. Raises ImageError."""
    name = text.lower()
    if not text.isascii():
        try:
            name = idna.encode(text, uts46=True, std3_rules=True).decode("ascii").lower()
        except UnicodeError:
            raise _unreadable() from None
    name = name.removesuffix(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise _unreadable()
    return name


def _ipv4(text: str) -> IPv4Address:
    """Four decimal numbers; the short, octal and hexadecimal spellings are read differently by different programs."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise _unreadable() from None


def _ipv6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise _unreadable() from None


def _unreadable() -> ImageError:
    return ImageError("the picture's address has no host that can be read: give https://, a full name and a path")


def _listed(ports: Collection[int]) -> str:
    return " or ".join(str(port) for port in sorted(ports))
