"""The bytes of a picture -> what they say of themselves: hash, size, when it was taken. Decodes no pixel."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from openblip.errors import ImageError
from openblip.image import DEFAULT_LIMITS, ImageLimits, open_header
from openblip.library.records import Facts

_EXIF, _ORIENTATION = 0x8769, 0x0112
_TAKEN, _DIGITISED, _CHANGED = 0x9003, 0x9004, 0x0132
_LYING = (5, 6, 7, 8)  # orientations that swap width and height


def read_facts(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Facts:
    """Of a picture that cannot be opened only the hash is known: encoding it says what is wrong with it."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        image = open_header(content, limits=limits)
    except ImageError:
        return Facts(digest, 0, 0)
    width, height = image.size
    try:
        exif = image.getexif()
        if exif.get(_ORIENTATION) in _LYING:
            width, height = height, width
        taken = _taken(exif)
    except Exception:  # noqa: BLE001 (broken metadata does not make a picture unreadable)
        taken = None
    return Facts(digest, width, height, taken)


def _taken(exif: Any) -> datetime | None:
    """The first of the fields that hold a moment."""
    own = exif.get_ifd(_EXIF)
    for value in (own.get(_TAKEN), own.get(_DIGITISED), exif.get(_CHANGED)):
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace")
        try:
            return datetime.strptime(str(value).strip("\x00 ")[:19], "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
    return None
