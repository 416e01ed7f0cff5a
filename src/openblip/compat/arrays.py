"""Arrays at the door: torch tensors or numpy in, the same kind out; devices and number types by torch's names.

Imports torch only to make a tensor where one is asked for. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from openblip.errors import InputError, MissingExtra, OptionError

Kind = Literal["pt", "np"]

_NUMBER_TYPES = {
    "float32": "float32", "float": "float32", "float16": "float16", "half": "float16", "bfloat16": "bfloat16",
}  # fmt: skip


class BatchFeature(dict[str, Any]):
    """Arrays by name, ready for a model: `model.generate(**inputs)`. Also read as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"these inputs hold {', '.join(self) or 'nothing'}, not {name}") from None

    def to(self, *places: Any, device: Any = None, dtype: Any = None) -> BatchFeature:
        """Move tensors to a device, and those of floats to a number type; numpy arrays stay as they are."""
        where, kind = device_and_dtype(places, device, dtype)
        for name, value in self.items():
            if is_tensor(value):
                wanted = {"device": where} if where is not None else {}
                if kind is not None and value.is_floating_point():
                    wanted["dtype"] = _torch_dtype(kind)
                self[name] = value.to(**wanted)
        return self


def refuse(where: str, arguments: Mapping[str, Any], remedy: str = "leave it out") -> None:
    """Raise OptionError naming the first argument of a call that takes no more."""
    for name, value in arguments.items():
        raise OptionError(f"{where} takes no {name} ({name}={value!r}): {remedy}")


def device_and_dtype(places: tuple[Any, ...], device: Any, dtype: Any) -> tuple[str | None, str | None]:
    """What `.to(...)` was given, in any order: the device as text, and "float32", "float16" or "bfloat16"."""
    for place in places:
        if _names_number_type(place):
            dtype = place
        else:
            device = place
    if isinstance(device, int):
        device = f"cuda:{device}"
    return None if device is None else str(device), None if dtype is None else number_type(dtype)


def number_type(dtype: Any) -> str:
    """ "float32", "float16" or "bfloat16" of a text, a torch.dtype or a numpy type. Raises OptionError."""
    name = dtype.__name__ if isinstance(dtype, type) else str(dtype).removeprefix("torch.")
    if name not in _NUMBER_TYPES:
        raise OptionError(f"dtype={dtype!r} is not offered: give float32, float16 or bfloat16")
    return _NUMBER_TYPES[name]


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor, found out without torch."""
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


def as_numpy(value: Any, name: str, kind: type[np.float32] | type[np.int64]) -> NDArray[Any]:
    """A tensor, an array or nested lists in numpy."""
    if is_tensor(value):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    try:
        return np.asarray(value, dtype=kind)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no array of numbers: {' '.join(str(error).split())}") from error


def like(array: NDArray[Any], model: Any) -> Any:
    """The array as a tensor on the device of another, where that is a tensor; else as it is."""
    return _torch().from_numpy(array).to(model.device) if is_tensor(model) else array


def as_kind(array: NDArray[Any], kind: Kind | None) -> Any:
    """The array as `return_tensors` wants it: a tensor, an array or nested lists."""
    if kind == "pt":
        return _torch().from_numpy(array)
    return array


def checked_kind(return_tensors: Any) -> Kind | None:
    """Raises OptionError on what is neither "pt", "np" nor None, and MissingExtra where torch is not installed."""
    if return_tensors not in ("pt", "np", None):
        raise OptionError(f"return_tensors={return_tensors!r} is not offered: give 'pt' (torch) or 'np' (numpy)")
    if return_tensors == "pt":
        _torch()
    return cast("Kind | None", return_tensors)


def has_cuda() -> bool:
    """Whether torch is installed and sees a GPU."""
    return find_spec("torch") is not None and bool(_torch().cuda.is_available())


def _names_number_type(place: Any) -> bool:
    name = place.__name__ if isinstance(place, type) else str(place).removeprefix("torch.")
    return type(place).__name__ == "dtype" or name in _NUMBER_TYPES


def _torch_dtype(name: str) -> Any:
    return getattr(_torch(), name)


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra("torch", "torch") from error
    return torch
