"""Two versions of a file to the difference that `git apply` and `patch -p1` take. Knows bytes and lines."""

from __future__ import annotations

import re
from difflib import diff_bytes, unified_diff

_NO_END = b"\\ No newline at end of file\n"


def unified(name: str, before: bytes, after: bytes) -> bytes:
    """name: of the file below the folder to which the difference is applied, with slashes."""
    shown = name.encode(errors="surrogateescape") + (b"\t" if " " in name else b"")
    lines = diff_bytes(unified_diff, _lines(before), _lines(after), b"a/" + shown, b"b/" + shown)
    return b"".join(line if line.endswith(b"\n") else line + b"\n" + _NO_END for line in lines)


def _lines(data: bytes) -> list[bytes]:
    """By line feeds alone: `splitlines` would split at others too."""
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", data)
