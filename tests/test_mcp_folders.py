"""Which files an assistant may name: those in allowed folders, however the name is written; of others it learns
nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.errors import ImageError, OptionError
from openblip.mcp.folders import AllowedFolders

LIMIT = 1000
SECRET = b"secret"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """allowed/ with files and links, also to what lies outside; secret/ beside it, and a folder that begins alike."""
    root = tmp_path_factory.mktemp("tree").resolve()
    for folder in ("allowed/sub", "secret/deep", "allowed-not"):
        (root / folder).mkdir(parents=True)
    for name in ("allowed/a.jpg", "allowed/sub/b c\N{NARROW NO-BREAK SPACE}d.jpg"):
        (root / name).write_bytes(name.encode())
    for name in ("secret/a.jpg", "secret/deep/a.jpg", "allowed-not/a.jpg"):
        (root / name).write_bytes(SECRET)
    allowed = root / "allowed"
    (allowed / "large.jpg").write_bytes(bytes(LIMIT + 1))
    (allowed / "inner.jpg").symlink_to("a.jpg")
    (allowed / "out.jpg").symlink_to("../secret/a.jpg")
    (allowed / "nowhere.jpg").symlink_to("../secret/none.jpg")
    (allowed / "outfolder").symlink_to("../secret")
    (allowed / "loop.jpg").symlink_to("loop.jpg")
    (root / "link").symlink_to("allowed")
    os.mkfifo(allowed / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(allowed / "socket.jpg"))
        yield root


@pytest.fixture(scope="module")
def folders(tree: Path) -> AllowedFolders:
    return AllowedFolders([tree / "allowed"])


def refusal(folders: AllowedFolders, name: str) -> str:
    with pytest.raises(ImageError) as caught:
        folders.read(name, LIMIT)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_way_to_name_a_file_inside(tree: Path, folders: AllowedFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    inside = f"{tree}/allowed/a.jpg"
    addresses = f"file://{inside}", f"FILE://localhost{tree}/allowed//a.jpg"
    for name in (inside, "a.jpg", "./a.jpg", "inner.jpg", "~/allowed/a.jpg", f"{tree}/link/a.jpg", *addresses):
        assert folders.read(name, LIMIT) == b"allowed/a.jpg", name
    spaced = "sub/b c\N{NARROW NO-BREAK SPACE}d.jpg"
    assert folders.read(spaced, LIMIT) == f"allowed/{spaced}".encode()
    assert folders.read(f"file://{tree}/allowed/sub/b%20c%E2%80%AFd.jpg", LIMIT) == f"allowed/{spaced}".encode()


def test_a_link_to_an_allowed_folder_is_that_folder(tree: Path) -> None:
    linked = AllowedFolders([tree / "link", tree / "allowed"])
    assert linked.folders == (tree / "allowed",)
    assert linked.read(f"{tree}/link/a.jpg", LIMIT) == b"allowed/a.jpg"


def test_the_first_folder_that_has_it_counts(tree: Path) -> None:
    both = AllowedFolders([tree / "allowed" / "sub", tree / "allowed-not", tree / "allowed"])
    assert both.read("a.jpg", LIMIT) == SECRET
    assert both.read("inner.jpg", LIMIT) == b"allowed/a.jpg"


@pytest.mark.parametrize(
    "name",
    ["{root}/secret/a.jpg", "{root}/secret/none.jpg", "{root}/nothing/at/all", "{root}/allowed-not/a.jpg", "{root}",
     "/", "out.jpg", "nowhere.jpg", "outfolder", "outfolder/a.jpg", "outfolder/none.jpg", "outfolder/deep/a.jpg",
     "file://{root}/secret/a.jpg", "file://{root}/secret/none.jpg", "/proc/self/environ", "/proc/self/cwd/a.jpg",
     "/dev/stdin", "/etc/passwd", "/etc/shadow"],
)  # fmt: skip
def test_what_is_outside_is_refused_the_same_way_whether_it_exists(
    tree: Path, folders: AllowedFolders, name: str
) -> None:
    name = name.format(root=tree)
    assert refusal(folders, name) == f"{name} is not in a folder that is allowed: give a picture in {tree}/allowed"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret/a.jpg", "holds '..'"),
        ("sub/../a.jpg", "holds '..'"),
        ("{root}/allowed/../secret/a.jpg", "holds '..'"),
        ("file://{root}/allowed/%2e%2e/secret/a.jpg", "holds '..'"),
        ("file://other/allowed/a.jpg", "names another machine"),
        ("file://[broken/a.jpg", "is no address"),
        ("", "is no path"),
        (" ", "is no path"),
        ("a.jpg\0.png", "is no path"),
        ("file://{root}/allowed/a.jpg%00", "is no path"),
        ("a" * 5000, "too long"),
        ("a" * 300, "cannot be read: File name too long"),
        ("~root/a.jpg", "does not exist"),
        ("none.jpg", "none.jpg does not exist: check the path"),
        ("sub", "is a folder"),
        (".", "is a folder"),
        ("a.jpg/b.jpg", "cannot be read"),
        ("large.jpg", "is larger than 1,000 bytes"),
        ("pipe.jpg", "is no file"),
        ("socket.jpg", "cannot be read"),
        ("loop.jpg", "cannot be read"),
        ("no\nline.jpg", r"'no\nline.jpg' does not exist"),
    ],
)
def test_a_hostile_or_wrong_name_is_refused_with_a_reason(
    tree: Path, folders: AllowedFolders, name: str, message: str
) -> None:
    assert message in refusal(folders, name.format(root=tree))


def test_a_link_put_in_the_way_after_the_look_is_not_followed(
    tree: Path, folders: AllowedFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AllowedFolders, "find", lambda self, name: tree / "allowed" / name)
    assert "cannot be read" in refusal(folders, "out.jpg")
    assert "is not in a folder that is allowed" in refusal(folders, "outfolder/a.jpg")
    assert folders.read("a.jpg", LIMIT) == b"allowed/a.jpg"


NAMES = st.lists(
    st.sampled_from(
        ["..", ".", "/", "~", "~/", "file:", "file://", "%2e%2e", "%2f", "\\", "\0", " ", "a.jpg", "out.jpg",
         "outfolder", "sub", "secret", "deep", "none.jpg", "allowed", "{root}", "{root}/", "link", "loop.jpg"]
    ),
    max_size=8,
)  # fmt: skip


@given(NAMES, st.sampled_from(["", "/"]))
def test_no_name_reaches_the_secret(tree: Path, folders: AllowedFolders, parts: list[str], between: str) -> None:
    name = between.join(parts).replace("{root}", str(tree))
    with suppress(ImageError):
        assert folders.read(name, LIMIT) == b"allowed/a.jpg"


def test_without_folders_it_says_how_to_allow_one() -> None:
    assert "start the server with --allow FOLDER" in refusal(AllowedFolders([]), "/etc/passwd")


def test_what_is_no_folder_cannot_be_allowed(tree: Path) -> None:
    with pytest.raises(OptionError, match="none is not a folder: name one that exists"):
        AllowedFolders([tree / "none"])
