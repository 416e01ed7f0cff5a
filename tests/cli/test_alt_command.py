"""`openblip alt` on a real site: the difference that git applies, the pages that are written, and what is left out."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from command_line import COMMAND, with_model
from openblip.pipeline import Blip

PAGES = {
    "index.html": '<!doctype html>\n<img src="/img/photo0.jpg" width=60>\n<img src="img/photo1.jpg" alt="">\n',
    "blog/first post.md": "---\ntitle: One\n---\r\nWe saw ![](../img/photo2.jpg) and\r\n![](../img/photo0.jpg)",
    "blog/old.htm": '<meta charset="iso-8859-1"><p>größer <IMG SRC=../img/photo3.jpg>',
    "about.md": "Nothing is missing: ![a dog](img/photo1.jpg)\n",
}


@pytest.fixture
def site(album: Path) -> Path:
    folder = album / "site"
    (folder / "img").mkdir(parents=True)
    for photo in album.glob("photo*.jpg"):
        shutil.copy(photo, folder / "img")
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode("iso-8859-1" if "iso-8859-1" in text else "utf-8"))
    return folder


def contents(site: Path) -> dict[str, bytes]:
    return {name: (site / name).read_bytes() for name in PAGES}


def test_git_applies_the_difference(openblip: Any, site: Path, album: Path, model: str) -> None:
    """In a process of its own: the bytes of a page may be no UTF-8."""
    before, copied = contents(site), shutil.copytree(site, album / "copy")
    shown = subprocess.run([*COMMAND, "alt", str(site), *with_model(model)], capture_output=True, check=True)
    assert shown.stderr == b"openblip: texts proposed: 4, in pages: 3; skipped: 0, failed: 0\n"
    assert shown.stdout.count(b"@@ -") == 3
    assert contents(site) == before
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], input=shown.stdout, cwd=copied, check=True)
    assert openblip("alt site --write")[0] == 0
    assert contents(site) == contents(copied) != before


def test_write_puts_each_caption_where_its_picture_is(openblip: Any, site: Path, blip: Blip) -> None:
    first, second, third = (blip.caption(site / "img" / f"photo{index}.jpg")[0].text for index in (0, 2, 3))
    assert len({first, second, third}) == 3
    assert openblip("alt site --write") == (0, [], ["openblip: texts written: 4, in pages: 3; skipped: 0, failed: 0"])
    found = contents(site)
    assert found["index.html"].decode() == PAGES["index.html"].replace('<img src="/', f'<img alt="{first}" src="/')
    post = PAGES["blog/first post.md"].replace("![](../img/photo2", f"![{second}](../img/photo2")
    assert found["blog/first post.md"].decode() == post.replace("![](../img/photo0", f"![{first}](../img/photo0")
    old = PAGES["blog/old.htm"].replace("<IMG", f'<IMG alt="{third}"')
    assert found["blog/old.htm"] == old.encode("iso-8859-1")
    assert found["about.md"].decode() == PAGES["about.md"]
    again = openblip("alt site --write")
    assert again == (0, [], ["openblip: texts written: 0, in pages: 0; skipped: 0, failed: 0"])
    assert contents(site) == found


def test_what_is_broken_fails_and_what_is_elsewhere_is_skipped(openblip: Any, site: Path) -> None:
    (site / "img" / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    (site / "bad.html").write_bytes(b"\xff\xfe<\x00")
    (site / "index.html").write_text(
        '<img src="img/broken.jpg">\n<img src="img/none.jpg">\n<img src="https://example.org/a.jpg">\n'
        '<img src="{{ url }}">\n<img src="logo.svg">\n<img src="img/photo1.jpg">\n'
    )
    code, lines, errors = openblip("alt --json site")
    assert code == 1
    rows = [json.loads(line) for line in lines]
    assert [(row["page"], row["line"], row["source"]) for row in rows if row["alt"] is None] == [
        ("index.html", 1, "img/broken.jpg"),
        ("index.html", 2, "img/none.jpg"),
        ("index.html", 3, "https://example.org/a.jpg"),
        ("index.html", 4, "{{ url }}"),
        ("index.html", 5, "logo.svg"),
    ]
    assert all(0 < row["probability"] <= 1 for row in rows if row["alt"])
    assert sum(error.startswith("openblip: skipped: index.html:") for error in errors) == 3
    assert sum(error.startswith("openblip: error: ") for error in errors) == 3
    assert errors[-1] == "openblip: texts proposed: 4, in pages: 3; skipped: 3, failed: 3"


def test_one_page(openblip: Any, site: Path) -> None:
    """Its folder is the site: what lies above is not looked at."""
    code, lines, errors = openblip("alt --json site/blog/old.htm")
    assert code == 0
    assert "outside" in json.loads(lines[0])["error"]
    assert errors[-1] == "openblip: texts proposed: 0, in pages: 0; skipped: 1, failed: 0"


def test_a_folder_without_pages(openblip: Any, album: Path) -> None:
    (album / "none").mkdir()
    assert openblip("alt none") == (
        1,
        [],
        ["openblip: error: none holds no pages: name a folder of HTML or Markdown files"],
    )
    assert openblip("alt nowhere")[0] == 1
