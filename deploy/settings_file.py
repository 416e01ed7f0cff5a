"""A deployment's settings from a TOML file, whose tables are the fields of `Settings`. Knows no stack."""

from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass, replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from deploy.settings import ScheduledMinimum, Settings, require
from openblip.errors import OptionError


def read_settings(path: str | Path | None) -> Settings:
    """Those of a file, or the defaults where none is named. Raises OptionError."""
    if path is None:
        return Settings()
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"the settings {path} cannot be read ({error.strerror}): check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"the settings {path} are no TOML ({error}): put that line right") from None
    settings: Settings = _changed(Settings(), given, "")
    return settings


def _changed(default: Any, given: dict[str, Any], where: str) -> Any:
    """A copy of a dataclass with other values, whose types are those of the defaults."""
    known = {field.name: getattr(default, field.name) for field in fields(default)}
    for name in given:
        if name not in known:
            raise OptionError(f"{where}{name} is no setting: take one of {', '.join(known)}")
    return replace(default, **{name: _value(known[name], value, f"{where}{name}") for name, value in given.items()})


def _value(default: object, given: Any, name: str) -> object:
    if is_dataclass(default):
        require(isinstance(given, dict), name, given, "write a table")
        return _changed(default, given, f"{name}.")
    if isinstance(default, tuple):
        require(
            isinstance(given, list) and all(isinstance(each, dict) for each in given), name, given, "write [[tables]]"
        )
        return tuple(_scheduled(each, name) for each in given)
    if isinstance(default, Enum):
        kind = type(default)
        names = [each.value for each in kind]
        require(given in names, name, given, f"take one of {', '.join(names)}")
        return kind(given)
    numbers = isinstance(default, float) and isinstance(given, int | float) and not isinstance(given, bool)
    require(numbers or type(given) is type(default), name, given, f"give a {_KINDS[type(default)]}")
    return given


def _scheduled(given: dict[str, Any], name: str) -> ScheduledMinimum:
    try:
        return ScheduledMinimum(**given)
    except TypeError:
        wanted = ", ".join(field.name for field in fields(ScheduledMinimum))
        raise OptionError(f"{name} = {given!r}: give {wanted}, the last two if they matter") from None


_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", date: "date"}
