"""The library's routes: a real service in this process, LanceDB in a folder, a tiny model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from noisy import tiny_checkpoint
from openblip import Blip
from openblip.errors import DataError
from openblip.library import Library, index_catalogue, index_photos
from openblip.library.lock import only_writer
from openblip.serve.app import create_app
from serve_app import as_json, door, photo, problem, service, settings, wait_until_ready
from tiny_blip import tiny_blip

PHOTOS = [photo(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip("openvino", tmp_path_factory.mktemp("model"))


@pytest.fixture
def client(blip: Blip, tmp_path: Path) -> Iterator[TestClient]:
    with door(blip, tmp_path, library=str(tmp_path / "photos.lance")) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="module")
def shared(blip: Blip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """For requests that change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    with door(blip, folder, library=str(folder / "photos.lance")) as client:
        wait_until_ready(client)
        add(client, *PHOTOS)
        yield client


def files(*pictures: bytes, name: str = "picture") -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (name, each)) for each in pictures]


def add(client: TestClient, *pictures: bytes, **fields: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/images", files=files(*pictures), data=fields)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def search(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_picture_is_found_as_soon_as_it_was_added(client: TestClient, blip: Blip, tmp_path: Path) -> None:
    added = [each["image"] for each in add(client, *PHOTOS)]
    assert all(each["width"] and each["sha256"] for each in added)
    assert [each["sha256"] for each in added] == [hashlib.sha256(each).hexdigest() for each in PHOTOS]
    for data, image in zip(PHOTOS, added, strict=True):
        found = search(client, images=as_json(data), limit=2)
        assert found["hits"][0]["id"] == image["id"]
        assert found["hits"][0]["similarity"] == pytest.approx(1.0, abs=1e-3)
        assert (found["model"], found["reranked"]) == (blip.name, 0)
    assert len(Library.open(tmp_path / "photos.lance")) == len(PHOTOS)


def test_words_find_what_the_library_finds(shared: TestClient, blip: Blip) -> None:
    from openblip.library import Query, SearchOptions

    expected = Library.open(service(shared).settings.library).search(
        blip, Query("a red dog"), SearchOptions(3, rerank=4)
    )
    found = search(shared, words="a red dog", limit=3, rerank=4)
    assert [hit["id"] for hit in found["hits"]] == [hit.record.id for hit in expected.hits]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([hit.score for hit in expected.hits], abs=1e-5)
    assert found["reranked"] == 4
    assert all(0 <= hit["probability"] <= 1 for hit in found["hits"])


def test_adding_again_changes_nothing(client: TestClient, tmp_path: Path) -> None:
    [first, second] = add(client, PHOTOS[0], PHOTOS[0])
    assert sorted([first["created"], second["created"]]) == [False, True]
    [again] = add(client, PHOTOS[0])
    assert not again["created"]
    assert again["image"] == first["image"]
    [named] = add(client, PHOTOS[0], captions="a blue bus")
    assert named["image"]["caption"] == "a blue bus"
    assert add(client, PHOTOS[0])[0]["image"]["caption"] == "a blue bus"
    assert len(list((tmp_path / "photos.lance.added").rglob("*.png"))) == 1


def test_captions_are_given_or_made(client: TestClient, blip: Blip) -> None:
    [given, made] = add(client, *PHOTOS[:2], captions=["a dog in snow", " "], caption="true")
    assert given["image"]["caption"] == "a dog in snow"
    assert made["image"]["caption"] == blip.caption(PHOTOS[1])[0].text


def test_pages_go_through_all(shared: TestClient) -> None:
    ids = {each["image"]["id"] for each in add(shared, *PHOTOS)}
    after, seen = "", list[str]()
    while True:
        page = shared.get("/v1/images", params={"limit": 4, "after": after}).json()
        seen += [each["id"] for each in page["images"]]
        assert page["total"] == len(PHOTOS)
        after = page["after"]
        if not after:
            break
    assert seen == sorted(ids)
    assert shared.get("/v1/images", params={"where": "width > 100000"}).json()["images"] == []
    assert "nonsense" in problem(shared.get("/v1/images", params={"where": "nonsense > 1"}), 422)["detail"]


def test_a_thumbnail_is_small_and_known_again(shared: TestClient) -> None:
    [added] = add(shared, PHOTOS[0])
    answer = shared.get(added["image"]["thumbnail"], params={"side": 16})
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(Image.open(BytesIO(answer.content)).size) <= 16
    same = shared.get(
        added["image"]["thumbnail"], params={"side": 16}, headers={"if-none-match": answer.headers["etag"]}
    )
    assert (same.status_code, same.content) == (304, b"")
    other = shared.get(added["image"]["thumbnail"], headers={"if-none-match": answer.headers["etag"]})
    assert other.status_code == 200
    whole = shared.get(added["image"]["picture"])
    assert (whole.content, whole.headers["content-type"]) == (PHOTOS[0], "image/png")
    assert whole.headers["x-content-type-options"] == "nosniff"


def test_a_deleted_picture_is_gone_with_its_file(client: TestClient, tmp_path: Path) -> None:
    [added, _] = add(client, *PHOTOS[:2])
    address = f"/v1/images/{added['image']['id']}"
    assert client.delete(address).status_code == 204
    assert problem(client.delete(address), 404)["code"] == "no_picture"
    assert problem(client.get(address), 404)["code"] == "no_picture"
    assert len(list((tmp_path / "photos.lance.added").rglob("*.png"))) == 1
    assert added["image"]["id"] not in {hit["id"] for hit in search(client, words="a dog")["hits"]}
    assert add(client, PHOTOS[0])[0]["created"]


def test_a_users_own_file_is_never_deleted(blip: Blip, tmp_path: Path) -> None:
    own = tmp_path / "album" / "holiday.png"
    (tmp_path / "album").mkdir()
    own.write_bytes(PHOTOS[0])
    database = tmp_path / "photos.lance"
    index_photos([str(tmp_path / "album")], database, lambda: blip)
    with door(blip, tmp_path, library=str(database)) as client:
        wait_until_ready(client)
        [image] = client.get("/v1/images").json()["images"]
        assert image["name"] == "holiday.png"
        assert str(tmp_path) not in client.get("/v1/images").text
        assert client.delete(f"/v1/images/{image['id']}").status_code == 204
        assert own.read_bytes() == PHOTOS[0]
        assert client.get("/v1/images").json()["total"] == 0


def test_one_bad_picture_does_not_spoil_the_others(client: TestClient) -> None:
    [good, bad] = add(client, PHOTOS[0], b"no picture at all")
    assert good["image"]
    assert bad["image"] is None
    assert bad["error"]["code"] == "image"
    refused = client.post("/v1/images", files=files(b"no picture", name="../../etc/passwd"))
    assert problem(refused, 422)["code"] == "image"
    assert client.get("/v1/images").json()["total"] == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "nothing to look for"), ({"words": "  "}, "blank"), ({"words": "a", "limit": 0}, "limit"),
        ({"words": "a", "where": "size ~ 3"}, "size"), ({"like": "0" * 20}, "no picture"),
        ({"like": "x'; --"}, "x'; --"),
        ({"words": "a" * 3000}, "too long"), ({"words": "a", "colour": "red"}, "colour"),
        ({"images": as_json(*PHOTOS[:2])}, "images"), ({"words": "a", "weight": 2}, "weight"),
    ],
)  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused(shared: TestClient, body: dict[str, Any], named: str) -> None:
    assert named in problem(shared.post("/v1/search", json=body), 422)["detail"]


