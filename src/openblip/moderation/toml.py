"""Changes single values of a policy's TOML text. Knows tables and keys, not what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openblip.errors import MissingExtra


def check_installed() -> None:
    """Raises MissingExtra where TOML cannot be edited."""
    try:
        import tomlkit  # noqa: F401
    except ImportError as error:
        raise MissingExtra("tomlkit", "moderation") from error


def edited(text: str, values: Mapping[tuple[str, ...], Mapping[str, float | None]]) -> str:
    """The text with these values, by the names that lead to a table and by key; None takes a key out. Comments, order
    and everything else stay. Raises MissingExtra without tomlkit."""
    check_installed()
    import tomlkit

    document: Any = tomlkit.parse(text)
    for names, changes in values.items():
        table = document
        for name in names:
            if name not in table:
                table[name] = tomlkit.table()
            table = table[name]
        for key, value in changes.items():
            if value is not None:
                table[key] = value
            elif key in table:
                del table[key]
    return str(tomlkit.dumps(document))
