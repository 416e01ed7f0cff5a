"""What is known of every picture of a shard after scoring, and the file of it: JSON lines, in the shard's order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from openblip.bulk.durable import durable_file
from openblip.errors import DataError

Source = Literal["web", "synthetic"]
SOURCES: tuple[Source, ...] = ("web", "synthetic")


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text of a picture. itm: probability that it matches, in [0, 1]; itc: cosine of the embeddings, in [-1, 1]; None
    where there is no filter, or nothing is left of the text when it is cleaned."""

    text: str
    source: Source
    itm: float | None = None
    itc: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ScoredPicture:
    """A picture's texts, those from the web first, or why it cannot be used."""

    key: str
    texts: tuple[ScoredText, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        values: dict[str, Any] = {"key": self.key, "texts": [text.to_dict() for text in self.texts]}
        return values if self.error is None else {"key": self.key, "error": self.error}


def write_scores(path: Path, pictures: Iterable[ScoredPicture], broken_off: Callable[[], str | None]) -> None:
    """Write the file, whole or not at all. broken_off: asked after the last picture. Raises InputError."""
    with durable_file(path) as file:
        for picture in pictures:
            file.write(json_line(picture.to_dict()))
        if reason := broken_off():
            file.write(json_line({"broken_off": reason}))


def iterate_scores(path: Path) -> Iterator[ScoredPicture]:
    """The pictures of the file in their order; at the end, where the shard broke off, one without a key that says why.
    Raises DataError where it is not what `write_scores` wrote."""
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                values = json.loads(line)
                if "broken_off" in values:
                    yield ScoredPicture("", error=values["broken_off"])
                else:
                    texts = tuple(ScoredText(**text) for text in values.get("texts", ()))
                    yield ScoredPicture(values["key"], texts, values.get("error"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"cannot read the scores {path}: {error}: delete the file and run again") from error


def json_line(values: Any) -> bytes:
    """One line of ASCII JSON: a text may hold half a character, which no encoding has."""
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
