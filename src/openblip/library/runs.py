"""What an index run of photos and one of a catalogue share: how it is told to work, whom it tells, and the table and
the model, which are opened when they are first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from openblip.errors import OpenBlipError, OptionError
from openblip.image import ImageLimits
from openblip.library.encode import stamp
from openblip.library.table import PhotoTable
from openblip.pipeline import Blip

Progress = Callable[[str, int, int], None]
Report = Callable[[OpenBlipError], None]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How an index run works. captions: whether pictures without a caption get one of the model's; batch_size: pictures
    a transaction, at most, as one is also closed after ten seconds.

    Raises OptionError on a value outside its range.
    """

    captions: bool = False
    batch_size: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= 100_000:
            raise OptionError(f"batch_size={self.batch_size!r} is out of range: give 1 to 100000")


DEFAULT_OPTIONS: Final = IndexOptions()


@dataclass
class Run:
    """One run. load: gives the model; tell: told of what cannot be used; limits: what is too large to be read. table:
    None until there is one."""

    database: str | Path
    load: Callable[[], Blip]
    options: IndexOptions
    tell: Report | None
    progress: Progress | None
    limits: ImageLimits
    table: PhotoTable | None = field(default=None, init=False)
    blip: Blip | None = field(default=None, init=False)

    def open(self, kind: Literal["photos", "products"]) -> PhotoTable | None:
        """An existing library; a new one is made when its first record is written.

        Raises DataError where it cannot be read, or holds the other kind.
        """
        if PhotoTable.is_there(self.database):
            self.table = PhotoTable.open(self.database)
            self.table.check_holds(kind)
        return self.table

    def model(self) -> Blip:
        """Raises DataError where the library was made with another one."""
        if self.blip is None:
            self.blip = self.load()
            if self.table is not None:
                self.table.check_model(stamp(self.blip))
        return self.blip
