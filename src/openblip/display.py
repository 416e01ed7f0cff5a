"""Pictures with what a model says about them, as a notebook shows them: one with everything, or many side by side.

What is shown stands alone: small pictures lie in it, nothing is fetched or run, and every text is escaped. Knows
results and pictures, and no notebook beyond the method that one calls. Does not know how a result came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openblip.errors import InputError, OpenBlipError
from openblip.image import ImageSource
from openblip.markup import escaped, line, unicode_only
from openblip.outcomes import Outcome
from openblip.thumbnail import data_uri, thumbnail
from openblip.types import Analysis, Answer, Caption, Match

Result = str | Caption | Answer | Match | Analysis | Outcome | OpenBlipError
Results = Result | Sequence["Results"]
"""What can stand below a picture: texts, results, an error in their place, or lists of them."""

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
    """A picture with results below it: captions, answers, matches, analyses, texts, or lists of them.

    side: of the picture as it is shown, in pixels, at most. Raises ImageError where it cannot be used.
    """
    return _shown([_figure(thumbnail(image, side), list(_flat(results)))])


def gallery(
    images: Iterable[ImageSource | Outcome], results: Sequence[Results] | None = None, side: int = 220
) -> Shown:
    """Pictures side by side, each with its results below it; one that cannot be used has the reason in its place.

    images: pictures, with `results` one entry each; or the outcomes of `Blip.caption_each` and its like, which have
    their own. side: of each picture, in pixels, at most.
    """
    given = list(images)
    if results is not None and len(results) != len(given):
        raise InputError(f"{len(results)} results for {len(given)} pictures: give one a picture, or a list of several")
    figures = []
    for place, each in enumerate(given):
        own: list[Result] = [each] if isinstance(each, Outcome) else []
        own += [] if results is None else _flat(results[place])
        try:
            figures.append(_figure(thumbnail(each.source if isinstance(each, Outcome) else each, side), own))
        except OpenBlipError as error:
            figures.append(_figure(None, [error]))
    grid = f"display:grid;grid-template-columns:repeat(auto-fill,minmax({side}px,1fr));gap:1em"
    return _shown(figures, grid)


@dataclass(frozen=True, slots=True)
class _Figure:
    html: str
    lines: tuple[str, ...]


def _shown(figures: Sequence[_Figure], style: str = "max-width:100%") -> Shown:
    inside = "\n".join(figure.html for figure in figures)
    lines = "\n".join(text for figure in figures for text in figure.lines)
    return Shown(f'<div style="{style}">{inside}</div>', unicode_only(lines))


def _figure(picture: bytes | None, results: Sequence[Result]) -> _Figure:
    """picture: a JPEG, or nothing."""
    pieces = list(_all_pieces(results))
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
            yield line("error: " + str(result)), f"error: {result}"
        case Caption():
            yield result._repr_html_(), f"{result.probability:.4f} {result.text}"
        case Answer():
            yield result._repr_html_(), f"{result.probability:.4f} {result.question} {result.text}"
        case Match():
            yield result._repr_html_(), f"{result.probability:.4f} {result.similarity:+.4f} {result.text}"
        case Outcome(error=error):
            yield from _all_pieces((*result.captions, *result.answers, *result.matches) if error is None else (error,))
        case Analysis():
            yield from _all_pieces((*result.captions, *result.answers, *result.matches))


def _all_pieces(results: Iterable[Result]) -> Iterator[tuple[str, str]]:
    for result in results:
        yield from _pieces(result)


def _flat(results: Results) -> Iterator[Result]:
    if isinstance(results, Result):
        yield results
    elif isinstance(results, Sequence):
        for each in results:
            yield from _flat(each)
    else:
        raise InputError(f"cannot show a {type(results).__name__}: give captions, answers, matches or texts")
