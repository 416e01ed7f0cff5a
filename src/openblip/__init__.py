"""openblip: BLIP captions, image-text scores and embeddings from a fast, torch-free engine.

This file knows only where the public names live; each is imported when it is first asked for, so that `import openblip`
is quick and pulls in neither torch nor openvino.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take this name for typing's own, whose import costs more than all of this file
if TYPE_CHECKING:
    from openblip.client import AsyncClient, Client
    from openblip.errors import (
        CheckpointError,
        DataError,
        ImageError,
        InputError,
        MissingExtra,
        ModelError,
        ModelNotFound,
        OpenBlipError,
        OptionError,
        ServiceError,
        TextError,
        TrainingError,
    )
    from openblip.pipeline import Blip, CaptionStream, Outcome
    from openblip.types import (
        Analysis,
        Answer,
        Box,
        Caption,
        CaptionPiece,
        Embedding,
        GenerateOptions,
        Grounding,
        GroundOptions,
        Match,
        Tag,
        TagOptions,
        Timing,
    )

    __version__: str

_HOMES = {
    "openblip.client": ("AsyncClient", "Client"),
    "openblip.errors": (
        "CheckpointError",
        "DataError",
        "ImageError",
        "InputError",
        "MissingExtra",
        "ModelError",
        "ModelNotFound",
        "OpenBlipError",
        "OptionError",
        "ServiceError",
        "TextError",
        "TrainingError",
    ),
    "openblip.pipeline": ("Blip", "CaptionStream", "Outcome"),
    "openblip.types": (
        "Analysis",
        "Answer",
        "Box",
        "Caption",
        "CaptionPiece",
        "Embedding",
        "GenerateOptions",
        "GroundOptions",
        "Grounding",
        "Match",
        "Tag",
        "TagOptions",
        "Timing",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Analysis",
    "Answer",
    "AsyncClient",
    "Blip",
    "Box",
    "Caption",
    "CaptionPiece",
    "CaptionStream",
    "CheckpointError",
    "Client",
    "DataError",
    "Embedding",
    "GenerateOptions",
    "GroundOptions",
    "Grounding",
    "ImageError",
    "InputError",
    "Match",
    "MissingExtra",
    "ModelError",
    "ModelNotFound",
    "OpenBlipError",
    "OptionError",
    "Outcome",
    "ServiceError",
    "Tag",
    "TagOptions",
    "TextError",
    "Timing",
    "TrainingError",
    "__version__",
]


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        from importlib.metadata import version

        value = version("openblip")
    elif name in _HOME_OF:
        from importlib import import_module

        value = getattr(import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module 'openblip' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
