"""A model's name -> the local folder of its checkpoint; and where openblip keeps what it may lose.

Knows which names exist, the variables OPENBLIP_MODEL and OPENBLIP_CACHE, where the bundled distribution lies and how
huggingface_hub lays out its cache. Does not read checkpoints and never goes to the network: `pull` does.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from openblip.config import SETS, Task
from openblip.errors import ModelNotFound

DEFAULT_MODEL = "mini"
MODEL_VARIABLE = "OPENBLIP_MODEL"
CACHE_VARIABLE = "OPENBLIP_CACHE"

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
VOCABULARIES = ("vocab.txt", "tokenizer.json")

BUNDLED = {"mini": ("openblip_mini", "openblip-mini")}  # name -> (import name, distribution)
_HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w./-]*))?")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A checkpoint's folder, or its .pth file, and the name that results carry."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository of the hub, "owner/name", and a branch, tag or commit of it."""

    repository: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.repository if self.revision == "main" else f"{self.repository}@{self.revision}"

    @classmethod
    def parse(cls, text: str) -> HubName | None:
        """From "owner/name" or "owner/name@revision"; None for anything else."""
        match = _HUB_NAME.fullmatch(text)
        if match is None or ".." in text:
            return None
        return cls(match[1], match[2] or "main")


def find_model(name_or_folder: str | os.PathLike[str] | None = None) -> ModelFolder:
    """The folder of a known name, of a checkpoint of the hub that is cached ("owner/name"), or the given folder itself.
    None means OPENBLIP_MODEL where it is set, else "mini".

    A known name wins over a folder that happens to be called so, and a folder over a name of the hub; write ./mini for
    that folder. Raises ModelNotFound with the names that are known and what to do.
    """
    text = chosen_name(name_or_folder)
    origin = f" (from {MODEL_VARIABLE})" if name_or_folder is None and os.environ.get(MODEL_VARIABLE) else ""
    if text in BUNDLED:
        return ModelFolder(text, _bundled_folder(text))
    if text in SETS:
        members = ", ".join(dict.fromkeys(SETS[text].values()))
        raise ModelNotFound(f"model '{text}'{origin} is a set of checkpoints, and one is wanted here: use {members}")
    try:
        path = Path(text).expanduser()
        is_folder, is_file = bool(text) and path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # RuntimeError: ~somebody who is not known here
        reason = getattr(error, "strerror", None) or error
        raise ModelNotFound(f"model '{text}'{origin} cannot be looked at ({reason}): use {_KNOWN}") from error
    if is_folder:
        return ModelFolder(path.resolve().name, path)
    if is_file and path.suffix == ".pth":
        return ModelFolder(path.stem, path)
    if is_file:
        raise ModelNotFound(
            f"model '{text}'{origin} is a file: give the folder that holds config.json, a .pth of salesforce/BLIP, or "
            f"{_KNOWN}"
        )
    hub_name = HubName.parse(text)
    if hub_name is None:
        raise ModelNotFound(f"there is no model or folder '{text}'{origin}: use {_KNOWN}")
    if folder := cached_folder(hub_name):
        return ModelFolder(str(hub_name), folder)
    for name in (name for name, members in SETS.items() if text in members.values()):
        raise ModelNotFound(
            f"{text} of the set '{name}' is not in the cache: run 'openblip pull {text}', "
            f"or 'openblip pull {name}' for its whole set"
        )
    raise ModelNotFound(
        f"there is no folder '{text}'{origin}, nor a checkpoint of that name in the cache: if the hub has it, run "
        f"'openblip pull {text}'"
    )


def find_set(name_or_folder: str | os.PathLike[str] | None = None) -> dict[Task, str] | None:
    """The names of a set's checkpoints, one for each task, whether they are here or not; None where the name is no
    set's. None means OPENBLIP_MODEL."""
    return SETS.get(chosen_name(name_or_folder))


def cached_folder(name: HubName) -> Path | None:
    """Where huggingface_hub keeps this checkpoint, if all of it is here."""
    repository = cache_of(name.repository)
    reference = repository / "refs" / name.revision
    try:
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else name.revision
    except OSError:
        return None
    folder = repository / "snapshots" / commit
    parts = (("config.json",), WEIGHTS, VOCABULARIES)
    return folder if all(any((folder / file).is_file() for file in files) for files in parts) else None


def cache_of(repository: str) -> Path:
    """The folder of one repository in the cache of huggingface_hub: HF_HUB_CACHE, else hub/ in HF_HOME."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def hub_cache() -> Path:
    """The cache of huggingface_hub."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_names() -> list[HubName]:
    """All checkpoints of the hub that are cached whole, of whatever kind, by name."""
    names = []
    for reference in sorted(hub_cache().glob("models--*/refs/**/*")):
        repository = reference.relative_to(hub_cache()).parts[0]
        revision = reference.relative_to(hub_cache() / repository / "refs").as_posix()
        name = HubName.parse(f"{repository.removeprefix('models--').replace('--', '/', 1)}@{revision}")
        if name is not None and reference.is_file() and cached_folder(name):
            names.append(name)
    return names


def size_on_disk(folder: Path) -> int:
    """Bytes of all files of a folder, those that it links to included."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


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


_KNOWN = f"{', '.join((*BUNDLED, *SETS))}, owner/name of the hub or the path of a checkpoint folder"


def chosen_name(name_or_folder: str | os.PathLike[str] | None) -> str:
    """What was asked for: as it was given, else by OPENBLIP_MODEL, else "mini"."""
    return os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL if name_or_folder is None else os.fspath(name_or_folder)


def _bundled_folder(name: str) -> Path:
    package, distribution = BUNDLED[name]
    try:
        folder: Path = importlib.import_module(package).FOLDER
    except ModuleNotFoundError as error:
        raise ModelNotFound(
            f"model '{name}' is not installed: run 'pip install {distribution}', or 'make run' in a checkout"
        ) from error
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"model '{name}' is installed without its weights: reinstall {distribution}")
    return folder
