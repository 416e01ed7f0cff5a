"""Where in a page a picture has no alternative text, in HTML and in Markdown. Knows markup; opens no picture and no
file."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from markdown_it.token import Token

_ALT_NAMES = {"alt", ":alt", "v-bind:alt", "x-bind:alt", "bind:alt", "[alt]", "[attr.alt]"}
"""As HTML has it, and as Vue, Alpine, Svelte and Angular fill it in."""
_FRONT_MATTER = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\r?\n.*?\n\1[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_CODE_SPAN = re.compile(r"\\[\\`]|(`+)(?!`).+?(?<!`)\1(?!`)|`+", re.DOTALL)
"""Or backticks that begin none, so that they are not taken for its beginning."""
_EMPTY_IMAGE = re.compile(r"(?<!\\)!\[\s*\](?=[(\[])")
_SPECIAL = re.compile(r"([\\\[\]`*_<>&])")


@dataclass(frozen=True, slots=True)
class Missing:
    """A picture without a text. place: the character of the page before which the text goes; source: the picture's
    address as the page gives it, "" where the page says it in a way that cannot be edited with certainty."""

    place: int
    line: int
    source: str
    markup: Literal["HTML", "Markdown"]

    def written(self, text: str) -> str:
        """What is put into the page."""
        return f' alt="{html.escape(text)}"' if self.markup == "HTML" else _SPECIAL.sub(r"\\\1", text)


def find_in_html(page: str) -> list[Missing]:
    """The `<img>` without `alt`, in order. An empty `alt` says that a picture is decoration, as role="presentation" and
    aria-hidden do: those are left alone."""
    finder = _Tags(page)
    finder.feed(page)
    finder.close()
    return finder.found


def find_in_markdown(page: str) -> list[Missing]:
    """The `![](...)` without a text and the `<img>` without `alt`, in order; not those in code."""
    from markdown_it import MarkdownIt

    front = _FRONT_MATTER.match(page)
    head = front.group() if front else ""
    starts = [0, *(ending.end() for ending in re.finditer(r"\r\n?|\n", page)), len(page)]
    tokens = MarkdownIt("commonmark").enable("table").parse("\n" * head.count("\n") + page[len(head) :])
    found: list[Missing] = []
    for (first, end), block in groupby((token for token in tokens if token.type in ("inline", "html_block")), _lines):
        begin = starts[first]
        inside = _in_block(list(block), page[begin : starts[min(end, len(starts) - 1)]])
        found += [replace(each, place=each.place + begin, line=each.line + first) for each in inside]
    return sorted(found, key=lambda each: each.place)


def with_texts(page: str, texts: Iterable[tuple[Missing, str]]) -> str:
    """The page with these texts put in."""
    for missing, text in sorted(texts, key=lambda each: each[0].place, reverse=True):
        page = page[: missing.place] + missing.written(text) + page[missing.place :]
    return page


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Missing] = []
        self._starts = [0, *(ending.end() for ending in re.finditer("\n", page))]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        decoration = given.get("role") in ("presentation", "none") or given.get("aria-hidden") == "true"
        if tag != "img" or decoration or _ALT_NAMES & given.keys():
            return
        line, column = self.getpos()
        source = given.get("src") or given.get("data-src") or ""  # the latter where a script loads it later
        self.found.append(Missing(self._starts[line - 1] + column + len("<img"), line, source, "HTML"))


def _lines(token: Token) -> tuple[int, int]:
    first, end = token.map or (0, 0)
    return first, end


def _in_block(block: list[Token], source: str) -> list[Missing]:
    """Of some lines of Markdown: the tokens that they were read as, several where they are a table's row."""
    if block[0].type == "html_block":
        return find_in_html(source)
    children = [child for token in block for child in token.children or ()]
    return [*_images(children, source), *_tags(children, source)]


def _images(children: list[Token], source: str) -> Iterator[Missing]:
    """The parser tells which images there are, not where; the pattern tells where. Both must find as many."""
    wanted = [child for child in children if child.type == "image" and not child.content.strip()]
    places = [match.start() + len("![") for match in _EMPTY_IMAGE.finditer(_without_code(source))]
    if len(places) != len(wanted):
        yield from (Missing(0, 1, "", "Markdown") for _ in wanted)
        return
    for place, child in zip(places, wanted, strict=True):
        yield Missing(place, source.count("\n", 0, place) + 1, str(child.attrs.get("src", "")), "Markdown")


def _tags(children: list[Token], source: str) -> Iterator[Missing]:
    """The same for tags, which the parser gives as they are written."""
    tags, bare = [child.content for child in children if child.type == "html_inline"], _without_code(source)
    wanted = {tag: found for tag in tags if (found := find_in_html(tag))}
    places, read = list[int](), 0
    for tag in tags:
        places.append(bare.find(tag, read))
        read = max(read, places[-1] + len(tag))
    are_sure = -1 not in places and all(bare.count(tag) == sum(each.count(tag) for each in tags) for tag in wanted)
    for tag, place in zip(tags, places, strict=True):
        for missing in wanted.get(tag, ()):
            if are_sure:
                yield replace(missing, place=place + missing.place, line=source.count("\n", 0, place) + 1)
            else:
                yield Missing(0, 1, "", "HTML")


def _without_code(source: str) -> str:
    """With blanks for what is in backticks."""
    return _CODE_SPAN.sub(lambda found: " " * len(found.group()) if found.group(1) else found.group(), source)
