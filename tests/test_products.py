"""Catalogues of products: indexed by picture and text, kept up to date, searched in every way."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from command_line import with_model
from noisy import tiny_checkpoint
from openblip import Blip, cli
from openblip.errors import DataError, ImageError, InputError, OpenBlipError, OptionError
from openblip.library import Library, Product, Query, SearchOptions, index_catalogue, index_photos
from openblip.library.duplicates import find_duplicates
from openblip.library.encode import text_vector
from openblip.library.forms import mixed
from openblip.library.index_items import CatalogueReport
from openblip.library.page import write_hits
from openblip.library.products import TEXT_WEIGHT, joined
from openblip.library.runs import IndexOptions
from openblip.library.table import PhotoTable
from shop import Row, draw, drawn_rows, products, write_csv


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def blip(model: str) -> Blip:
    return Blip.load(model, precision="f32", threads=1)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return drawn_rows(tmp_path)


@pytest.fixture(scope="module")
def shop(blip: Blip, tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("shop")
    table = write_csv(folder / "catalogue.csv", drawn_rows(folder))
    report = index_catalogue([table], folder / "shop.lance", lambda: blip)
    assert counts(report) == {"added": 12, "pictures_encoded": 12, "texts_encoded": 12, "items": 12}
    return Library.open(folder / "shop.lance")


def no_model() -> Blip:
    pytest.fail("the model was loaded")


def counts(report: CatalogueReport) -> dict[str, int]:
    return {name: value for name, value in report.to_dict().items() if value and name != "seconds"}


def ids(library: Library, blip: Blip, query: Query, **options: Any) -> list[str]:
    """By the vectors alone, unless hybrid is given."""
    wanted = SearchOptions(**{"hybrid": False, **options})
    return [hit.to_dict()["id"] for hit in library.search(blip, query, wanted).hits]


# ------------------------------------------------------------------------------------------------------------- indexing


def test_a_product_holds_both_vectors_and_all_fields(blip: Blip, shop: Library) -> None:
    record = shop.get("sku 2'")
    assert isinstance(record, Product)
    assert_allclose(record.of_picture, blip.embed_images(record.place.path)[0], atol=1e-3)
    assert_allclose(record.of_text, text_vector(blip, record.item.text), atol=1e-3)
    values = record.to_dict()
    assert (values["id"], values["title"], values["price"], values["width"]) == ("sku 2'", "A hat", 25.5, 64)
    assert values["fields"] == {
        "colour": "blue", "screen_size": 2, "listed": "2024-03-15T00:00:00", "size": None
    }  # fmt: skip
    json.dumps(values)
    assert shop.picture(record) == Path(record.place.path).read_bytes()
    again = shop.get(record.id)
    assert again is not None
    assert again.to_dict() == values
    [first, *_], [second, *_] = shop.page(limit=1), shop.page(where="colour = blue", after=shop.page(limit=1)[0].id)
    assert first.id < second.id
    assert (shop.holds, shop.model.width) == ("products", blip.part("embed").config.projection)


def test_only_what_changed_is_encoded(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    database, table = tmp_path / "shop.lance", tmp_path / "c.csv"
    index_catalogue([write_csv(table, rows)], database, lambda: blip, IndexOptions(batch_size=5))
    library = Library.open(database)
    before = products(library)
    assert counts(index_catalogue([str(table)], database, no_model)) == {"unchanged": 12, "items": 12}

    rows[0]["Price"] = "99.00"
    assert counts(index_catalogue([write_csv(table, rows)], database, no_model)) == {
        "updated": 1, "unchanged": 11, "items": 12
    }  # fmt: skip
    rows[1]["Title"] = "A small hat"
    assert counts(index_catalogue([write_csv(table, rows)], database, lambda: blip)) == {
        "updated": 1, "unchanged": 11, "texts_encoded": 1, "items": 12
    }  # fmt: skip
    draw(tmp_path / "hat-blue.png", "shirt", "green")  # as that of item 9: the same bytes, encoded long ago
    draw(tmp_path / "hat-yellow.png", "hat", "red")
    Image.open(tmp_path / "hat-yellow.png").rotate(90).save(tmp_path / "hat-yellow.png")
    assert counts(index_catalogue([str(table)], database, lambda: blip)) == {
        "updated": 2, "unchanged": 10, "pictures_encoded": 1, "items": 12
    }  # fmt: skip
    gone = rows.pop()
    rows.append({**rows[0], "ID": "variant", "Price": "1"})  # the same picture and text
    assert counts(index_catalogue([write_csv(table, rows)], database, lambda: blip)) == {
        "added": 1, "unchanged": 11, "dropped": 1, "texts_encoded": 1, "items": 12
    }  # fmt: skip
    after = products(library)
    assert gone["ID"] not in after
    assert after["sku 0'"].item.price == 99.0
    assert (after["sku 0'"].vector == before["sku 0'"].vector).all()
    assert (after["variant"].vector == before["sku 0'"].vector).all()
    assert (after["sku 1'"].of_picture == before["sku 1'"].of_picture).all()
    assert (after["sku 1'"].of_text != before["sku 1'"].of_text).any()
    assert (after["sku 2'"].of_picture == before["sku 9'"].of_picture).all()
    assert_allclose(after["sku 3'"].of_picture, blip.embed_images(tmp_path / "hat-yellow.png")[0], atol=1e-3)


def test_columns_come_and_go_and_change_their_kind(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    database, table = tmp_path / "shop.lance", tmp_path / "c.csv"
    index_catalogue([write_csv(table, rows)], database, lambda: blip)
    library = Library.open(database)
    assert ids(library, blip, Query("hat"), where="screen_size >= 10 and colour = blue") == ["sku 10'"]
    for row in rows:
        del row["Colour"]
        row["Screen Size"] = "big" if row["ID"] == "sku 3'" else row["Screen Size"]
        row["stock"] = "4"
    assert counts(index_catalogue([write_csv(table, rows)], database, no_model)) == {"updated": 12, "items": 12}
    assert ids(library, blip, Query("hat"), where="screen_size = big and stock = 4") == ["sku 3'"]
    with pytest.raises(OptionError, match="'colour' is no field"):
        ids(library, blip, Query("hat"), where="colour = blue")


def test_without_a_picture_an_item_is_found_by_its_text(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    database, table = tmp_path / "shop.lance", tmp_path / "c.csv"
    (tmp_path / "hat-red.png").write_text("no picture")
    rows[1]["Picture"], rows[2]["Picture"], rows[3]["Picture"] = "", "missing.png", "https://host.example/hat.png"
    told: list[OpenBlipError] = []
    report = index_catalogue([write_csv(table, rows)], database, lambda: blip, report=told.append)
    expected = {"added": 12, "failed": 3, "unpictured": 4, "pictures_encoded": 8, "texts_encoded": 12, "items": 12}
    assert counts(report) == expected
    messages = sorted(map(str, told))
    assert '"sku 0\'": ' in messages[0]
    assert "hat-red.png is not a picture" in messages[0]
    assert "missing.png does not exist" in messages[1]
    assert "is an address" in messages[2]
    again = index_catalogue([str(table)], database, lambda: blip, report=told.append)
    assert counts(again) == {"unchanged": 12, "failed": 3, "unpictured": 4, "items": 12}
    library = Library.open(database)
    found = products(library)
    assert not found["sku 0'"].of_picture.any()
    assert ids(library, blip, Query(rows[0]["Title"] + " " + rows[0]["Description"]), by_picture=0.0)[0] == "sku 0'"
    with pytest.raises(ImageError, match="has no picture"):
        library.picture(found["sku 1'"])
    result = library.search(blip, Query("hat"), SearchOptions(limit=12, rerank=12))
    assert result.reranked == 8
    write_hits(tmp_path / "hits.html", "hat", result)
    assert (tmp_path / "hits.html").read_text().count("has no picture") == 4
    draw(tmp_path / "hat-red.png", "hat", "red")
    report = index_catalogue([str(table)], database, lambda: blip)
    assert counts(report) == {
        "updated": 1, "unchanged": 11, "failed": 2, "unpictured": 3, "pictures_encoded": 1, "items": 12
    }  # fmt: skip


def test_photos_and_products_do_not_mix(blip: Blip, tmp_path: Path, shop: Library, rows: list[Row]) -> None:
    with pytest.raises(DataError, match=r"is a library of products, not of photos"):
        index_photos([str(tmp_path)], shop.database, no_model)
    with pytest.raises(DataError, match="not of photos"):
        shop.add(blip, tmp_path / "hat-red.png")
    photos = tmp_path / "photos.lance"
    index_photos([str(tmp_path)], photos, lambda: blip)
    with pytest.raises(DataError, match=r"is a library of photos, not of products"):
        index_catalogue([write_csv(tmp_path / "c.csv", rows)], photos, no_model)
    with pytest.raises(OptionError, match=r"by_picture=0\.5 is for catalogues"):
        Library.open(photos).search(blip, Query("hat"), SearchOptions(by_picture=0.5))


def test_what_a_row_that_cannot_be_read_held_is_not_dropped(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    database, table = tmp_path / "shop.lance", tmp_path / "c.csv"
    lines = Path(write_csv(table, rows)).read_text().splitlines()
    index_catalogue([str(table)], database, lambda: blip)
    lines[3] = lines[3].split(",")[0]
    table.write_text("\n".join(lines[:-1]))
    told: list[OpenBlipError] = []
    report = index_catalogue([str(table)], database, no_model, report=told.append)
    assert counts(report) == {"unchanged": 10, "failed": 1, "items": 12}
    assert "line 4 has not the 9 cells of the first line" in str(told[0])


def test_a_catalogue_that_is_empty_drops_nothing(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    database, table = tmp_path / "shop.lance", tmp_path / "c.csv"
    index_catalogue([write_csv(table, rows)], database, lambda: blip)
    table.write_text("id,title\n")
    with pytest.raises(DataError, match="there are no items"):
        index_catalogue([str(table)], database, no_model)
    with pytest.raises(DataError, match="cannot read the table"):
        index_catalogue([str(tmp_path / "none.csv")], database, no_model)
    assert len(Library.open(database)) == 12
    assert Library.open(database).delete(["sku 0'", "nothing"]) == 1


# ------------------------------------------------------------------------------------------------------------ searching


@pytest.mark.parametrize("by_picture", [0.0, 0.3, 1.0])
def test_scores_are_the_weighted_sum_of_both_cosines(blip: Blip, shop: Library, by_picture: float) -> None:
    query = Query("a blue ball", shop.picture(products(shop)["sku 4'"]), weight=0.7)
    assert query.image is not None
    words, picture = text_vector(blip, query.words), blip.embed_images(query.image)[0]
    wanted = mixed(words, picture, 0.7)
    expected = {
        identity: by_picture * record.of_picture @ wanted + (1 - by_picture) * record.of_text @ wanted
        for identity, record in products(shop).items()
    }
    hits = shop.search(blip, query, SearchOptions(limit=12, by_picture=by_picture, hybrid=False)).hits
    assert {hit.to_dict()["id"]: hit.score for hit in hits} == pytest.approx(expected, abs=2e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_the_scores_in_the_table_are_those_that_order() -> None:
    """The layout: one product of vectors is the weighted sum."""
    generator = np.random.default_rng(0)
    query, picture, text = generator.normal(size=(3, 8)).astype(np.float32)
    found = joined(0.3 * query, 0.7 * query) @ joined(picture, text)
    assert_allclose(found, 0.3 * query @ picture + 0.7 * query @ text, rtol=1e-5)


def test_a_picture_finds_its_item_and_its_variants_by_words(blip: Blip, shop: Library) -> None:
    for identity, record in products(shop).items():
        assert ids(shop, blip, Query(image=shop.picture(record)), by_picture=1.0)[0] == identity
        assert ids(shop, blip, Query(record.item.text), by_picture=0.0)[0] == identity


def test_similar_items_compare_like_with_like(blip: Blip, shop: Library) -> None:
    all_of = products(shop)
    one = all_of["sku 5'"]
    found = shop.search(blip, Query(like="sku 5'"), SearchOptions(limit=12, by_picture=0.4)).hits
    assert len(found) == 11
    expected = {
        identity: 0.4 * one.of_picture @ other.of_picture + 0.6 * one.of_text @ other.of_text
        for identity, other in all_of.items()
        if identity != "sku 5'"
    }
    assert {hit.to_dict()["id"]: hit.score for hit in found} == pytest.approx(expected, abs=2e-3)
    but_red = shop.search(
        blip, Query("in red", like="sku 5'", weight=1.0), SearchOptions(limit=3, by_picture=0.4, hybrid=False)
    )
    by_words = shop.search(blip, Query("in red"), SearchOptions(limit=4, by_picture=0.4, hybrid=False))
    assert [hit.record.id for hit in but_red.hits] == [
        hit.record.id for hit in by_words.hits if hit.record.id != one.id
    ][:3]
    with pytest.raises(InputError, match="there is no product 'sku 99'"):
        ids(shop, blip, Query(like="sku 99"))


def test_what_is_like_an_item_without_a_picture_is_like_its_text(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    rows[0]["Picture"] = ""
    database = tmp_path / "shop.lance"
    index_catalogue([write_csv(tmp_path / "c.csv", rows)], database, lambda: blip)
    library = Library.open(database)
    expected = ids(library, blip, Query(rows[0]["Title"] + ". " + rows[0]["Description"]), by_picture=0.5)
    assert (
        ids(library, blip, Query(like="sku 0'"), by_picture=0.5, limit=5)
        == [identity for identity in expected if identity != "sku 0'"][:5]
    )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("price < 50 and colour = 'red'", {0, 4}),
        ("price >= 105.5", {10, 11}),
        ('id = "sku 3\'"', {3}),
        ("title ~ BALL and not colour = red", {5, 6, 7}),
        ("size = XL and screen_size <= 3", {1, 3}),
        ("size = none and description ~ blue", {2, 6, 10}),
        ("listed = 2024-03", {2, 11}),
        ("width = 64 and picture ~ 'shirt-yellow'", {11}),
        ('price != none and colour = "\' OR 1=1 --"', set()),
    ],
)
def test_filters_on_fields(blip: Blip, shop: Library, where: str, expected: set[int]) -> None:
    assert set(ids(shop, blip, Query("a thing"), where=where, limit=12)) == {f"sku {place}'" for place in expected}


def test_full_text_over_title_and_description(blip: Blip, shop: Library) -> None:
    found = shop.search(blip, Query("yellow shirt"), SearchOptions(limit=12))
    scores = {hit.to_dict()["id"]: hit.text_score for hit in found.hits if hit.text_score is not None}
    assert max(scores, key=lambda identity: scores[identity]) == "sku 11'"
    assert set(scores) == {f"sku {place}'" for place in (3, 7, 8, 9, 10, 11)}
    best = max(scores.values())
    for hit in found.hits:
        expected = hit.similarity + TEXT_WEIGHT["words"] * (hit.text_score or 0.0) / best
        assert_allclose(hit.score, expected, rtol=1e-5)
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    [first] = shop.search(blip, Query("yellow", like="sku 8'"), SearchOptions(limit=1, where="title ~ shirt")).hits
    assert first.to_dict()["id"] == "sku 11'"
    plain = shop.search(blip, Query("yellow shirt"), SearchOptions(limit=12, hybrid=False)).hits
    assert all(hit.text_score is None for hit in plain)


def test_duplicates_are_those_of_the_pictures(blip: Blip, tmp_path: Path, rows: list[Row]) -> None:
    rows[3]["Picture"], rows[4]["Picture"] = rows[0]["Picture"], ""
    database = tmp_path / "shop.lance"
    index_catalogue([write_csv(tmp_path / "c.csv", rows)], database, lambda: blip)
    [group] = find_duplicates(PhotoTable.open(database), threshold=1.0)
    assert {record.to_dict()["id"] for record in group.records} == {"sku 0'", "sku 3'"}


def test_an_index_of_the_vectors_finds_the_same(blip: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With approximate search too, by the inner product; here over copies of the vectors of a small shop."""
    from openblip.library import neighbours

    monkeypatch.setattr(neighbours, "ANN_ROWS", 1000)
    rows = drawn_rows(tmp_path)
    database = tmp_path / "shop.lance"
    index_catalogue([write_csv(tmp_path / "c.csv", rows)], database, lambda: blip)
    table = PhotoTable.open(database)
    generator, some = np.random.default_rng(0), list(products(Library.open(database)).values())
    copies = []
    for number in range(1500):
        one = some[number % len(some)]
        vector = one.vector + generator.normal(0, 0.02, one.vector.shape).astype(np.float32)
        copies.append(replace(one, item=replace(one.item, id=f"copy {number}"), vector=vector))
    table.write(copies, fresh=True)
    table.tidy()
    assert any("vector" in index.columns for index in table._photos.list_indices())
    library = Library.open(database)
    for words in ("a blue ball", "a shirt"):
        exact = ids(library, blip, Query(words), exact=True, limit=10)
        assert len(set(exact) & set(ids(library, blip, Query(words), limit=10))) >= 9


