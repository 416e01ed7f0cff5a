"""A picture to a small JPEG, and that to what a page holds it as. Knows no page."""

from __future__ import annotations

import base64
import io

from openblip.image import DEFAULT_LIMITS, ImageLimits, ImageSource, load_image

_QUALITY = 70


def thumbnail(source: ImageSource, side: int, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """A JPEG whose longer side has so many pixels, or those of the picture where it has fewer. Raises ImageError."""
    picture = load_image(source, limits, needed=side)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def data_uri(jpeg: bytes) -> str:
    """For the src of an <img>, so that a page stands alone."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
