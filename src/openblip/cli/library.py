"""Commands of the photo library: index, search, duplicates. Knows options and lines, not how anything is computed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openblip.cli.options import FAILED, model_options
from openblip.terminal import print_line, progress_bar, report

if TYPE_CHECKING:
    from openblip.library import CatalogueReport, Found, Hit, IndexReport
    from openblip.library.duplicates import DuplicateGroup
    from openblip.pipeline import Blip

database_option = click.option(
    "--db", "database", required=True, help="The library: a folder, or an address of object storage (s3://...)."
)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="FOLDER|SHARDS|CATALOGUE...")
@database_option
@click.option("--captions", is_flag=True, help="Caption photos that have no caption, for --hybrid and filters.")
@click.option(
    "--batch-size",
    type=int,
    default=512,
    show_default=True,
    help="Photos written at a time: what an interrupted run does again, at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
@model_options
def index(
    sources: tuple[str, ...], database: str, captions: bool, batch_size: int, as_json: bool, load: Callable[[], Blip]
) -> int:
    """Make photos or products searchable, or bring their library up to date.

    Takes files, folders, globs and WebDataset shards (.tar), whose captions are kept. What has not changed is skipped,
    a moved file is known by its content, what is gone below a folder that you name is dropped, and a photo that cannot
    be read is reported. A run that was interrupted goes on where it stopped.

    A catalogue of products (.csv, .tsv, .jsonl, .parquet) has a row an item: id and title, and description, price,
    picture (a path) and other fields as there are. What its files hold no more is dropped.
    """
    from openblip.library import IndexOptions, index_catalogue, index_photos
    from openblip.library.items import is_catalogue

    options = IndexOptions(captions, batch_size)
    tables = [source for source in sources if is_catalogue(source)]
    if tables and (len(tables) < len(sources) or captions):
        raise click.UsageError("a catalogue stands alone: index photos, or with --captions, into another --db")
    check_named_model(database, load)
    done: IndexReport | CatalogueReport
    with progress_bar() as progress:
        if tables:
            done = index_catalogue(tables, database, load, options, report=report, progress=progress)
        else:
            done = index_photos(sources, database, load, options, lines=sys.stdin, report=report, progress=progress)
    if as_json:
        print_line(json.dumps(done.to_dict()))
    else:
        print_line(index_line(done))
    return FAILED if done.failed else 0


@click.command()
@click.argument("words", required=False, default="")
@database_option
@click.option("--image", help="A photo to find the like of; with WORDS, both count.")
@click.option(
    "--like",
    "--similar",
    "like",
    default="",
    metavar="ID",
    help="The same, of a photo of the library by its id, or an item of the catalogue by its own.",
)
@click.option("--weight", type=float, help="Of WORDS beside a photo, from 0 to 1.  [default: 0.5, of products 0.1]")
@click.option(
    "--by-picture",
    type=float,
    help="Of a catalogue: how much pictures count against texts, from 0 to 1.  [default: by what is asked]",
)
@click.option("--limit", "-k", type=int, default=10, show_default=True, help="How many photos.")
@click.option("--where", default="", help='A filter, as in: taken >= 2024-06 and size > 2MB and path ~ "holiday".')
@click.option(
    "--rerank", type=int, help="Look again, by ITM, at so many of the best.  [default: as --budget-ms allows]"
)
@click.option("--budget-ms", type=float, default=300, show_default=True, help="What looking again may take.")
@click.option(
    "--hybrid/--no-hybrid",
    default=None,
    help="Search captions, of products title and description, for WORDS too.  [default: of products]",
)
@click.option("--exact", is_flag=True, help="Compare every vector, even where there is an index.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@model_options
def search(
    words: str,
    database: str,
    image: str | None,
    like: str,
    weight: float | None,
    by_picture: float | None,
    limit: int,
    where: str,
    rerank: int | None,
    budget_ms: float,
    hybrid: bool | None,
    exact: bool,
    html: Path | None,
    as_json: bool,
    load: Callable[[], Blip],
) -> int:
    """Find photos of a library, or products of a catalogue, by WORDS, by a photo, or by both.

    Prints the probability that the words describe it (ITM, where it was looked at again), the cosine (ITC) and the
    path, best first. Filters: FIELD OPERATOR VALUE with = != < <= > >= and ~ (holds), joined by and, or, not
    and brackets; the fields are path, key, caption, size, width, height, taken, modified, model, sha256 and id, and
    of a catalogue those that it has, as in: price < 50 and colour = 'red'.
    """
    if not words and not image and not like:
        raise click.UsageError("there is nothing to look for: give WORDS, --image or --like")
    from openblip.library import Library, Query, SearchOptions
    from openblip.library.page import write_hits

    query = Query(words, image, like, weight)
    options = SearchOptions(limit, where, rerank, budget_ms, hybrid, exact, by_picture)
    library = Library.open(database)
    library.check_filter(where)
    check_named_model(database, load)
    found = library.search(load(), query, options)
    if html is not None:
        write_hits(html, " + ".join(filter(None, [words, image or like])), found)
    if as_json:
        print_line(json.dumps(found.to_dict()))
        return 0
    for hit in found.hits:
        print_line(hit_line(hit))
    tell_timing(found)
    return 0


@click.command()
@database_option
@click.option("--threshold", type=float, help="The cosine from which on photos count as alike.  [default: 0.97]")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a sheet of the groups to this file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a group.")
def duplicates(database: str, threshold: float | None, html: Path | None, as_json: bool) -> int:
    """Find photos of a library that show the same: copies, resized, compressed again, or shot twice.

    Prints a group a block: the one to keep (most pixels, then most bytes), then the others. Nothing is deleted.
    """
    from openblip.library.duplicates import THRESHOLD, find_duplicates
    from openblip.library.page import write_duplicates
    from openblip.library.table import PhotoTable

    table = PhotoTable.open(database)
    with progress_bar() as progress:
        groups = find_duplicates(table, THRESHOLD if threshold is None else threshold, progress)
    if html is not None:
        write_duplicates(html, groups)
    for group in groups:
        for line in [json.dumps(group.to_dict())] if as_json else group_lines(group):
            print_line(line)
    others = sum(len(group.records) - 1 for group in groups)
    click.echo(f"openblip: {len(groups)} groups, {others} photos beside those to keep", err=True)
    return 0


def check_named_model(database: str, load: Callable[[], Blip]) -> None:
    """Refuse a library of another model before anything is read; the model is loaded only where its name differs."""
    from openblip.hub import chosen_name
    from openblip.library.encode import stamp
    from openblip.library.table import PhotoTable

    if not PhotoTable.is_there(database):
        return
    table = PhotoTable.open(database)
    asked = click.get_current_context().params.get("model") or chosen_name(None)
    if os.path.basename(os.path.normpath(asked)) != table.model.name:  # noqa: PTH119 (a name or a path)
        table.check_model(stamp(load()))


def index_line(done: IndexReport | CatalogueReport) -> str:
    """What an index run did."""
    counts = {name: count for name, count in done.to_dict().items() if isinstance(count, int)}
    total = "photos" if "photos" in counts else "items"
    held = counts.pop(total)
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    return f"{held:,} {total} in the library: {said or 'nothing to do'}; {done.seconds:.1f} s"


def hit_line(hit: Hit) -> str:
    """What is printed for one photo or product."""
    probability = "      " if hit.probability is None else f"{hit.probability:.4f}"
    return f"{probability} {hit.similarity:+.4f} {hit.record.line}"


def group_lines(group: DuplicateGroup) -> list[str]:
    """What is printed for one group."""
    title = "same bytes" if group.identical else f"cosine {group.similarity:.4f}"
    lines = [f"{title}, keep {group.keep.name} ({group.keep.facts.width} x {group.keep.facts.height})"]
    return [*lines, *(f"  {each.name} ({each.facts.width} x {each.facts.height})" for each in group.records[1:])]


def tell_timing(found: Found) -> None:
    """On a terminal: how long it took and how deep it looked."""
    if sys.stderr.isatty():
        click.echo(
            f"openblip: found in {found.searched_ms:.0f} ms; ITM looked at {found.reranked} more closely in "
            f"{found.reranked_ms:.0f} ms",
            err=True,
        )