# ----------------------------------------------------------------------------------------------------- the command line


def test_from_the_command_line(
    model: str,
    blip: Blip,
    tmp_path: Path,
    rows: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Blip, "load", lambda *_, **__: blip)
    table, database = write_csv(tmp_path / "c.csv", rows), str(tmp_path / "shop.lance")
    (tmp_path / "shirt-red.png").unlink()

    def openblip(*arguments: str) -> tuple[int, list[str], str]:
        code = cli.run([*arguments, "--db", database, *with_model(model)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    code, lines, errors = openblip("index", table)
    assert code == 1
    assert lines[0].startswith(
        "12 items in the library: 12 added, 1 failed, 1 unpictured, 11 pictures encoded, 12 texts"
    )
    assert "shirt-red.png does not exist" in errors
    picture = str(tmp_path / "hat-red.png")
    arguments = ["in blue", "--image", picture, "--weight", "0.4", "--by-picture", "0.5", "--where", "price < 50"]
    code, lines, errors = openblip("search", *arguments, "--json")
    hits = json.loads(lines[0])["hits"]
    assert (code, {hit["id"] for hit in hits}) == (0, {f"sku {place}'" for place in range(5)})
    assert all(hit["price"] < 50 and hit["fields"]["colour"] for hit in hits)
    sheet = tmp_path / "similar.html"
    code, lines, errors = openblip("search", "--similar", "sku 1'", "-k", "2", "--html", str(sheet))
    assert (code, len(lines)) == (0, 2)
    assert all(re.fullmatch(r" {7}[+-]\d\.\d{4} sku \d+', \d+\.50: A (hat|ball|shirt)", line) for line in lines)
    assert sheet.read_text().count("<figure") == 2
    code, lines, errors = openblip("search", "hat", "--where", "colr = red")
    assert code == 2
    assert "name one of id, title, description, price, picture, colour" in errors
    code, lines, errors = openblip("index", table, str(tmp_path))
    assert (code, "a catalogue stands alone" in errors) == (2, True)
