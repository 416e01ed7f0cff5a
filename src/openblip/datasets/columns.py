"""What the columns of tables are called. Knows no table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from openblip.errors import DataError

IMAGE_COLUMNS = ("image", "image_path", "path", "file_name", "filename", "file")
CAPTION_COLUMNS = ("captions", "caption", "text", "sentences")
ANSWER_COLUMNS = ("answers", "answer")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called; empty: the first that is there of the usual names."""

    image: str = ""
    caption: str = ""
    question: str = ""
    answer: str = ""

    def find(self, names: Sequence[str], kind: Literal["image", "caption", "question", "answer"], where: str) -> str:
        """The column of a kind among those that are there. Raises DataError that lists them."""
        given: str = getattr(self, kind)
        usual = {
            "image": IMAGE_COLUMNS, "caption": CAPTION_COLUMNS, "question": ("question",), "answer": ANSWER_COLUMNS
        }[kind]  # fmt: skip
        column = next((name for name in ((given,) if given else usual) if name in names), None)
        if column is None:
            there = ", ".join(map(str, names)) or "no column at all"
            if given:
                raise DataError(f"{where}: there is no column {given!r}: --{kind}-column may be one of {there}")
            raise DataError(
                f"{where}: no column is called {' or '.join(usual)}: name it with --{kind}-column, of {there}"
            )
        return column
