"""What was found about a picture as JSON, with the heatmaps of its phrases, and overlays, as PNG in base64. Knows no
HTTP and no model."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from openblip.image import ImageLimits, load_image
from openblip.regions import overlay
from openblip.types import Analysis

LONGEST = 1024
"""Side of an overlay in pixels, at most."""


def as_json(analysis: Analysis, overlays: list[str] | None = None) -> bytes:
    """One object. overlays: one a phrase, as `overlays_of` gives them."""
    values = analysis.to_dict()
    drawn: list[str | None] = [None] * len(analysis.groundings) if overlays is None else [*overlays]
    found: list[dict[str, Any]] = []
    for grounding, plain, picture in zip(analysis.groundings, values["groundings"], drawn, strict=True):
        steps = np.rint(grounding.heatmap * 255).astype(np.uint8)
        found.append({**plain, "heatmap": _png(Image.fromarray(steps)), "overlay": picture})
    return json.dumps(values | {"groundings": found}, separators=(",", ":")).encode()


def overlays_of(data: bytes, limits: ImageLimits, analysis: Analysis) -> list[str]:
    """A picture, by its file's bytes, with the heat of each phrase drawn over it."""
    image = load_image(data, limits, LONGEST // 2)
    return [_png(overlay(image, grounding, LONGEST)) for grounding in analysis.groundings]


def _png(image: Image.Image) -> str:
    file = BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
