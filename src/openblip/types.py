"""Frozen options and results, shared by Python, the command line and HTTP. Knows no model and no file format."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from openblip.errors import OptionError
from openblip.markup import alternatives, line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Plain:
    """A result of plain fields alone. `dataclasses.asdict` would copy each number, which many thousand results feel."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How text is generated. The defaults are the ones of the BLIP paper's captioning evaluation.

    num_beams: beam search width; 1 is greedy.
    max_length, min_length: as transformers counts them, in tokens, [DEC] and the prompt included. max_length caps the
        whole sequence, a closing [SEP] among it; min_length is how many tokens must stand before [SEP] may follow.
    length_penalty: a beam's score is its log-probability / generated tokens ** length_penalty, [SEP] counted.
    early_stopping: a beam search ends with num_beams closed texts, even where an open one may yet be better.
    repetition_penalty: logits of tokens already in the sequence are divided (positive) or multiplied (negative) by it.
    sample: draw from the nucleus instead of searching; excludes num_beams > 1.
    top_p: smallest set of tokens whose probability reaches top_p (nucleus, Holtzman et al. 2020).
    temperature: logits are divided by it before sampling.
    seed: makes a sampled text repeatable; each image and each return gets a stream of its own, whatever the batch.
    num_return: texts a picture; at most num_beams when searching.
    num_beam_groups: diverse beam search (Vijayakumar et al. 2016) in so many groups of num_beams / num_beam_groups
        beams; 1 is the plain beam search. Ask for as many num_return as groups, or more, to see their texts.
    diversity_penalty: what a word costs a group for every beam of an earlier group that says it at the same place;
        read with groups alone. With 0 all groups say the same.

    Raises OptionError on a value outside its range.
    """

    num_beams: int = 3
    max_length: int = 20
    min_length: int = 5
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    sample: bool = False
    top_p: float = 0.9
    temperature: float = 1.0
    seed: int = 0
    num_return: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.5
    early_stopping: bool = False

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        "num_beams": (1, 64),
        "num_beam_groups": (1, 64),
        "diversity_penalty": (0.0, 100.0),
        "max_length": (2, 512),
        "min_length": (0, 512),
        "length_penalty": (-10.0, 10.0),
        "repetition_penalty": (0.1, 10.0),
        "top_p": (1e-6, 1.0),
        "temperature": (1e-3, 100.0),
        "seed": (0, 2**63 - 1),
        "num_return": (1, 64),
    }
    """Lowest and highest value of each number; min_length is at most max_length besides."""

    def __post_init__(self) -> None:
        for name, (low, high) in self.RANGES.items():
            _in_range(name, getattr(self, name), low, high)
        _in_range("min_length", self.min_length, 0, self.max_length)
        if self.sample and self.num_beams != 1:
            raise OptionError(f"sample=True excludes num_beams={self.num_beams}: set num_beams=1")
        if self.num_beams % self.num_beam_groups:
            raise OptionError(
                f"num_beam_groups={self.num_beam_groups} does not divide num_beams={self.num_beams}: give a number of "
                "beams that it divides"
            )
        if not self.sample and self.num_return > self.num_beams:
            raise OptionError(
                f"num_return={self.num_return} needs as many num_beams (now {self.num_beams}) or sample=True"
            )

    @classmethod
    def for_answers(cls) -> GenerateOptions:
        """The defaults where the text is an answer: those of BLIP's VQA evaluation."""
        return cls(max_length=10, min_length=1)

    @property
    def rows(self) -> int:
        """Rows that one picture, or question, takes in a decode."""
        return self.num_return if self.sample else self.num_beams


@dataclass(frozen=True, slots=True)
class Caption(_Plain):
    """One generated text.

    text: without the special tokens, the prompt included.
    log_probability: sum of the generated tokens' log-probabilities (natural log), [SEP] included, prompt excluded.
    probability: exp(log_probability / generated tokens), the geometric mean of the token probabilities, in [0, 1].
    token_probabilities: one a generated token, [SEP] included where the text ended by itself.
    tokens: the WordPiece strings those belong to.
    """

    text: str
    log_probability: float
    probability: float
    tokens: tuple[str, ...]
    token_probabilities: tuple[float, ...]
    model: str

    def _repr_html_(self) -> str:
        return line(self.text, self.probability)


@dataclass(frozen=True, slots=True)
class CaptionPiece(_Plain):
    """A piece of a caption that is still growing.

    text: what can be shown since the last piece, with the space before it: a word, and what is joined to it.
    tokens, token_probabilities: the generated tokens that it is made of, as in `Caption`; none where it is the prompt.
    """

    text: str
    tokens: tuple[str, ...]
    token_probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Answer(_Plain):
    """The answer to a question about a picture.

    log_probability: of the whole answer, [SEP] included (natural log); probability: its exponential, in [0, 1].
    others: the runners-up and their probabilities, likeliest first.
    """

    question: str
    text: str
    log_probability: float
    probability: float
    others: tuple[tuple[str, float], ...]
    model: str

    def _repr_html_(self) -> str:
        others = alternatives(self.others)
        return line(f"{self.question} {self.text}", self.probability, f"or {others}" if others else "")


