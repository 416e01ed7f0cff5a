"""XMP files beside photos: what they hold, what they leave alone, and what cannot be one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_photos import photo_bytes
from command_line import with_model
from noisy import tiny_checkpoint
from openblip import cli
from openblip.bulk.xmp import BesideXmp
from openblip.errors import InputError

DC = "http://purl.org/dc/elements/1.1/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- a note of somebody -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/" xmp:Rating="4" darktable:xmp_version="5">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Ann &amp; Bob</rdf:li></rdf:Alt></dc:title>
   %s
   <darktable:history><rdf:Seq><rdf:li darktable:num="0" darktable:operation="exposure"/></rdf:Seq></darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
GERMAN = '<dc:description><rdf:Alt><rdf:li xml:lang="de">ein Hund</rdf:li>%s</rdf:Alt></dc:description>'
GB2312 = (DARKTABLE % "").replace("UTF-8", "gb2312")
MINE = '<rdf:li xml:lang="x-default">mine</rdf:li>'


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Of the photos, with the time of their last change."""
    return {
        path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in folder.glob("*.jpg")
    }


def values(path: Path, name: str) -> list[tuple[str, str]]:
    """Of a property: language and text of each, as another parser reads them."""
    [found] = minidom.parseString(path.read_bytes()).getElementsByTagNameNS(DC, name)
    return [
        (value.getAttribute("xml:lang"), "".join(node.data for node in value.childNodes))
        for value in found.getElementsByTagNameNS(RDF, "li")
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1))
def test_any_text_comes_back(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    photo = tmp_path_factory.mktemp("xmp") / "dog.jpg"
    BesideXmp().write(photo, [text, "another"])
    expected = "".join(letter for letter in text if letter.isprintable())
    assert values(photo.with_name("dog.jpg.xmp"), "description") == [("x-default", expected)]
    assert [path.name for path in photo.parent.iterdir()] == ["dog.jpg.xmp"]


@pytest.mark.parametrize("described", ["", GERMAN % "", GERMAN % MINE])
def test_all_else_in_a_file_stays(described: str, tmp_path: Path) -> None:
    photo, path = tmp_path / "dog.jpg", tmp_path / "dog.jpg.xmp"
    path.write_text(DARKTABLE % described, encoding="utf-8")
    BesideXmp("replace").write(photo, ["a dog <runs> & jumps"])
    found = values(path, "description")
    assert ("x-default", "a dog <runs> & jumps") in found
    assert len(found) == (2 if described else 1)
    assert (("de", "ein Hund") in found) == bool(described)
    text = path.read_text(encoding="utf-8")
    assert values(path, "title") == [("x-default", "Ann & Bob")]
    for kept in ('xmp:Rating="4"', 'darktable:xmp_version="5"', 'darktable:operation="exposure"', "x:xmptk="):
        assert kept in text
    once = path.read_bytes()
    BesideXmp("replace").write(photo, ["a dog <runs> & jumps"])
    assert path.read_bytes() == once


def test_names_that_start_as_those_of_the_parser_stay(tmp_path: Path) -> None:
    photo, path = tmp_path / "dog.jpg", tmp_path / "dog.jpg.xmp"
    path.write_text((DARKTABLE % "").replace("darktable", "nsfw"), encoding="utf-8")
    BesideXmp().write(photo, ["a dog"])
    assert 'nsfw:operation="exposure"' in path.read_text(encoding="utf-8")
    path.write_text((DARKTABLE % "").replace("darktable", "ns7"), encoding="utf-8")
    BesideXmp().write(photo, ["a dog"])
    assert values(path, "description") == [("x-default", "a dog")]


def test_a_photo_has_its_file_where_that_describes_it(tmp_path: Path) -> None:
    photo, path = tmp_path / "dog.jpg", tmp_path / "dog.jpg.xmp"
    path.write_text(DARKTABLE % "", encoding="utf-8")
    assert BesideXmp().wanted(photo)
    BesideXmp().write(photo, ["a dog"])
    assert not BesideXmp().wanted(photo)
    BesideXmp().write(photo, ["another"])
    assert values(path, "description") == [("x-default", "a dog")]
    assert BesideXmp().wanted(photo, keywords=True)
    BesideXmp("error").write(photo, ["dog, red ball,"], keywords=True)
    assert values(path, "subject") == [("", "dog"), ("", "red ball")]
    with pytest.raises(InputError, match="is there already"):
        BesideXmp("error").wanted(photo)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not xml",
        "<html/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        DARKTABLE[:300],
        "\0",
        GB2312,
        GB2312.replace("gb2312", "foo"),
    ],
)
def test_what_is_no_xmp_file_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "dog.jpg.xmp"
    path.write_text(content)
    for existing in ("skip", "replace"):
        with pytest.raises(InputError, match=r"dog\.jpg\.xmp"):
            BesideXmp(existing).write(tmp_path / "dog.jpg", ["a dog"])  # type: ignore[arg-type]
    assert path.read_text() == content


def test_the_command_leaves_photos_as_they_are(tmp_path: Path, capsys: Any) -> None:
    album, model = tmp_path / "album", tiny_checkpoint(tmp_path / "model")
    album.mkdir()
    for place in range(3):
        (album / f"{place}.jpg").write_bytes(photo_bytes(place))
    (album / "1.jpg.xmp").write_text("broken")
    before = {
        path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in album.glob("*.jpg")
    }
    assert cli.run(["caption", str(album), "--xmp", *with_model(model)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    [error, summary] = captured.err.splitlines()
    assert "1.jpg.xmp cannot be read" in error
    assert "2 done, 1 failed" in summary
    assert cli.run(["caption", str(album), *with_model(model)]) == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    for place in (0, 2):
        photo = album / f"{place}.jpg"
        assert values(photo.with_name(f"{photo.name}.xmp"), "description") == [("x-default", said[str(photo)])]
    labels = ["--label", "dog", "--label", "red car", "--threshold", "0"]
    assert cli.run(["tag", str(album / "0.jpg"), "--xmp", *labels, *with_model(model)]) == 0
    assert {word for _, word in values(album / "0.jpg.xmp", "subject")} <= {"dog", "red car"}
    assert values(album / "0.jpg.xmp", "description") == [("x-default", said[str(album / "0.jpg")])]
    after = {
        path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in album.glob("*.jpg")
    }
    assert after == before
