"""A model's name -> the local folder of its checkpoint; and where openblip keeps what it may lose.

Knows which names exist, the environment variables OPENBLIP_MODEL and OPENBLIP_CACHE and where the bundled distribution
lies. Does not read checkpoints and never goes to the network.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

from openblip.errors import ModelNotFound

DEFAULT_MODEL = "mini"
MODEL_VARIABLE = "OPENBLIP_MODEL"
CACHE_VARIABLE = "OPENBLIP_CACHE"

_BUNDLED = {"mini": ("openblip_mini", "openblip-mini")}  # name -> (import name, distribution)
_NOT_YET = ("base", "large")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A checkpoint's folder, or its .pth file, and the name that results carry."""

    name: str
    path: Path


def find_model(name_or_folder: str | os.PathLike[str] | None = None) -> ModelFolder:
    """The folder of a known name, or the given folder itself. None means OPENBLIP_MODEL where it is set, else "mini".

    A known name wins over a folder that happens to be called so; write ./mini for that folder.
    Raises ModelNotFound with the names that are known and what to do.
    """
    origin = ""
    if name_or_folder is None:
        name_or_folder = os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL
        origin = f" (from {MODEL_VARIABLE})" if os.environ.get(MODEL_VARIABLE) else ""
    text = os.fspath(name_or_folder)
    if text in _BUNDLED:
        return ModelFolder(text, _bundled_folder(text))
    if text in _NOT_YET:
        raise ModelNotFound(f"model '{text}'{origin} is not supported in this version yet: use {_known()}")
    path = Path(text).expanduser()
    if text and path.is_dir():
        return ModelFolder(path.resolve().name, path)
    if path.is_file() and path.suffix == ".pth":
        return ModelFolder(path.stem, path)
    if path.is_file():
        raise ModelNotFound(
            f"model '{text}'{origin} is a file: give the folder that holds config.json, a .pth of salesforce/BLIP, or "
            f"{_known()}"
        )
    raise ModelNotFound(f"there is no model or folder '{text}'{origin}: use {_known()}")


def compiled_folder() -> Path | None:
    """Where compiled graphs outlive the process: OPENBLIP_CACHE, else XDG_CACHE_HOME/openblip, else ~/.cache/openblip.

    None where OPENBLIP_CACHE is set to nothing, or the folder cannot be written (a container without a home, for one).
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == "":
        return None
    try:
        base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openblip"
        folder = base.expanduser() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _known() -> str:
    return f"{', '.join(_BUNDLED)} or the path of a checkpoint folder"


def _bundled_folder(name: str) -> Path:
    package, distribution = _BUNDLED[name]
    try:
        folder: Path = importlib.import_module(package).FOLDER
    except ModuleNotFoundError as error:
        raise ModelNotFound(
            f"model '{name}' is not installed: run 'pip install {distribution}', or 'make run' in a checkout"
        ) from error
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"model '{name}' is installed without its weights: reinstall {distribution}")
    return folder
