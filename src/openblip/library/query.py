"""What is looked for, and how: frozen, validated once. Knows no model and no library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from openblip.errors import InputError, OptionError
from openblip.image import ImageSource


@dataclass(frozen=True, slots=True)
class Query:
    """Words, a picture, or both, or what is like a picture of the library, or like an item of its catalogue.

    image: anything that `Blip` takes; like: an id of the library, of a catalogue the item's own. weight: of the words,
    where a picture stands beside them; None: one half, of products as was found best. Raises InputError where there is
    nothing to look for, OptionError on a weight outside of 0 to 1.
    """

    words: str = ""
    image: ImageSource | None = field(default=None, repr=False)
    like: str = ""
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.words and self.words.isspace():
            raise InputError("the words to look for are blank: give some, or leave them out")
        if not self.words and self.image is None and not self.like:
            raise InputError("there is nothing to look for: give words, a picture, or both")
        if self.image is not None and self.like:
            raise InputError("a picture and an id of the library are given: give one of them")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise OptionError(f"weight={self.weight!r} is out of range: give 0 (the picture alone) to 1 (the words)")

    @property
    def by_words_alone(self) -> bool:
        """What ITM can judge."""
        return bool(self.words) and self.image is None and not self.like


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How it is looked for.

    limit: how many are wanted. where: a filter, see `openblip.library.where`. rerank: how many of the best by ITC are
    looked at again by ITM, where words alone are looked for; None: as many as budget_ms allows on this machine, up to
    64; 0: none. hybrid: whether the captions, of products title and description, are searched for
    the words too, and both fused; None: for products alone. exact: every vector
    is compared, even where there is an index. by_picture: of products alone, how much the picture counts against the
    text, 0 to 1; None: as was found best for what is asked.

    Raises OptionError on a value outside its range.
    """

    limit: int = 10
    where: str = ""
    rerank: int | None = None
    budget_ms: float = 300.0
    hybrid: bool | None = None
    exact: bool = False
    by_picture: float | None = None

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        "limit": (1, 10_000), "rerank": (0, 1000), "budget_ms": (0, 600_000),
        "by_picture": (0, 1),
    }  # fmt: skip

    def __post_init__(self) -> None:
        for name, (low, high) in self.RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(f"{name}={value!r} is out of range: give {low:g} to {high:g}")
