"""Published outputs of published checkpoints, held against what this machine computes.

Base: what `BlipModelIntegrationTest` of transformers asserts (huggingface/transformers,
tests/models/blip/test_modeling_blip.py), with its tolerance of 1e-3. Those figures follow transformers in putting [CLS]
in front of a matched text or a question, where BLIP's training put [ENC]: the model must be loaded that way. Large: the
answer in the model card of its checkpoint for questions; no other output of that set is published with its picture.
Knows no command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openblip.errors import ModelError
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.image import ImageSource
    from openblip.pipeline import Blip

IMAGE = "hf-internal-testing/blip-test-image/resolve/main/demo.jpg"
"""The picture of all references, below the hub's address."""
SPECIAL_TOKENS = "transformers"
"""The convention that the references were computed with."""
TOLERANCE = 1e-3
"""Absolute and relative, each."""

_GREEDY = GenerateOptions(num_beams=1, max_length=20, min_length=0)  # what `generate` of transformers does unasked


@dataclass(frozen=True, slots=True)
class Reference:
    """One published output. task: "caption" (of a prompt), "answer" (to a question) or "match" (of a text)."""

    task: str
    text: str
    expected: str | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Check:
    """What became of a reference: what was expected and found, as text, and whether they agree."""

    name: str
    expected: str
    found: str
    matched: bool


REFERENCES: dict[str, tuple[Reference, ...]] = {
    "base": (
        Reference("caption", "", "a woman sitting on the beach with her dog"),
        Reference("caption", "a picture of", "a picture of a woman and her dog on the beach"),
        Reference("answer", "how many dogs are in the picture?", "1"),
        Reference("match", "A woman and her dog sitting in a beach", (0.9971, 0.5162)),
    ),
    "large": (Reference("answer", "how many dogs are in the picture?", "1"),),
}


def verify(blip: Blip, image: ImageSource, references: Sequence[Reference]) -> Iterator[Check]:
    """Each reference in its turn. A checkpoint that cannot be loaded is a check that failed, and the rest goes on."""
    for reference in references:
        try:
            yield from _COMPARE[reference.task](blip, image, reference)
        except ModelError as error:
            yield Check(_name(reference), str(reference.expected), str(error), False)


def _caption(blip: Blip, image: ImageSource, reference: Reference) -> Iterator[Check]:
    found = blip.caption(image, reference.text, _GREEDY)[0].text
    yield Check(_name(reference), str(reference.expected), found, found == reference.expected)


def _answer(blip: Blip, image: ImageSource, reference: Reference) -> Iterator[Check]:
    found = blip.answer(image, reference.text, _GREEDY)[0].text
    yield Check(_name(reference), str(reference.expected), found, found == reference.expected)


def _match(blip: Blip, image: ImageSource, reference: Reference) -> Iterator[Check]:
    assert not isinstance(reference.expected, str)
    [match] = blip.match(image, reference.text)
    found = (match.probability, match.similarity)
    for head, wanted, value in zip(("ITM", "ITC"), reference.expected, found, strict=True):
        close = abs(value - wanted) <= TOLERANCE + TOLERANCE * abs(wanted)
        yield Check(f"{head} of '{reference.text}'", f"{wanted:.4f}", f"{value:.4f}", close)


def _name(reference: Reference) -> str:
    return f"{reference.task} '{reference.text}'" if reference.text else reference.task


_COMPARE: dict[str, Callable[[Blip, ImageSource, Reference], Iterator[Check]]] = {
    "caption": _caption,
    "answer": _answer,
    "match": _match,
}
