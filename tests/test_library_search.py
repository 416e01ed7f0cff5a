"""Searches of a small library: by words, by a picture, by both; re-ranking, its budget, hybrid order; duplicates."""

from __future__ import annotations

import io
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from noisy import tiny_checkpoint
from openblip import Blip
from openblip.bulk.shards import read_shards
from openblip.errors import InputError, OptionError
from openblip.evaluate import evaluate_retrieval
from openblip.library import Hit, Library, Query, SearchOptions, index_photos
from openblip.library import rerank as rerank_module
from openblip.library.duplicates import close_pairs, find_duplicates, linked
from openblip.library.find import mixed
from openblip.library.page import write_duplicates, write_hits
from openblip.library.records import Facts, ModelStamp, Place, Record
from openblip.library.rerank import judge
from openblip.library.table import PhotoTable
from shard_files import photo, write_shard

WORDS = ("a dog runs", "two cats in the snow", "a man on a horse", "red car", "the child eats")
PHOTOS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def blip(model: str) -> Blip:
    return Blip.load(model, precision="f32", threads=1)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty photos, each with two captions."""
    generator = np.random.default_rng(7)
    samples = []
    for number in range(PHOTOS):
        drawn = [
            " ".join(generator.choice("a the dog cat red blue snow man runs sits on".split(), 6)) for _ in range(2)
        ]
        samples.append((f"k{number:02d}", photo(number), {"captions": drawn}))
    return write_shard(tmp_path_factory.mktemp("shard") / "photos.tar", samples)


@pytest.fixture(scope="module")
def library(blip: Blip, shard: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    database = tmp_path_factory.mktemp("library") / "photos.lance"
    assert index_photos([str(shard)], database, lambda: blip).added == PHOTOS
    return Library.open(database)


def keys(hits: tuple[Hit, ...]) -> list[str]:
    return [hit.record.place.key for hit in hits]


def only_itc(limit: int = 10, **others: object) -> SearchOptions:
    return replace(SearchOptions(limit=limit, rerank=0), **others)


def test_words_find_what_the_evaluation_finds(blip: Blip, library: Library, shard: Path) -> None:
    """The rank of every photo by each of its captions, ITC alone and with ITM on the best sixteen."""
    samples = list(read_shards([shard]))
    for depth in (0, 16):
        expected = {image.key: image.caption_ranks for image in evaluate_retrieval(blip, samples, rerank=depth).images}
        for sample in samples:
            for caption, rank in zip(sample.captions, expected[sample.key], strict=True):
                found = library.search(blip, Query(caption), SearchOptions(limit=PHOTOS, rerank=depth))
                assert len(found.hits) == PHOTOS
                assert found.reranked == depth
                assert keys(found.hits).index(sample.key) + 1 == rank


def test_scores_are_those_of_match(blip: Blip, library: Library) -> None:
    [hit] = library.search(blip, Query("a dog runs"), SearchOptions(limit=1, rerank=5)).hits
    [match] = blip.match(library.picture(hit.record), "a dog runs")
    assert hit.probability is not None
    assert_allclose(hit.probability, match.probability, atol=1e-5)
    assert_allclose(hit.similarity, match.similarity, atol=1e-3)


def test_a_picture_finds_itself_and_like_finds_its_like(blip: Blip, library: Library) -> None:
    hits = library.search(blip, Query(image=photo(5)), SearchOptions(limit=4)).hits
    assert keys(hits)[0] == "k05"
    assert hits[0].similarity > 0.999
    assert all(hit.probability is None for hit in hits)
    like = library.search(blip, Query(like=hits[0].record.id), SearchOptions(limit=3)).hits
    assert keys(like) == keys(hits)[1:]
    with pytest.raises(InputError, match="there is no picture 'nobody'"):
        library.search(blip, Query(like="nobody"))


def test_words_and_a_picture_count_by_their_weight(blip: Blip, library: Library) -> None:
    everything = only_itc(PHOTOS)
    for weight in (0.0, 0.3, 1.0):
        found = library.search(blip, Query("a red car", photo(3), weight=weight), everything).hits
        vector = mixed(blip.embed_texts("a red car")[0], blip.embed_images(photo(3))[0], weight)
        assert_allclose(np.linalg.norm(vector), 1.0, rtol=1e-6)
        assert_allclose([hit.similarity for hit in found], [hit.record.vector @ vector for hit in found], atol=1e-3)
        alone = Query("a red car") if weight else Query(image=photo(3))
        if weight in (0.0, 1.0):
            assert keys(found) == keys(library.search(blip, alone, everything).hits)


def test_filters_hold_before_the_best_are_taken(blip: Blip, library: Library) -> None:
    expected = {record.place.key for record in library.list('caption ~ "snow"', 1000)}
    assert 0 < len(expected) < PHOTOS
    found = library.search(blip, Query("a dog"), only_itc(PHOTOS, where='caption ~ "SNOW"')).hits
    assert set(keys(found)) == expected
    assert library.search(blip, Query("a dog"), only_itc(where="width > 5000")).hits == ()
    with pytest.raises(OptionError, match="is no field"):
        library.search(blip, Query("a dog"), only_itc(where="1=1"))


def test_hybrid_brings_up_what_the_captions_say(blip: Blip, library: Library) -> None:
    plain = library.search(blip, Query("snow cat"), only_itc(PHOTOS)).hits
    mixed_order = library.search(blip, Query("snow cat"), only_itc(PHOTOS, hybrid=True)).hits
    saying = [hit for hit in mixed_order if hit.text_score is not None]
    assert saying
    for hit in saying:
        assert {"snow", "cat"} & set(hit.record.caption.split())
    mean = {
        name: np.mean([keys(hits).index(hit.record.place.key) for hit in saying])
        for name, hits in (("plain", plain), ("hybrid", mixed_order))
    }
    assert mean["hybrid"] < mean["plain"]
    by_text = sorted(saying, key=lambda hit: -(hit.text_score or 0))
    places = {hit.record.id: place for place, hit in enumerate(plain, 1)}
    top = by_text[0]
    assert_allclose(top.score, 1 / (60 + places[top.record.id]) + 1 / 61)


def test_captions_are_searched_as_soon_as_they_are_there(blip: Blip, tmp_path: Path) -> None:
    library = Library.create(tmp_path / "db", blip)
    for number, caption in enumerate(("", "the horse of Wanda", "a parrot called Wanda")):
        (tmp_path / f"{number}.jpg").write_bytes(photo(number))
        library.add(blip, tmp_path / f"{number}.jpg", caption)
        hits = library.search(blip, Query("wanda"), only_itc(hybrid=True)).hits
        assert {hit.record.caption for hit in hits if hit.text_score is not None} == {
            record.caption for record in library.list() if record.caption
        }
    assert len(hits) == 3


def test_the_budget_says_how_many_are_looked_at_again(
    blip: Blip, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [hit.record for hit in library.search(blip, Query("a dog"), only_itc(PHOTOS)).hits]
    now = [0.0]
    plain = rerank_module._judged

    def slow(*arguments: object) -> object:
        now[0] += 0.010 * len(arguments[3])  # type: ignore[arg-type]
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rerank_module, "_judged", slow)
    for budget_ms, expected in ((0.0, 0), (1.0, 4), (100.0, 10), (205.0, 20), (9999.0, PHOTOS)):
        now[0] = 0.0
        assert len(judge(blip, "a dog", records, None, budget_ms, lambda: now[0])) == expected
    assert len(judge(blip, "a dog", records, 7, 0.0)) == 7


def test_a_photo_that_is_gone_keeps_its_cosine(blip: Blip, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(photo(number))
    index_photos([str(tmp_path)], tmp_path / "db", lambda: blip)
    (tmp_path / "2.jpg").unlink()
    found = Library.open(tmp_path / "db").search(blip, Query("a dog"), SearchOptions(rerank=4))
    assert found.reranked == 3
    assert found.hits[-1].record.name.endswith("2.jpg")
    assert found.hits[-1].probability is None
    write_hits(tmp_path / "hits.html", "<script>", found)
    page = (tmp_path / "hits.html").read_text()
    assert "<script>" not in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert "http" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is nothing to look for"),
        ({"words": "  "}, "are blank"),
        ({"words": "a", "weight": 2.0}, "weight=2.0 is out of range"),
        ({"image": b"x", "like": "y"}, "give one of them"),
    ],
)
def test_a_query_is_checked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Query(**arguments)  # type: ignore[arg-type]


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="limit=0 is out of range: give 1 to 10000"):
        SearchOptions(limit=0)
    with pytest.raises(OptionError, match="rerank=2000"):
        SearchOptions(rerank=2000)


def test_pairs_and_groups_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.99, 0.141], [0, 1], [-1, 0]], np.float32)
    pairs = list(close_pairs(vectors, 0.95))
    assert [(first, second) for first, second, _ in pairs] == [(0, 2), (1, 3)]
    assert_allclose([cosine for *_, cosine in pairs], [0.99, 1.0])
    assert linked(5, pairs) == [([0, 2], pytest.approx(0.99)), ([1, 3], 1.0)]
    assert linked(4, [(0, 1, 0.99), (2, 3, 0.98), (1, 2, 0.97)]) == [([0, 1, 2, 3], 0.97)]


def test_blocks_miss_no_pair() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(9000, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[8999] = vectors[0]
    vectors[8500] = vectors[8400]
    found = {(first, second) for first, second, _ in close_pairs(vectors, 0.9999)}
    assert {(0, 8999), (8400, 8500)} <= found


def test_many_that_are_alike_take_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty thousand pairs would take ten megabytes; the records are asked for together."""
    model, vectors = ModelStamp("tiny", "", 8), np.eye(8, dtype=np.float32)
    table = PhotoTable.create(tmp_path / "db", model)
    table.write(
        [
            Record(Place(f"/{number}.jpg", 1, 0), Facts(f"{number:064}", 1, 1), "", model, vectors[number % 400 // 399])
            for number in range(402)
        ],
        fresh=True,
    )
    asked: list[int] = []
    read = table.records
    monkeypatch.setattr(table, "records", lambda ids: asked.append(len(ids)) or read(ids))
    tracemalloc.start()
    groups = find_duplicates(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000
    assert [len(group.records) for group in groups] == [401]
    assert asked == [401]


def test_duplicates_keep_the_largest(blip: Blip, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(photo(number))
    large = Image.open(io.BytesIO(photo(1))).resize((80, 64), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    shutil.copy(tmp_path / "2.jpg", tmp_path / "copy of 2.jpg")
    index_photos([str(tmp_path)], tmp_path / "db", lambda: blip)
    table = PhotoTable.open(tmp_path / "db")
    same = find_duplicates(table, 1.0)
    assert [[Path(record.name).name for record in group.records] for group in same] == [["2.jpg", "copy of 2.jpg"]]
    assert same[0].identical
    by_name = {Path(record.name).name: record for record in Library.open(tmp_path / "db").list()}
    likeness = float(by_name["1.jpg"].vector @ by_name["large.jpg"].vector)
    groups = find_duplicates(table, min(0.999, likeness - 1e-3))
    [group] = [group for group in groups if any(record.name.endswith("large.jpg") for record in group.records)]
    assert group.keep.name.endswith("large.jpg")
    assert not group.identical
    write_duplicates(tmp_path / "groups.html", groups)
    assert (tmp_path / "groups.html").read_text().count('class="keep"') == len(groups)
    with pytest.raises(OptionError, match="threshold=2 is out of range"):
        find_duplicates(table, 2)
