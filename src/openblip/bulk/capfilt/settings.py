"""What a CapFilt run is asked to do, in frozen options that are checked once. Knows no model and no file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from openblip.errors import OptionError
from openblip.parts import EngineName
from openblip.types import GenerateOptions

ScoreName = Literal["itm", "itc"]

PAPER_ITM = 0.5
"""BLIP's own threshold on the ITM probability (its authors, salesforce/BLIP issues 46 and 54)."""


def nucleus(**changes: Any) -> GenerateOptions:
    """How the paper's captioner writes: nucleus sampling with p = 0.9."""
    return GenerateOptions(**{"sample": True, "num_beams": 1, "top_p": 0.9, **changes})


@dataclass(frozen=True, slots=True)
class Decision:
    """Which texts are kept.

    itm, itc: the least ITM probability, in [0, 1], and ITC cosine, in [-1, 1]; a text must reach both where both are
        given. keep_fraction: instead of them, the share of all scored texts that is kept, the best by the score `by`;
        texts that tie with the last of them are kept too.
    With none of the three, ITM as in the paper.

    Raises OptionError on a value outside its range, and where keep_fraction meets a threshold.
    """

    itm: float | None = None
    itc: float | None = None
    keep_fraction: float | None = None
    by: ScoreName = "itm"

    def __post_init__(self) -> None:
        for name, low, high in (("itm", 0.0, 1.0), ("itc", -1.0, 1.0), ("keep_fraction", 0.0, 1.0)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # also refuses NaN
                raise OptionError(f"{name}={value!r} is out of range: give {low:g} to {high:g}")
        if self.keep_fraction == 0.0:
            raise OptionError("keep_fraction=0 keeps no text at all: give more")
        if self.by not in ("itm", "itc"):
            raise OptionError(f"by={self.by!r} is no score: give 'itm' or 'itc'")
        if self.keep_fraction is not None and (self.itm is not None or self.itc is not None):
            raise OptionError("keep_fraction finds the threshold itself: leave out itm and itc, or keep_fraction")
        if self.keep_fraction is None and self.itm is None and self.itc is None:
            object.__setattr__(self, "itm", PAPER_ITM)


@dataclass(frozen=True, slots=True)
class Scoring:
    """How texts are written and scored: all that the scores of a picture follow from.

    captioner, filter: a model as `Blip.load` takes it; None leaves that half out, but not both. captions: how the
    captioner writes. prompt: what its captions start with; it is no part of the text that is kept. engine, precision:
    of both models.
    """

    captioner: str | None
    filter: str | None
    captions: GenerateOptions = field(default_factory=nucleus)
    prompt: str = ""
    engine: EngineName = "openvino"
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.captioner is None and self.filter is None:
            raise OptionError("neither a captioner nor a filter: nothing would change, name at least one model")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON, without the models, which a name does not tell apart."""
        values = asdict(self)
        del values["captioner"], values["filter"]
        return values
