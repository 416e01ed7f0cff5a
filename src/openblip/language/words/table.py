"""How the lists of words are written down."""

from __future__ import annotations


def table(lines: str) -> dict[str, str]:
    """Word -> name, of lines "name: words"; names without further words are joined by ";".

    Each of the words (singular) stands for the name, and the name for itself. Words of several parts have
    underscores.
    """
    names = {}
    for entry in (part for line in lines.splitlines() for part in line.split(";") if part.strip()):
        name, _, words = entry.strip().partition(":")
        for word in (name, *words.split()):
            names[word.replace("_", " ")] = name.replace("_", " ")
    return names
