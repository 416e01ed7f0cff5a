"""Every exception that openblip raises on purpose.

    OpenBlipError
    ├── InputError            what the caller handed in cannot be used
    │   ├── ImageError        bytes, a file or a URL that is not a usable picture
    │   ├── TextError         a text or prompt that cannot be encoded
    │   └── OptionError       an option outside its range
    ├── ModelError            a model that cannot be found or loaded
    │   ├── ModelNotFound     no such name, folder or cached copy
    │   └── CheckpointError   a folder whose config or tensors do not fit
    ├── DataError             a data set that cannot be read or does not hold what it must
    ├── TrainingError         a training run that cannot start, go on or resume
    ├── ServiceError          a service that cannot be reached or does not serve
    └── MissingExtra          an optional dependency is not installed

A message says what is wrong, names the value and gives the remedy, in one line. Doors (CLI, HTTP) print it as it is.
"""


class OpenBlipError(Exception):
    """Base of all errors that openblip raises on purpose."""


class InputError(OpenBlipError, ValueError):
    """What the caller handed in cannot be used."""


class ImageError(InputError):
    """Bytes, a file or a URL that is not a usable picture."""


class TextError(InputError):
    """A text or prompt that cannot be encoded."""


class OptionError(InputError):
    """An option outside its range."""


class ModelError(OpenBlipError):
    """A model that cannot be found or loaded."""


class ModelNotFound(ModelError):
    """No bundled, cached or local model has this name."""


class CheckpointError(ModelError):
    """A checkpoint folder whose config or tensors do not fit."""


class DataError(OpenBlipError):
    """A data set that cannot be read or does not hold what it must."""


class TrainingError(OpenBlipError):
    """A training run that cannot start, go on or resume."""


class ServiceError(OpenBlipError):
    """A service that cannot be reached, or does not serve. status: of its answer, where there was one; code: what it
    calls the reason."""

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class MissingExtra(OpenBlipError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        cpu = ", after torch's CPU wheel where there is no GPU" if package == "torch" else ""
        super().__init__(f"{package} is not installed: run 'pip install openblip[{extra}]'{cpu}")
