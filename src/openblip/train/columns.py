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
            looked_for = repr(given) if given else f"any of {', '.join(usual)}"
            raise DataError(
                f"{where} has no column {looked_for}, only {', '.join(map(str, names))}: name it with --{kind}-column"
            )
        return column