@dataclass(frozen=True, slots=True)
class Match(_Plain):
    """How well a text describes a picture.

    probability: of the image-text matching head (ITM), in [0, 1].
    similarity: cosine of the image and text embeddings (ITC), in [-1, 1].
    """

    text: str
    probability: float
    similarity: float
    model: str

    def _repr_html_(self) -> str:
        return line(self.text, self.probability, f"cosine {self.similarity:+.2f}")


@dataclass(frozen=True, slots=True)
class TagOptions:
    """How pictures are tagged.

    templates: texts that a label is put into, in the place of "{}"; with several, their mean counts.
    screen: how many labels of a picture, the best by similarity (ITC), the matching head (ITM) reads; 0: none, and the
        similarity alone decides.
    threshold: a label is a tag from this probability on; not read where screen is 0.
    top: at most so many tags a picture, the best.

    Raises OptionError on a value outside its range.
    """

    templates: tuple[str, ...] = ("a {}",)
    screen: int = 16
    threshold: float = 0.5
    top: int = 8

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        "screen": (0, 10_000),
        "threshold": (0.0, 1.0),
        "top": (1, 10_000),
    }
    """Lowest and highest value of each number."""

    def __post_init__(self) -> None:
        for name, (low, high) in self.RANGES.items():
            _in_range(name, getattr(self, name), low, high)
        templates: Any = self.templates
        if isinstance(templates, str) or not templates:
            raise OptionError(f'templates={templates!r} is no list of texts: give ("a photo of {{}}",)')
        for template in templates:
            if not isinstance(template, str) or "{}" not in template:
                raise OptionError(f'template {template!r} has no place for the label: write "a photo of {{}}"')


@dataclass(frozen=True, slots=True)
class Tag(_Plain):
    """A label that fits a picture.

    probability: that it fits, in [0, 1]: ITM's, which for the built-in labels is weighed with how common each is; None
        where it was not asked.
    similarity: cosine of the embeddings (ITC), in [-1, 1].
    """

    label: str
    probability: float | None
    similarity: float
    model: str


@dataclass(frozen=True, slots=True)
class Embedding(_Plain):
    """A unit vector; its product with that of a text is the similarity of a `Match`."""

    vector: tuple[float, ...]
    model: str


@dataclass(frozen=True, slots=True)
class GroundOptions:
    """How words are looked for in a picture.

    windows: look at the quarters and ninths of the picture besides the whole of it, which shows smaller things and
        takes fourteen times the image encoding; None leaves it to the model: yes where it sees a coarse grid.
    threshold: how hot, from 0 to 1 where 1 is the hottest point, a region is.

    Raises OptionError on a value outside its range.
    """

    windows: bool | None = None
    threshold: float = 0.5

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {"threshold": (0.01, 1.0)}

    def __post_init__(self) -> None:
        _in_range("threshold", self.threshold, *self.RANGES["threshold"])
        if self.windows not in (None, True, False):
            raise OptionError(f"windows={self.windows!r} is neither true nor false: give one of them, or nothing")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the picture as it is shown, from its upper left corner. score: the highest heat in
    it."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where in a picture the words of a phrase are.

    probability, similarity: of the phrase as a `Match` has them. The place is found whether or not the thing is there:
        a low probability says that it may not be.
    peak: the hottest point (x, y); boxes: around the hot regions, the hottest first; both in pixels of the picture as
        it is shown, `size` wide and high.
    heatmap: [rows, columns] in steps of 1/255 up to 1 at the hottest, over the whole picture; see `openblip.regions`.
    """

    phrase: str
    probability: float
    similarity: float
    peak: tuple[float, float]
    boxes: tuple[Box, ...]
    size: tuple[int, int]
    heatmap: NDArray[np.float32] = field(compare=False, repr=False)
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON, without the heatmap."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("boxes", "heatmap")}
        return values | {"boxes": tuple(asdict(box) for box in self.boxes)}

    def _repr_html_(self) -> str:
        x, y = self.peak
        return line(self.phrase, self.probability, f"at {x:.0f}, {y:.0f}; boxes: {len(self.boxes)}")


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that was asked about one picture; what was not asked is empty.

    captions: as many as options.num_return. answers, matches, groundings: one a question, text, or phrase, in their
        order; without phrases, one a noun phrase of the first caption.
    """

    captions: tuple[Caption, ...] = ()
    answers: tuple[Answer, ...] = ()
    matches: tuple[Match, ...] = ()
    embedding: Embedding | None = None
    groundings: tuple[Grounding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        values = asdict(replace(self, groundings=()))
        return values | {"groundings": tuple(grounding.to_dict() for grounding in self.groundings)}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds spent in each stage of the last call, summed over its pictures."""

    decode_s: float
    preprocess_s: float
    encode_s: float
    search_s: float


def _in_range(name: str, value: Any, low: float, high: float) -> None:
    whole = isinstance(low, int)
    kinds: Any = (int, Integral) if whole else (int, float, Real)  # the abstract ones, which are slow, are asked last
    if not isinstance(value, kinds):
        number = "whole number" if whole else "number"
        raise OptionError(f"{name}={value!r} is not a {number}: give {low} to {high}")
    if not low <= value <= high:  # also refuses NaN
        raise OptionError(f"{name}={value!r} is out of range: give {low} to {high}")
