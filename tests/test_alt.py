"""Where texts are missing in a page, how they are put in, and which files an address means."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from openblip.bulk.alt.diff import unified
from openblip.bulk.alt.missing import Missing, find_in_html, find_in_markdown, with_texts
from openblip.bulk.alt.pages import find_pages, find_picture, read_page, write_page
from openblip.bulk.alt.proposals import propose
from openblip.errors import InputError, OpenBlipError


@pytest.mark.parametrize(
    "after",
    [
        '<img alt="TEXT" src="a.jpg">',
        '<p>\n  <IMG alt="TEXT"\n   SRC=a.jpg\n  />',
        "<img alt=\"TEXT\" data-src='a.jpg'><img src='b.jpg' alt='dog'>",
        '<a href=x><img alt="TEXT" src=a.jpg></a>\r\n<p>ü<img alt="TEXT" src=a.jpg>',
        '\ufeff<img alt="TEXT" src=a.jpg>',
        '<noscript><img alt="TEXT" src=a.jpg></noscript>',
    ],
)
def test_a_text_goes_into_the_tag(after: str) -> None:
    page = after.replace(' alt="TEXT"', "")
    found = find_in_html(page)
    assert {missing.source for missing in found} == {"a.jpg"}
    assert with_texts(page, [(missing, "TEXT") for missing in found]) == after
    assert not find_in_html(after)


@pytest.mark.parametrize(
    "page",
    [
        '<img alt="" src=a.jpg>',
        "<img alt src=a.jpg>",
        '<img src=a.jpg role="presentation">',
        '<img src=a.jpg aria-hidden="true">',
        '<img :src="a" :alt="b"><img v-bind:alt="b" src=a.jpg><img [alt]="b" src=a.jpg>',
        "<!-- <img src=a.jpg> -->",
        "<script>const tag = '<img src=a.jpg>'</script>",
        "<style>/* <img src=a.jpg> */</style>",
        "<imgx src=a.jpg><p title='<img src=a.jpg>'>",
        "",
    ],
)
def test_what_has_a_text_or_is_none_of_the_page_s_pictures(page: str) -> None:
    assert not find_in_html(page)


@pytest.mark.parametrize(
    "after",
    [
        "![TEXT](a.jpg)",
        '---\ntitle: ![](x.jpg)\n---\n# On\n\nSee ![TEXT ](a.jpg "t") and\n![dog](b.jpg)\n',
        "- one\n  - ![TEXT](<a.jpg>)\n\n> ![TEXT](a.jpg)\r\n",
        "| a | b |\n|---|---|\n| ![TEXT](a.jpg) | ![TEXT](a.jpg) |\n",
        "[![TEXT](a.jpg)](https://example.org)",
        "![TEXT][ref]\n\n[ref]: a.jpg\n",
        "`![](x.jpg)` ![TEXT](a.jpg)\n\n```\n![](x.jpg)\n```\n\n    ![](x.jpg)\n\n\\![](x.jpg)",
        'text <img alt="TEXT" src="a.jpg"> `<img src=x.jpg>`',
        "<div>\n<img alt=\"TEXT\" src='a.jpg'>\n</div>\n\n![TEXT](a.jpg)",
    ],
)
def test_a_text_goes_between_the_brackets(after: str) -> None:
    page = after.replace(' alt="TEXT"', "").replace("TEXT", "")
    found = find_in_markdown(page)
    assert {missing.source for missing in found} == {"a.jpg"}
    assert with_texts(page, [(missing, "TEXT") for missing in found]) == after
    assert not find_in_markdown(after)


def test_lines_are_those_of_the_page() -> None:
    assert [missing.line for missing in find_in_html("<p>\n\n<img src=a>\n<p><img src=b>")] == [3, 4]
    page = "---\nx: 1\n---\n\none\n![](a)\n\n<div>\n<img src=b>\n</div>\n\ntwo\n<img src=c>"
    assert [(missing.line, missing.source) for missing in find_in_markdown(page)] == [(6, "a"), (9, "b"), (13, "c")]


@pytest.mark.parametrize(
    "after",
    [
        'Write `<img src="a.jpg">` like this: <img alt="TEXT" src="a.jpg">',
        '<img alt="TEXT" src=a.jpg> and ``<img src=a.jpg>`` and <!-- <img src=a.jpg> --> <img alt="TEXT" src=a.jpg>',
        '\\` `<img src=a.jpg>` <img alt="TEXT" src=a.jpg>',
        '\\\\`<img src=a.jpg>` <img alt="TEXT" src=a.jpg> ``` <img alt="TEXT" src=a.jpg>',
        "\\` `![](a.jpg)` ![TEXT](a.jpg)",
    ],
)
def test_examples_in_code_stay_as_they_are(after: str) -> None:
    page = after.replace(' alt="TEXT"', "").replace("TEXT", "")
    assert with_texts(page, [(missing, "TEXT") for missing in find_in_markdown(page)]) == after


@pytest.mark.parametrize(
    "page",
    [
        '![](a.jpg) [x](y "![](z.jpg)")',
        '[x](y "<img src=a.jpg>") <img src=a.jpg>',
        "> See <!-- of\n> <img src=a.jpg> --> and <img src=a.jpg>",
    ],
)
def test_what_cannot_be_edited_with_certainty_is_not(page: str) -> None:
    """A link's title, or lines of a comment, that look like a picture."""
    [missing] = find_in_markdown(page)
    assert missing.source == ""


