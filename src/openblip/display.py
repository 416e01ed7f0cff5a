"""Pictures with what a model says about them, as a notebook shows them: one with everything, or many side by side.

What is shown stands alone: small pictures lie in it, nothing is fetched or run, and every text is escaped. Knows
results and pictures, and no notebook beyond the method that one calls. Does not know how a result came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openblip.errors import InputError, OpenBlipError
from openblip.image import ImageSource, load_image
from openblip.library.find import Hit
from openblip.library.scan import read_place
from openblip.markup import escaped, line, unicode_only
from openblip.outcomes import Outcome
from openblip.regions import overlay
from openblip.thumbnail import data_uri, thumbnail
from openblip.types import Analysis, Answer, Caption, Grounding, Match

Result = str | Caption | Answer | Match | Grounding | Hit | OpenBlipError
Results = Result | Analysis | Outcome | Sequence["Results"]
"""What can stand below a picture: texts, results, an error in their place, what holds several, or lists of them."""

_FIGURE = "margin:0 0 1em;overflow-wrap:anywhere"
_PICTURE = "max-width:100%;height:auto;display:block;margin-bottom:.4em"


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """Something to be shown: HTML where a notebook asks for it, plain lines elsewhere."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def show(image: ImageSource, *results: Results, side: int = 480) -> Shown:
    """A picture with results below it: captions, answers, matches, texts, analyses, or lists of them; and once more for
    each grounding, with heat, boxes and peak drawn in.

    side: of the picture as it is shown, in pixels, at most. Raises ImageError where it cannot be used.
    """
    figures = _figures(image, list(_single(results)), side)
    return _shown(figures, side if len(figures) > 1 else 0)


def gallery(
    images: Iterable[ImageSource | Outcome | Hit], results: Sequence[Results] | None = None, side: int = 220
) -> Shown:
    """Pictures side by side, each with its results below it; one that cannot be used has the reason in its place.

    images: pictures, with `results` one entry each; or the outcomes of `Blip.caption_each` and its like, or the hits of
    a search, which have their own. side: of each picture, in pixels, at most.
    """
    given, figures = list(images), list[_Figure]()
    if results is not None and len(results) != len(given):
        raise InputError(f"{len(results)} results for {len(given)} pictures: give one a picture, or a list of several")
    for place, each in enumerate(given):
        own = list(_single(each)) if isinstance(each, Outcome | Hit) else []
        own += [] if results is None else _single(results[place])
        try:
            figures += _figures(_source(each), own, side)
        except OpenBlipError as error:
            figures.append(_figure(None, [error]))
    return _shown(figures, side)


@dataclass(frozen=True, slots=True)
class _Figure:
    html: str
    lines: tuple[str, ...]


def _shown(figures: Sequence[_Figure], side: int) -> Shown:
    """side: of each figure in a grid, 0 for one alone."""
    grid = f"display:grid;grid-template-columns:repeat(auto-fill,minmax({side}px,1fr));gap:1em"
    inside = "\n".join(figure.html for figure in figures)
    lines = "\n".join(text for figure in figures for text in figure.lines)
    return Shown(f'<div style="{grid if side else "max-width:100%"}">{inside}</div>', unicode_only(lines))


def _figures(source: ImageSource, results: Sequence[Result], side: int) -> list[_Figure]:
    """The picture with what is said of it, where anything is or no place is shown; then each place."""
    picture = load_image(source, needed=side)
    places = [each for each in results if isinstance(each, Grounding)]
    others = [each for each in results if not isinstance(each, Grounding)]
    figures = [_figure(thumbnail(picture, side), others)] if others or not places else []
    return figures + [_figure(thumbnail(overlay(picture, place, side), side), [place]) for place in places]


def _figure(picture: bytes | None, results: Sequence[Result]) -> _Figure:
    """picture: a JPEG, or nothing."""
    pieces = [piece for result in results for piece in _pieces(result)]
    lines = tuple(text for _, text in pieces)
    image = ""
    if picture is not None:
        alternative = escaped(lines[0] if lines else "a picture")
        image = f'<img src="{data_uri(picture)}" alt="{alternative}" style="{_PICTURE}">'
    below = "".join(html for html, _ in pieces)
    return _Figure(f'<figure style="{_FIGURE}">{image}<figcaption>{below}</figcaption></figure>', lines)


def _pieces(result: Result) -> Iterator[tuple[str, str]]:
    """HTML and plain text of each line that a result takes."""
    match result:
        case str():
            yield line(result), result
        case OpenBlipError():
            yield line(f"error: {result}"), f"error: {result}"
        case Caption():
            yield result._repr_html_(), f"{result.probability:.4f} {result.text}"
        case Answer():
            yield result._repr_html_(), f"{result.probability:.4f} {result.question} {result.text}"
        case Match():
            yield result._repr_html_(), f"{result.probability:.4f} {result.similarity:+.4f} {result.text}"
        case Grounding(peak=(x, y)):
            yield result._repr_html_(), f"{result.probability:.4f} {x:.0f},{y:.0f} {result.phrase}"
        case Hit(record=record):
            name, note = record.name.rpartition("/")[2], f"cosine {result.similarity:+.2f}"
            yield line(name, result.probability, note), f"{result.similarity:+.4f} {name}"
            for caption in record.caption.splitlines():
                yield line(caption), caption


def _single(results: Results) -> Iterator[Result]:
    """Whatever holds several, taken apart."""
    match results:
        case str() | Caption() | Answer() | Match() | Grounding() | Hit() | OpenBlipError():
            yield results
        case Outcome(error=error) if error is not None:
            yield error
        case Outcome():
            yield from _single((results.captions, results.answers, results.matches))
        case Analysis():
            yield from _single((results.captions, results.answers, results.matches, results.groundings))
        case Sequence():
            for each in results:
                yield from _single(each)
        case _:
            raise InputError(f"cannot show a {type(results).__name__}: give captions, answers, matches or texts")


def _source(given: ImageSource | Outcome | Hit) -> ImageSource:
    match given:
        case Outcome():
            return given.source
        case Hit():
            return read_place(given.record.place)
        case _:
            return given
