"""The pages of a site and the pictures that they show, as files. Knows folders, encodings and addresses within a site;
no markup and no model."""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from openblip.bulk.sidecars import whole_file
from openblip.errors import InputError
from openblip.image import shown_name

HTML_SUFFIXES = (".html", ".htm", ".xhtml")
MARKDOWN_SUFFIXES = (".md", ".markdown")
_SKIPPED_FOLDERS = ("node_modules",)
_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
_TEMPLATES = ("{{", "{%", "<%", "<?", "${")


@dataclass(frozen=True, slots=True)
class Page:
    """A file as text. data: its bytes; encoding: which give them again."""

    path: Path
    data: bytes
    text: str
    encoding: str

    @property
    def is_markdown(self) -> bool:
        """Whether it is Markdown rather than HTML."""
        return self.path.suffix.lower() in MARKDOWN_SUFFIXES

    def encoded(self, text: str) -> bytes:
        """Bytes of a changed text; what the encoding lacks becomes a character reference."""
        return text.encode(self.encoding, "xmlcharrefreplace")


def find_pages(site: Path) -> Iterator[Path]:
    """The HTML and Markdown files of a folder and below it, sorted; hidden ones and node_modules left out. Raises
    InputError where the folder cannot be read or holds none."""
    if site.is_file():
        yield site
        return
    if not site.is_dir():
        raise InputError(f"{shown_name(site)} does not exist: name a folder of HTML or Markdown files")
    empty = True
    for parent, folders, files in os.walk(site, onerror=_unreadable):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in (*HTML_SUFFIXES, *MARKDOWN_SUFFIXES):
                empty = False
                yield Path(parent, name)
    if empty:
        raise InputError(f"{shown_name(site)} holds no pages: name a folder of HTML or Markdown files")


def read_page(path: Path) -> Page:
    """Raises InputError where it cannot be read, or is in no encoding that it names."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown_name(path)} cannot be read: {error.strerror or error}") from error
    named = _CHARSET.search(data[:2048])
    for encoding in ("utf-8", named.group(1).decode("ascii") if named else ""):
        try:
            text = data.decode(encoding)
            if codecs.lookup(encoding).encode(text)[0] == data:
                return Page(path, data, text, encoding)
        except (LookupError, UnicodeError):
            continue
    raise InputError(f"{shown_name(path)} is neither UTF-8 nor in an encoding that it names: convert it")


def write_page(page: Page, text: str) -> None:
    """Change the file, all at once; its permissions stay. Raises InputError where it cannot be written, or has changed
    since it was read."""
    path = page.path.resolve()  # what a link points to
    with whole_file(path) as part:
        if path.read_bytes() != page.data:
            raise InputError(f"{shown_name(page.path)} was changed meanwhile: run this again")
        part.write_bytes(page.encoded(text))
        shutil.copymode(path, part)


def find_picture(site: Path, page: Path, source: str) -> Path | bytes:
    """The file of a picture, or its bytes, by its address in a page. Raises InputError that says why there is none to
    look at."""
    address = source.strip()
    if not address:
        raise InputError("its address cannot be told: write the text by hand")
    if any(mark in address for mark in _TEMPLATES):
        raise InputError("its address is made by a template: look at the pages that come of it")
    if address[:5].lower() == "data:":
        return _inside(address)
    if _SCHEME.match(address):
        raise InputError("it is on another site: only the site's own files are looked at")
    name = unquote(re.split("[?#]", address, maxsplit=1)[0])
    path = site / name.lstrip("/") if name.startswith("/") else page.parent / name
    if path.suffix.lower() in (".svg", ".svgz"):
        raise InputError("it is a drawing (SVG), which no model reads: write the text by hand")
    if "\0" in name or not path.resolve().is_relative_to(site.resolve()):
        raise InputError(f"it lies outside of {shown_name(site)}")
    return path


def _inside(address: str) -> bytes:
    head, comma, content = address.partition(",")
    if "svg" in head.lower():
        raise InputError("it is a drawing (SVG), which no model reads: write the text by hand")
    if not comma or not head.lower().endswith(";base64"):
        raise InputError("it lies in the page in a form that cannot be read: only base64 can")
    try:
        return base64.b64decode(unquote(content))
    except (binascii.Error, ValueError) as error:
        raise InputError("it lies in the page, but is no base64") from error


def _unreadable(error: OSError) -> None:
    raise InputError(f"{shown_name(error.filename)} may not be read: check its permissions")
