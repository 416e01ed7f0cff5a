"""What is learned from, or measured on: a picture, where it lies, and what is said and asked about it. Knows no file
formats but those of pictures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from openblip.errors import DataError, ImageError
from openblip.image import load_image

_SIDED = re.compile(r"\b(?:left|right)(?:most|hand)?\b", re.IGNORECASE)


def is_sided(text: str) -> bool:
    """Whether a text tells left from right, and would be untrue of the mirrored picture."""
    return bool(_SIDED.search(text))


@dataclass(frozen=True)
class Question:
    """A question about a picture and the answers that were given to it, each with its share of them.

    people: how many gave one; 0 where answers came with weights.
    """

    text: str
    answers: tuple[tuple[str, float], ...]
    people: int = 0

    @property
    def given(self) -> list[str] | dict[str, float]:
        """The answers as metrics take them: one a person, or with their shares."""
        if not self.people:
            return dict(self.answers)
        return [text for text, share in self.answers for _ in range(round(share * self.people))]


@dataclass(frozen=True)
class Picture:
    """Where a picture lies, its cleaned captions, and questions about it.

    shard, offset, size: the file that holds it, a shard or its own, and its bytes there. where: what names it, in
    words, as "train.csv, line 7".
    """

    shard: Path
    offset: int
    size: int
    captions: tuple[str, ...]
    questions: tuple[Question, ...] = ()
    where: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Captions, questions and answers."""
        answers = (answer for question in self.questions for answer, _ in question.answers)
        return (*self.captions, *(question.text for question in self.questions), *answers)

    @property
    def sided(self) -> bool:
        """Whether mirroring the picture would make a text untrue: a caption tells left from right."""
        return any(map(is_sided, self.texts))

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.where or f"{self.shard}: the picture at byte {self.offset}"

    @property
    def key(self) -> str:
        """What tells it from the others: its key within a shard, or its file."""
        return self.where.rpartition(": ")[2] if self.offset else str(self.shard)

    @property
    def short_name(self) -> str:
        """What samples call it."""
        return self.shard.name if not self.offset else self.where.rpartition(": ")[2] or self.name

    def content(self) -> bytes:
        """The bytes of the picture file. Raises DataError that says where it lies."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise DataError(f"{self.name}: {error}: take it out") from error

    def read(self, needed: int | None = None) -> Image.Image:
        """The decoded picture. needed: as in `image.load_image`. Raises DataError that says where it lies."""
        try:
            return load_image(self.content(), needed=needed)
        except ImageError as error:
            raise DataError(f"{self.name}: {error}: take it out") from error


def fingerprint(pictures: Iterable[Picture]) -> str:
    """Changes with the pictures, what is said and asked about them or their order, not with where they lie."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr((picture.offset, picture.size, picture.captions, picture.questions)).encode())
    return digest.hexdigest()
