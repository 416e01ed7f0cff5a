"""The XMP file beside a photo: dog.jpg -> dog.jpg.xmp, as darktable, digiKam and Immich read it. The photo is not
opened.

Knows where XMP keeps a description (which is IPTC's too) and keywords, and how to leave all else in a file as it is.
Knows no model. By the standard library: of the libraries that write XMP, exiv2's bindings are under the GPL, and the
others need libraries of the system, or encode the picture anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as Xml

from openblip.bulk.sidecars import Beside, is_there, whole_file
from openblip.errors import InputError
from openblip.image import shown_name

_NAMES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
}
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
_TAIL = b'\n<?xpacket end="w"?>\n'
_MAX_BYTES = 2**24


class BesideXmp(Beside):
    """XMP files. A photo has its file where that tells what would be written; a file with other things is added to."""

    noun = "XMP file"

    def path(self, photo: Path) -> Path:
        """Where it is."""
        return photo.with_name(f"{photo.name}.xmp")

    def has(self, photo: Path, keywords: bool) -> bool:
        """Whether it tells of the photo already. Raises InputError where it cannot be read."""
        path = self.path(photo)
        return is_there(path) and _find(_read(path), "subject" if keywords else "description") is not None

    def put(self, photo: Path, texts: Iterable[str], keywords: bool) -> None:
        """The first text becomes the description; or with keywords, all that commas divide the keywords."""
        path, given = self.path(photo), list(texts)
        there = is_there(path)
        root = _read(path) if there else _new()
        if keywords:
            words = [word for text in given for part in text.split(",") if (word := part.strip())]
            _set_keywords(root, words)
        elif given:
            _set_description(root, given[0])
        known = _prefixes(path) if there else {}
        for prefix, name in {**_NAMES, **known}.items():
            if not re.fullmatch(r"ns\d+", prefix):  # which ElementTree keeps to itself
                Xml.register_namespace(prefix, name)
        with whole_file(path, "") as part:
            part.write_bytes(_HEAD + Xml.tostring(root, encoding="utf-8") + _TAIL)


def _new() -> Xml.Element:
    root = Xml.Element(_name("x:xmpmeta"))
    Xml.SubElement(Xml.SubElement(root, _name("rdf:RDF")), _name("rdf:Description"), {_name("rdf:about"): ""})
    return root


def _read(path: Path) -> Xml.Element:
    try:
        content = path.read_bytes()
        refused = len(content) > _MAX_BYTES or b"<!DOCTYPE" in content or b"<!ENTITY" in content
        builder = Xml.TreeBuilder(insert_comments=True, insert_pis=True)
        root: Xml.Element | None = None if refused else Xml.fromstring(content, Xml.XMLParser(target=builder))
    except (OSError, Xml.ParseError, ValueError, LookupError) as error:  # the last two: an encoding it has not
        raise InputError(f"{shown_name(path)} cannot be read ({error}): repair it or move it away") from error
    if root is None or root.tag not in (_name("x:xmpmeta"), _name("rdf:RDF")) or _description(root) is None:
        raise InputError(f"{shown_name(path)} is no XMP file: move it away")
    return root


def _prefixes(path: Path) -> dict[str, str]:
    """What a file calls its namespaces, so that they keep their names."""
    return {prefix: name for _, (prefix, name) in Xml.iterparse(BytesIO(path.read_bytes()), ["start-ns"]) if prefix}


def _description(root: Xml.Element) -> Xml.Element | None:
    return next(root.iter(_name("rdf:Description")), None)


def _find(root: Xml.Element, what: str) -> Xml.Element | None:
    return next(root.iter(_name(f"dc:{what}")), None)


def _property(root: Xml.Element, what: str, kind: str) -> Xml.Element:
    """The list of a property, which is put there where it is not."""
    found = _find(root, what)
    if found is None:
        place = _description(root)
        assert place is not None
        found = Xml.SubElement(place, _name(f"dc:{what}"))
    values = found.find(_name(f"rdf:{kind}"))
    return Xml.SubElement(found, _name(f"rdf:{kind}")) if values is None else values


def _set_description(root: Xml.Element, text: str) -> None:
    """In the default language; those in other languages stay."""
    values = _property(root, "description", "Alt")
    own = next((value for value in values if value.get(_LANGUAGE) == "x-default"), None)
    if own is None:
        own = Xml.Element(_name("rdf:li"), {_LANGUAGE: "x-default"})
        values.insert(0, own)
    own.text = _plain(text)


def _set_keywords(root: Xml.Element, words: Iterable[str]) -> None:
    values = _property(root, "subject", "Bag")
    for value in list(values):
        values.remove(value)
    for word in words:
        Xml.SubElement(values, _name("rdf:li")).text = _plain(word)


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter for letter in text if letter.isprintable())


def _name(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NAMES[prefix]}}}{local}"
