"""The command alt: texts for the pictures of a web site. Knows options and lines, not how anything is computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.options import BEAM_SEARCH, FAILED, model_options, prompt_option, search_options
from openblip.errors import OpenBlipError
from openblip.terminal import print_line, progress_bar, report
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.bulk.alt.proposals import PageProposals, Proposal
    from openblip.pipeline import Blip, Outcome


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Change the pages instead of showing what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture instead of the difference.")
@prompt_option
@search_options(BEAM_SEARCH)
@model_options
def alt(site: Path, write: bool, as_json: bool, prompt: str, options: GenerateOptions, load: Callable[[], Blip]) -> int:
    """Propose alternative texts for the pictures of a web site that have none.

    SITE is a folder of HTML and Markdown files, or one of them. What is looked for is <img> without alt, and Markdown's
    pictures without a text; alt="" says that one is decoration and is left alone.

    Prints the difference, for you to read, change and apply: openblip alt SITE > alt.patch, and then git apply in SITE.
    A model does not know why a picture stands where it does, and is often wrong in detail.
    """
    from openblip.bulk.alt.pages import write_page
    from openblip.bulk.alt.proposals import propose

    counts = Counts()

    def failed(error: OpenBlipError | str) -> None:
        counts.failed += 1
        report(error)

    root = site if site.is_dir() else site.parent
    for page in propose(site, lambda pictures: captioned(load(), pictures, prompt, options), failed):
        for proposal in page.proposals:
            if as_json:
                print_line(json.dumps(as_dict(proposal, root)))
            if proposal.error is not None:
                counts.skipped += not proposal.looked_at
                tell(proposal, root, failed)
        if not page.texts:
            continue
        try:
            if write:
                write_page(page.page, page.text)
            elif not as_json:
                show(page, root)
        except OpenBlipError as error:
            failed(error)
            continue
        counts.texts, counts.pages = counts.texts + page.texts, counts.pages + 1
    click.echo(f"openblip: {counts.summary(write)}", err=True)
    return FAILED if counts.failed else 0


class Counts:
    """What became of the pictures."""

    def __init__(self) -> None:
        self.texts = self.pages = self.skipped = self.failed = 0

    def summary(self, written: bool) -> str:
        """In a line."""
        found = f"texts {'written' if written else 'proposed'}: {self.texts}, in pages: {self.pages}"
        return f"{found}; skipped: {self.skipped}, failed: {self.failed}"


def captioned(blip: Blip, pictures: Sequence[Path | bytes], prompt: str, options: GenerateOptions) -> Iterator[Outcome]:
    """One a picture; a bar follows."""
    with progress_bar() as progress:
        for done, outcome in enumerate(blip.caption_each(pictures, prompt, options), start=1):
            yield outcome
            progress("texts", done, len(pictures))


def tell(proposal: Proposal, root: Path, failed: Callable[[str], None]) -> None:
    """Say why there is no text."""
    message = f"{place(proposal, root)}: {shown(proposal.missing.source)}: {proposal.error}"
    if proposal.looked_at:
        failed(message)
    else:
        click.echo(f"openblip: skipped: {message}", err=True)


def place(proposal: Proposal, root: Path) -> str:
    """The page and the line."""
    from openblip.image import shown_name

    return f"{shown_name(proposal.page.path.relative_to(root))}:{proposal.missing.line}"


def shown(source: str) -> str:
    """An address as a message shows it."""
    from openblip.image import shown_name

    return shown_name(source if len(source) <= 60 else f"{source[:57]}...")


def as_dict(proposal: Proposal, root: Path) -> dict[str, object]:
    """Plain types, ready for JSON."""
    return {
        "page": proposal.page.path.relative_to(root).as_posix(),
        "line": proposal.missing.line,
        "source": proposal.missing.source,
        "alt": proposal.caption.text if proposal.caption else None,
        "probability": proposal.caption.probability if proposal.caption else None,
        "error": str(proposal.error) if proposal.error else None,
    }


def show(page: PageProposals, root: Path) -> None:
    """Print the difference, in the bytes of the page."""
    from openblip.bulk.alt.diff import unified

    name = page.page.path.relative_to(root).as_posix()
    sys.stdout.buffer.write(unified(name, page.page.data, page.page.encoded(page.text)))
    sys.stdout.buffer.flush()
