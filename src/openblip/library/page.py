"""Hits or duplicates -> one HTML file to look through: thumbnails in it, nothing that is loaded or run. Texts are
escaped. Knows places, no table and no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from openblip.bulk.sidecars import whole_file
from openblip.errors import OpenBlipError
from openblip.library.duplicates import DuplicateGroup
from openblip.library.find import Found, Hit
from openblip.library.records import Record
from openblip.library.scan import read_place
from openblip.thumbnail import data_uri, thumbnail

THUMBNAIL = 240  # pixels of the longer side
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .6rem; }
main, .group { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1rem; }
main.groups { display: block; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; overflow-wrap: anywhere; }
figure.keep { border: 2px solid #2e7d4f; }
figure img { display: block; width: 100%; height: 200px; object-fit: contain; background: #8882; }
figcaption { margin-top: .4rem; } small { opacity: .75; } b { float: right; font-variant-numeric: tabular-nums; }
"""


def write_hits(path: Path, title: str, found: Found) -> None:
    """A contact sheet, best first. Raises InputError where the file cannot be written."""
    note = f"{len(found.hits)} hits; ITM looked at {found.reranked}."
    _write(path, title, note, "<main>\n" + "\n".join(_hit(hit) for hit in found.hits) + "\n</main>")


def write_duplicates(path: Path, groups: Sequence[DuplicateGroup]) -> None:
    """A sheet of groups, the one to keep marked. Raises InputError where the file cannot be written."""
    parts = (
        f"<h2>{'same bytes' if group.identical else f'cosine {group.similarity:.3f} or more'}</h2>"
        f'<div class="group">{"".join(_members(group))}</div>'
        for group in groups
    )
    note = f"{len(groups)} groups; the first of each, framed, is the one to keep."
    _write(path, "Near-duplicates", note, '<main class="groups">\n' + "\n".join(parts) + "\n</main>")


def _members(group: DuplicateGroup) -> Iterable[str]:
    for record in group.records:
        facts = record.facts
        about = f"{facts.width} x {facts.height}, {record.place.size:,} bytes"
        yield _figure(record, about, "keep" if record is group.keep else "")


def _hit(hit: Hit) -> str:
    scores = [f"ITC {hit.similarity:.3f}"]
    scores += [] if hit.probability is None else [f"ITM {hit.probability:.3f}"]
    scores += [] if hit.text_score is None else [f"text {hit.text_score:.2f}"]
    return _figure(hit.record, " · ".join(scores))


def _figure(record: Record, about: str, kind: str = "") -> str:
    try:
        shown = f'<img alt="" loading="lazy" src="{data_uri(thumbnail(read_place(record.place), THUMBNAIL))}">'
    except OpenBlipError as error:
        shown = f"<p>{escape(str(error))}</p>"
    caption = escape(record.caption.split("\n")[0])
    taken = f"<br>{record.facts.taken:%Y-%m-%d %H:%M}" if record.facts.taken else ""
    name = escape(record.name.encode("utf-8", "replace").decode())
    return (
        f'<figure class="{kind}">{shown}<figcaption>{caption}<br><small>{escape(about)}<br>{name}{taken}</small>'
        "</figcaption></figure>"
    )


def _write(path: Path, title: str, note: str, body: str) -> None:
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n<p>{escape(note)}</p>\n{body}\n"
        "</body></html>\n"
    )
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
