"""Arguments of a command line to the stream of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.bulk.sources import Found, find_images
from openblip.errors import ImageError


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as people have them, and the working folder of the test."""
    for name in (
        *("b.jpg", "a.PNG", "notes.txt", "b.txt", ".hidden.jpg", "10.webp", "9.webp"),
        *("trip/day 2/x.jpeg", "trip/day 1/y.tiff", "trip/z.gif", ".thumbnails/t.jpg", "papers/letter.pdf"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments: str, lines: tuple[str, ...] = ()) -> list[str]:
    """What was found; an error by its message."""
    return [found.as_posix() if isinstance(found, Path) else str(found) for found in find_images(arguments, lines)]


def test_a_folder_gives_its_images_sorted_and_those_below(album: Path) -> None:
    assert names(".") == ["10.webp", "9.webp", "a.PNG", "b.jpg", "trip/z.gif", "trip/day 1/y.tiff", "trip/day 2/x.jpeg"]
    assert names("trip") == ["trip/z.gif", "trip/day 1/y.tiff", "trip/day 2/x.jpeg"]
    assert names(str(album / "trip"))[0] == (album / "trip/z.gif").as_posix()


def test_files_named_outright_are_passed_on_in_order(album: Path) -> None:
    assert names("b.jpg", "notes.txt", "missing.jpg", "a.PNG") == ["b.jpg", "notes.txt", "missing.jpg", "a.PNG"]
    assert names(".hidden.jpg") == [".hidden.jpg"]


def test_a_folder_without_images_is_an_error_and_the_rest_goes_on(album: Path) -> None:
    first, second, third = find_images(["empty", "b.jpg", "papers"])
    assert isinstance(first, ImageError)
    assert "empty holds no pictures" in str(first)
    assert second == Path("b.jpg")
    assert isinstance(third, ImageError)


def test_globs(album: Path) -> None:
    assert names("*.webp") == ["10.webp", "9.webp"]
    assert names("?.jpg", "[a-b].*") == ["b.jpg", "a.PNG", "b.txt"]
    assert names("trip/**/*.jpeg") == ["trip/day 2/x.jpeg"]
    assert names("tri*") == ["trip/z.gif", "trip/day 1/y.tiff", "trip/day 2/x.jpeg"]
    assert sorted(names("trip/**")) == ["trip/day 1/y.tiff", "trip/day 2/x.jpeg", "trip/z.gif"]
    assert names(str(album / "*.jpg")) == [(album / "b.jpg").as_posix()]
    (error,) = find_images(["*.bmp"])
    assert isinstance(error, ImageError)
    assert "no file matches *.bmp" in str(error)


def test_a_name_that_looks_like_a_glob(album: Path) -> None:
    (album / "photo[1].jpg").write_bytes(b"")
    (album / "photo1.jpg").write_bytes(b"")
    assert names("photo[1].jpg") == ["photo[1].jpg"]
    (album / "set [2]").mkdir()
    (album / "set [2]" / "c.jpg").write_bytes(b"")
    assert names("set [2]") == ["set [2]/c.jpg"]


def test_each_picture_is_done_once(album: Path) -> None:
    assert names("b.jpg", "./b.jpg", str(album / "b.jpg"), "b.*", "b.jpg") == ["b.jpg", "b.txt"]
    assert names("https://example.org/a.jpg", "https://example.org/a.jpg") == ["https://example.org/a.jpg"]


def test_two_links_to_a_photo_are_two_photos_and_a_loop_ends(album: Path) -> None:
    (album / "trip" / "link.jpg").symlink_to(album / "b.jpg")
    (album / "trip" / "loop").symlink_to(album / "trip", target_is_directory=True)
    assert names("b.jpg", "trip")[:3] == ["b.jpg", "trip/link.jpg", "trip/z.gif"]
    assert len(names("trip")) == 4


def test_an_empty_name_is_not_the_working_folder(album: Path) -> None:
    (error, found) = find_images(["", "b.jpg"])
    assert isinstance(error, ImageError)
    assert "empty name" in str(error)
    assert found == Path("b.jpg")


def test_addresses(album: Path) -> None:
    assert names("HTTPS://example.org/a b.jpg?x=*") == ["HTTPS://example.org/a b.jpg?x=*"]
    for address in ("ftp://example.org/a.jpg", "s3://bucket/a.jpg", "file:///etc/passwd"):
        (error,) = find_images([address])
        assert isinstance(error, ImageError)
        assert address in str(error)


def test_a_dash_reads_lines_as_they_come(album: Path) -> None:
    assert names("-", lines=("b.jpg\n", "\n", "trip\r\n", "-\n", "missing name.jpg"))[:2] == ["b.jpg", "trip/z.gif"]
    assert names("-", lines=("missing name.jpg",)) == ["missing name.jpg"]

    def endless() -> Iterator[str]:
        index = 0
        while True:
            yield f"{index}.jpg\n"
            index += 1

    stream = find_images(["-"], endless())
    assert [next(stream) for _ in range(3)] == [Path("0.jpg"), Path("1.jpg"), Path("2.jpg")]


def test_an_unreadable_folder(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads every folder, so the refusal is played."""
    real = os.scandir

    def refuse(path: str | os.PathLike[str]) -> object:
        if Path(path).name == "day 1":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list(find_images(["trip"]))
    assert found[:2] == [Path("trip/z.gif"), Path("trip/day 2/x.jpeg")]
    assert "day 1 may not be read" in str(found[2])


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_gives_pictures_or_errors(arguments: list[str]) -> None:
    allowed: tuple[type[Found], ...] = (Path, str, ImageError)
    for found in find_images([f"no such folder/{argument}" for argument in arguments]):
        assert isinstance(found, allowed)
        assert "\n" not in str(found) or isinstance(found, Path)
