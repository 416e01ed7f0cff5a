"""Typed settings: a frozen dataclass from the tables of a TOML file, its ranges, and what differs between two. Knows no
setting."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from openblip.errors import OptionError

MANY = 10**9
WHAT = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises OptionError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"cannot read the config {path}: {error}") from error


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], passed_over: Collection[str] = (), prefix: str = ""
) -> list[str]:
    """Which settings of two configs in plain types differ, and how."""
    found = []
    for name in now.keys() & before.keys():
        old, new, path = before[name], now[name], prefix + name
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, passed_over, f"{path}.")
        elif path not in passed_over and _plain(old) != _plain(new):
            found.append(f"{path} was {old}, is {new}")
    return sorted(found)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def table(values: Any, where: str) -> dict[str, Any]:
    """A copy of the table. Raises OptionError where it is none."""
    if not isinstance(values, dict):
        raise OptionError(f"{where} = {values!r} must be a table: write [{where}] above its settings")
    return dict(values)


def build(kind: type[Any], values: Any, where: str) -> Any:
    """The dataclass `kind` with these values in the types of its defaults. Raises OptionError that names an unknown
    setting or a wrong type, and whatever `kind` raises itself."""
    values, known = table(values, where), [entry.name for entry in fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise OptionError(f"unknown setting {', '.join(unknown)} in {where}: known are {', '.join(known)}")
    defaults = kind()
    checked = {}
    for name, value in values.items():
        default = getattr(defaults, name)
        checked[name] = _converted(value, default)
        if checked[name] is None:
            raise OptionError(f"{name} = {value!r} in {where} must be {_wanted(default)}")
    return kind(**checked)


def _converted(value: Any, default: Any) -> Any:
    """The value in the type of its default; None where it is of another."""
    if isinstance(default, tuple) and isinstance(value, list):
        items = tuple(_converted(item, default[0] if default else "") for item in value)
        return None if None in items or (default and len(items) != len(default)) else items
    if type(default) is float and type(value) is int:
        return float(value)
    return value if type(value) is type(default) else None


def _wanted(default: Any) -> str:
    if isinstance(default, tuple):
        return f"a list of {len(default)} numbers" if default else "a list of texts"
    return WHAT[type(default)]


def within(options: Any, prefix: str, limits: Mapping[str, tuple[float, float]]) -> None:
    """Raise OptionError where a number, or one of a tuple, is outside its limits. prefix: what its name starts with in
    the message."""
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not low <= number <= high:  # not a number (nan) fails too
                upper = f" to {high}" if high < MANY else " up"
                raise OptionError(f"{prefix}{name} = {number} is out of range: give {low}{upper}")
