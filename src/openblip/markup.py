"""Texts and probabilities as pieces of HTML, for whoever shows results. Every text is escaped.

Knows no result, no picture and no page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def escaped(text: str) -> str:
    """For the text of an element or the value of an attribute."""
    return escape(unicode_only(text))


def unicode_only(text: str) -> str:
    """With `?` for what JSON cannot hold, as names of files may."""
    return text.encode("utf-8", "replace").decode()


def line(text: str, probability: float | None = None, note: str = "") -> str:
    """A text, how likely it is as a bar and in percent, and what else there is to say."""
    parts = [f"<span>{escaped(text)}</span>"]
    if probability is not None:
        parts.append(
            f'<meter min="0" max="1" value="{probability:.4f}" title="probability {probability:.4f}"></meter> '
            f"<small>{percent(probability)}</small>"
        )
    if note:
        parts.append(f"<small>{escaped(note)}</small>")
    return f"<div>{' '.join(parts)}</div>"


def alternatives(texts: Iterable[tuple[str, float]]) -> str:
    """Texts and their probabilities in one line of plain text, for a note."""
    return ", ".join(f"{text} {percent(probability)}" for text, probability in texts)


def percent(probability: float) -> str:
    """Whole percents where they say enough."""
    return f"{probability:.0%}" if 0.01 <= probability <= 0.99 else f"{probability:.2%}"
