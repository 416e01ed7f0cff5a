"""Pages of a site -> a text for each picture that has none. Knows pages, what is missing in them, and who captions
pictures; writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openblip.bulk.alt.missing import Missing, find_in_html, find_in_markdown, with_texts
from openblip.bulk.alt.pages import Page, find_pages, find_picture, read_page
from openblip.errors import InputError, OpenBlipError
from openblip.image import shown_name
from openblip.types import Caption

if TYPE_CHECKING:
    from openblip.pipeline import Outcome

CaptionEach = Callable[[Sequence[Path | bytes]], Iterable["Outcome"]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to stand in the place of one picture: the caption, or why there is none. looked_at: whether the picture
    was opened; where it was not, nothing is wrong with it."""

    page: Page
    missing: Missing
    caption: Caption | None = None
    error: OpenBlipError | None = None
    looked_at: bool = True


@dataclass(frozen=True, slots=True)
class PageProposals:
    """Those of one page, in order."""

    page: Page
    proposals: tuple[Proposal, ...]

    @property
    def texts(self) -> int:
        """How many there are."""
        return sum(each.caption is not None for each in self.proposals)

    @property
    def text(self) -> str:
        """The page as it would be."""
        texts = [(each.missing, each.caption.text) for each in self.proposals if each.caption is not None]
        return with_texts(self.page.text, texts)


def propose(site: Path, caption_each: CaptionEach, report: Callable[[OpenBlipError], None]) -> Iterator[PageProposals]:
    """The pages that lack texts, in order. Each picture is captioned once, on however many pages it is.

    site: a folder, or one page, whose folder is then the site. report: told of each page that cannot be read. Raises
    InputError where there are no pages.
    """
    root = site if site.is_dir() else site.parent
    found: list[tuple[Missing, Page, Path | bytes | InputError]] = []
    for path in find_pages(site):
        try:
            page = read_page(path)
            lacking = _missing(page)
        except InputError as error:
            report(error)
            continue
        found += [(missing, page, _picture(root, path, missing)) for missing in lacking]
    pictures = list(dict.fromkeys(picture for _, _, picture in found if not isinstance(picture, InputError)))
    outcomes = dict(zip(pictures, caption_each(pictures), strict=True)) if pictures else {}
    by_page: dict[Path, list[Proposal]] = {}
    for missing, page, picture in found:
        by_page.setdefault(page.path, []).append(_proposal(missing, page, picture, outcomes))
    for proposals in by_page.values():
        yield PageProposals(proposals[0].page, tuple(proposals))


def _missing(page: Page) -> list[Missing]:
    try:
        return (find_in_markdown if page.is_markdown else find_in_html)(page.text)
    except AssertionError as error:  # of HTMLParser, in Pythons that do not know what browsers make of "<![foo[ a ]]>"
        fault = f"{shown_name(page.path)} cannot be read as HTML: {error}; mend or remove what begins with <!["
        raise InputError(fault) from error


def _picture(root: Path, page: Path, missing: Missing) -> Path | bytes | InputError:
    try:
        return find_picture(root, page, missing.source)
    except InputError as error:
        return error


def _proposal(
    missing: Missing, page: Page, picture: Path | bytes | InputError, outcomes: dict[Path | bytes, Outcome]
) -> Proposal:
    if isinstance(picture, InputError):
        return Proposal(page, missing, error=picture, looked_at=False)
    outcome = outcomes[picture]
    return Proposal(page, missing, outcome.captions[0] if outcome.captions else None, outcome.error)
