"""The tool search: what a library finds, of pictures in allowed folders alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assistant import as_data, call, found, refused
from noisy import tiny_checkpoint
from openblip import Blip
from openblip.library import Library, Query, SearchOptions, index_photos, rerank
from openblip.library.scan import read_place
from openblip.mcp.folders import AllowedFolders
from openblip.mcp.photos import AllowedPhotos
from openblip.mcp.server import create_server
from openblip.mcp.tools import Tools
from shard_files import photo, write_shard

EACH = 12


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return Blip.load(tiny_checkpoint(tmp_path_factory.mktemp("model")), precision="f32", threads=1)


@pytest.fixture(scope="module")
def root(blip: Blip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in open/ and secret/, a shard and a link to a secret photo in open/, and a library of all of them."""
    folder = tmp_path_factory.mktemp("photos").resolve()
    for place, name in enumerate(("open", "secret")):
        (folder / name).mkdir()
        for number in range(EACH):
            (folder / name / f"{number:02d}.jpg").write_bytes(photo(100 * place + number))
    rows = [(f"k{number}", photo(200 + number), {"captions": [f"dog {number}"]}) for number in range(4)]
    shard = write_shard(folder / "open" / "web.tar", rows)
    (folder / "open" / "link.jpg").symlink_to(folder / "secret" / "00.jpg")
    sources = [str(folder / "secret"), str(folder / "open" / "*.jpg"), str(shard)]
    report = index_photos(sources, folder / "all.lance", lambda: blip)
    assert report.photos == 2 * EACH + 1 + 4
    return folder


@pytest.fixture(scope="module")
def library(root: Path) -> Library:
    return Library.open(root / "all.lance")


def serving(blip: Blip, database: Path, *folders: Path) -> Any:
    allowed = AllowedFolders(folders)
    return create_server(Tools(lambda: blip, allowed, AllowedPhotos(str(database), allowed)))


@pytest.fixture
def server(blip: Blip, root: Path) -> Any:
    return serving(blip, root / "all.lance", root / "open")


def test_the_hits_are_those_of_the_library_in_its_order(blip: Blip, root: Path, library: Library) -> None:
    whole = serving(blip, root / "all.lance", root)
    expected = library.search(blip, Query("a dog runs"), SearchOptions(limit=5)).hits
    assert expected[0].probability is not None
    result = found(call(whole, "search", words="a dog runs", limit=5))
    assert [(hit["id"], hit["path"], hit["key"]) for hit in result["hits"]] == [
        (hit.record.id, hit.record.place.path, hit.record.place.key) for hit in expected
    ]
    for mine, theirs in zip(result["hits"], expected, strict=True):
        assert mine["similarity"] == round(theirs.similarity, 4)
        assert mine["probability"] == pytest.approx(theirs.probability, abs=1e-3)
        assert (mine["width"], mine["height"]) == (theirs.record.facts.width, theirs.record.facts.height)


def test_pictures_outside_are_not_found_however_near(blip: Blip, server: Any, root: Path, library: Library) -> None:
    secret = (root / "secret" / "03.jpg").read_bytes()
    nearest = library.search(blip, Query(image=secret), SearchOptions(limit=1)).hits[0]
    assert nearest.record.place.path == str(root / "secret" / "03.jpg")
    for arguments in ({"image": as_data(secret)}, {"words": "a dog"}, {"words": "dog", "hybrid": True}):
        hits = found(call(server, "search", limit=EACH + 4, **arguments))["hits"]
        assert len(hits) == EACH + 4, arguments
        assert {str(Path(hit["path"]).parent) for hit in hits} == {str(root / "open")}
        assert not [hit for hit in hits if hit["path"].endswith("link.jpg")]


def test_pictures_outside_are_not_even_read(
    blip: Blip, server: Any, root: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(rerank, "read_place", lambda place, *rest: read.append(place.path) or read_place(place, *rest))
    hits = found(call(server, "search", words="a dog", limit=3))["hits"]
    assert len(hits) == 3
    assert all(hit["probability"] is not None for hit in hits)
    assert read
    assert {str(Path(path).parent) for path in read} == {str(root / "open")}
    assert str(root / "open" / "link.jpg") not in read


def test_a_hit_is_looked_at_by_its_id(blip: Blip, server: Any, root: Path, library: Library) -> None:
    by_key = {record.name: record.id for record in library.list(limit=100)}
    in_shard = by_key[f"{root / 'open' / 'web.tar'}: k2"]
    assert found(call(server, "caption", image=in_shard))["captions"][0]["text"] == blip.caption(photo(202))[0].text
    file = by_key[str(root / "open" / "05.jpg")]
    assert found(call(server, "caption", image=file))["captions"][0]["text"] == blip.caption(photo(5))[0].text
    like = found(call(server, "search", image=file, limit=3))["hits"]
    expected = library.search(blip, Query(like=file), SearchOptions(limit=30)).hits
    allowed = [hit.record.id for hit in expected if hit.record.place.path.startswith(str(root / "open/"))]
    assert [hit["id"] for hit in like] == [each for each in allowed if each != by_key[str(root / "open/link.jpg")]][:3]


def test_an_id_of_a_picture_outside_is_as_unknown_as_any(server: Any, root: Path, library: Library) -> None:
    hidden = [record.id for record in library.list(limit=100) if record.name.endswith(("secret/00.jpg", "link.jpg"))]
    assert len(hidden) == 2
    for identity in (*hidden, "0" * 20):
        for tool in ("caption", "search"):
            said = refused(call(server, tool, image=identity))
            assert said.endswith(f"there is no picture {identity} in the library: give the id of a hit, or a path")


def test_filters_and_words_in_captions(server: Any) -> None:
    hits = found(call(server, "search", words="dog", where='key = "k3" and taken = none'))["hits"]
    assert [(hit["key"], hit["caption"], hit["taken"]) for hit in hits] == [("k3", "dog 3", None)]
    assert found(call(server, "search", words="dog", where="width > 100000"))["hits"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is nothing to look for: give words, a picture, or both"),
        ({"words": " "}, "the words to look for are blank"),
        ({"words": "a dog", "where": "path; drop table"}, "path"),
        ({"words": "a dog", "limit": 51}, "less than or equal to 50"),
        ({"image": "/etc/passwd"}, "is not in a folder that is allowed"),
        ({"image": "web.tar"}, "is not a picture that openblip can read"),
    ],
)
def test_a_wrong_search_says_what_is_wrong(server: Any, arguments: dict[str, Any], message: str) -> None:
    assert message in refused(call(server, "search", **arguments))


def test_without_a_library(blip: Blip, root: Path, tmp_path: Path) -> None:
    none = create_server(Tools(lambda: blip, AllowedFolders([root])))
    assert "Unknown tool: search" in refused(call(none, "search", words="a dog"))
    assert "none.lance" in refused(call(serving(blip, tmp_path / "none.lance", root), "search", words="a dog"))
    assert found(call(serving(blip, tmp_path / "none.lance", root), "caption", image="open/01.jpg"))


def test_a_library_of_another_model_is_refused(root: Path, tmp_path: Path) -> None:
    other = Blip.load(tiny_checkpoint(tmp_path, seed=5), precision="f32", threads=1)
    assert "model" in refused(call(serving(other, root / "all.lance", root), "search", words="a dog"))