def test_a_text_may_hold_what_markup_means() -> None:
    said = 'a "dog" & [cat] <b> *here* \\ `x` _y_'
    html = with_texts("<img src=a>", [(find_in_html("<img src=a>")[0], said)])
    assert html == '<img alt="a &quot;dog&quot; &amp; [cat] &lt;b&gt; *here* \\ `x` _y_" src=a>'
    markdown = with_texts("![](a)", [(find_in_markdown("![](a)")[0], said)])
    assert MarkdownIt("commonmark").render(markdown) == html.replace("<img", '<p><img src="a"').replace(
        " src=a>", " /></p>\n"
    )


PIECES = [
    "<img src=a.jpg>", "![](a.jpg)", "`", "|", "<p>", "</p>", "<!--", "-->", "[", "]", "(", ")", "\\", "é", "> ", "- ",
    "<img src=b alt=c>", "![x](y)", "<script>", '"', " ", "    ", "\n", "\r\n", "\n---\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)))
def test_nothing_else_of_a_page_changes(pieces: list[str]) -> None:
    page = "".join(pieces)
    for find in (find_in_html, find_in_markdown):
        found = [missing for missing in find(page) if missing.source]
        after = with_texts(page, [(missing, "QQ") for missing in found])
        assert after.replace(' alt="QQ"', "").replace("QQ", "") == page
        assert all(page[: missing.place].lower().endswith(("<img", "![")) for missing in found)


def test_pages_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.md", "a/x.HTML", "a/y.txt", ".git/z.html", "node_modules/p/q.html", "a/.hidden.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [path.relative_to(tmp_path).as_posix() for path in find_pages(tmp_path)] == ["b.md", "a/x.HTML"]
    assert list(find_pages(tmp_path / "b.md")) == [tmp_path / "b.md"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pages"):
        list(find_pages(tmp_path / "empty"))
    with pytest.raises(InputError, match="does not exist"):
        list(find_pages(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("<p>größer".encode(), "utf-8"),
        ("\ufeff<p>größer".encode(), "utf-8"),
        ('<meta charset="windows-1252"><p>größer'.encode("cp1252"), "windows-1252"),
        ("<meta content='text/html; charset=iso-8859-2'><p>ő".encode("iso-8859-2"), "iso-8859-2"),
    ],
)
def test_pages_keep_their_encoding(tmp_path: Path, data: bytes, encoding: str) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(data)
    path.chmod(0o640)
    page = read_page(path)
    assert page.encoding == encoding
    write_page(page, f"{page.text}<b>日")
    expected = "<b>日".encode() if encoding == "utf-8" else b"<b>&#26085;"
    assert path.read_bytes() == data + expected
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(InputError, match="changed meanwhile"):
        write_page(page, "lost")
    assert path.read_bytes() == data + expected


@pytest.mark.parametrize(
    "data", [b"\xff\xfe<\x00p\x00", b'<meta charset="no-such"><p>\xe4', b'<meta charset="hex">\xe4']
)
def test_a_page_that_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "page.html").write_bytes(data)
    with pytest.raises(InputError, match="neither UTF-8 nor"):
        read_page(tmp_path / "page.html")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.html").write_text("x")
    (tmp_path / "page.html").symlink_to("real.html")
    write_page(read_page(tmp_path / "page.html"), "y")
    assert (tmp_path / "page.html").is_symlink()
    assert (tmp_path / "real.html").read_text() == "y"


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("a.jpg", "sub/a.jpg"),
        (" ./a%20b.jpg?v=3#top", "sub/a b.jpg"),
        ("../a.jpg", "a.jpg"),
        ("/images/a.jpg", "images/a.jpg"),
    ],
)
def test_addresses_are_files_of_the_site(tmp_path: Path, source: str, file: str) -> None:
    found = find_picture(tmp_path, tmp_path / "sub" / "page.html", source)
    assert isinstance(found, Path)
    assert found.resolve() == (tmp_path / file).resolve()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "cannot be told"),
        ("{{ page.image }}", "template"),
        ("https://example.org/a.jpg", "another site"),
        ("//example.org/a.jpg", "another site"),
        ("file:///etc/passwd", "another site"),
        ("../../a.jpg", "outside"),
        ("/../a.jpg", "outside"),
        ("%2e%2e/%2e%2e/a.jpg", "outside"),
        ("a%00.jpg", "outside"),
        ("a.svg#logo", "drawing"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "drawing"),
        ("data:image/png,abc", "only base64"),
        ("data:image/png;base64,a", "no base64"),
    ],
)
def test_what_is_not_looked_at_says_why(tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        find_picture(tmp_path, tmp_path / "sub" / "page.html", source)


def test_a_link_out_of_the_site_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "site" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(InputError, match="outside"):
        find_picture(tmp_path / "site", tmp_path / "site" / "page.html", "a.jpg")


def test_pictures_in_the_page(tmp_path: Path) -> None:
    source = f"data:image/png;base64,{b64encode(b'picture').decode()}"
    assert find_picture(tmp_path, tmp_path / "page.html", source) == b"picture"


@pytest.mark.parametrize("odd", ["<![foo[ a ]]>", "<![ "])
def test_a_page_that_no_parser_reads_ends_nothing(tmp_path: Path, odd: str) -> None:
    """Newer Pythons take such a declaration for a comment, as browsers do; others give up on its page alone."""
    for name, before in (("a.html", odd), ("b.md", f"<p>{odd}\n"), ("c.html", "")):
        (tmp_path / name).write_text(f"{before}<img src=x.svg>")
    told: list[OpenBlipError] = []
    found = [each.page.path.name for each in propose(tmp_path, lambda pictures: [], told.append)]
    assert "c.html" in found
    for name in ("a.html", "b.md"):
        assert name in found or any(f"{name} cannot be read as HTML" in str(error) for error in told) or odd == "<![ "
    assert all(isinstance(error, InputError) for error in told)


def test_differences_of_odd_files() -> None:
    end = b"\\ No newline at end of file\n"
    headers = b"--- a/a b.md\t\n+++ b/a b.md\t\n@@ -1 +1 @@\n"
    assert unified("a b.md", b"x", b"y") == headers + b"-x\n" + end + b"+y\n" + end
    assert unified("a", b"x\r\ny\x0cz\n", b"x\r\nY\x0cz\n").endswith(b" x\r\n-y\x0cz\n+Y\x0cz\n")
    assert unified("a", b"same\n", b"same\n") == b""


def test_written_is_what_is_shown() -> None:
    assert Missing(0, 1, "a", "HTML").written("x") == ' alt="x"'