def test_half_a_character_is_refused(shared: TestClient) -> None:
    body = {"images": as_json(PHOTOS[0]), "captions": ["\udcff dog"]}
    for path, sent in (
        ("images", body),
        ("search", {"words": "\udcff"}),
        ("search", {"words": "a", "where": "id='\ud800'"}),
    ):
        answer = shared.post(f"/v1/{path}", content=json.dumps(sent), headers={"content-type": "application/json"})
        assert "half a character" in problem(answer, 422)["detail"]


def test_a_file_that_nothing_names_does_not_stay(blip: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library lies at a path with .. in it, and is being written by another process."""
    monkeypatch.setattr("openblip.library.library._PATIENCE_S", 0.05)
    database = tmp_path / "x" / ".." / "photos.lance"
    with door(blip, tmp_path, library=str(database)) as client:
        wait_until_ready(client)
        [added] = add(client, PHOTOS[0])
        with only_writer(database):
            assert problem(client.post("/v1/images", files=files(PHOTOS[1])), 503)["code"] == "library"
        stored = list((tmp_path / "photos.lance.added").rglob("*.png"))
        assert [file.read_bytes() for file in stored] == [PHOTOS[0]]
        client.delete(f"/v1/images/{added['image']['id']}")
        assert not stored[0].exists()


def test_captions_must_go_with_pictures(shared: TestClient) -> None:
    answer = shared.post("/v1/images", files=files(*PHOTOS[:2]), data={"captions": ["one"]})
    assert "1 captions" in problem(answer, 422)["detail"]


def test_many_at_once_lose_nothing(client: TestClient) -> None:
    """Additions of the same and of other pictures, searches and deletions from eight threads."""
    pictures = [photo(100 + seed) for seed in range(12)]
    doomed = add(client, photo(999))[0]["image"]["id"]

    def work(number: int) -> int:
        if number == 5:
            return client.delete(f"/v1/images/{doomed}").status_code
        if number % 3 == 2:
            return client.post("/v1/search", json={"words": "a dog", "rerank": 0}).status_code
        return client.post("/v1/images", files=files(pictures[number // 2])).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(work, range(24)))
    assert set(statuses) <= {200, 204}
    wanted = {hashlib.sha256(pictures[number // 2]).hexdigest() for number in range(24) if number % 3 != 2}
    assert {each["sha256"] for each in client.get("/v1/images").json()["images"]} == wanted


def test_a_catalogue_is_searched_and_shown(blip: Blip, tmp_path: Path) -> None:
    (tmp_path / "mug.png").write_bytes(PHOTOS[0])
    catalogue = tmp_path / "shop.csv"
    catalogue.write_text("id,title,price,picture,colour\nm1,a red dog,9.5,mug.png,red\nm2,a blue cat,3,,blue\n")
    index_catalogue([str(catalogue)], tmp_path / "shop.lance", lambda: blip)
    with door(blip, tmp_path, library=str(tmp_path / "shop.lance")) as client:
        wait_until_ready(client)
        found = search(client, words="a red dog", where="price < 5 or colour = 'red'")["hits"]
        assert [hit["name"] for hit in found] == ["a red dog", "a blue cat"]
        product = {"item": "m1", "title": "a red dog", "description": "", "price": 9.5, "fields": {"colour": "red"}}
        assert found[0]["product"] == product
        assert client.get(found[0]["picture"]).content == PHOTOS[0]
        assert (found[1]["picture"], found[1]["thumbnail"]) == ("", "")
        assert problem(client.get(f"/v1/images/{found[1]['id']}/picture"), 404)["code"] == "picture_gone"
        assert str(tmp_path) not in client.get("/v1/images").text
        similar = search(client, like="m1", by_picture=0.0)["hits"]
        assert [hit["product"]["item"] for hit in similar] == ["m2"]
        refused = client.post("/v1/images", files=files(PHOTOS[1]))
        assert "catalogue" in problem(refused, 422)["detail"]


def test_without_a_library_the_routes_say_how_to_have_one(blip: Blip, tmp_path: Path) -> None:
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        for answer in (
            client.get("/v1/images"), client.get(f"/v1/images/{'0' * 20}"), client.delete(f"/v1/images/{'0' * 20}"),
            client.post("/v1/search", json={"words": "a"}), client.post("/v1/images", files=files(PHOTOS[0])),
        ):  # fmt: skip
            assert "OPENBLIP_LIBRARY" in problem(answer, 404)["detail"]


def test_a_library_of_another_model_ends_the_start(blip: Blip, tmp_path: Path) -> None:
    other = Blip.load(tiny_checkpoint(tmp_path / "other", seed=1), precision="f32", threads=1)
    (tmp_path / "one.png").write_bytes(PHOTOS[0])
    index_photos([str(tmp_path / "one.png")], tmp_path / "photos.lance", lambda: other)
    told, errors = threading.Event(), list[BaseException]()

    def failed(error: BaseException) -> None:
        errors.append(error)
        told.set()

    made = settings(tmp_path, library=str(tmp_path / "photos.lance"))
    with TestClient(create_app(made, lambda name: blip, failed)):
        assert told.wait(20)
    assert isinstance(errors[0], DataError)
    assert "another --db" in str(errors[0])
