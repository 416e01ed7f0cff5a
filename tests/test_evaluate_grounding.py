"""The pointing game on shards made for it, with a tiny random model; and on real photos with mini."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from openblip import Blip, DataError, GroundOptions
from openblip.bulk.shards import read_shards
from openblip.evaluate import evaluate_grounding, format_json, format_markdown
from openblip.evaluate.grounding import Boxed, named_in, read_boxed
from openblip.evaluate.samples import shard_samples
from shard_files import photo, write_shard
from tiny_blip import tiny_blip

WHOLE, CORNER = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


def boxed(*categories: dict[str, tuple[tuple[float, float, float, float], ...]]) -> list[Boxed]:
    return [Boxed(f"p{index}", photo(index), each) for index, each in enumerate(categories)]


def test_hits_are_counted_beside_those_of_the_baselines(blip: Blip) -> None:
    pictures = boxed({"dog": (WHOLE,), "cat": (CORNER,)}, {"dog": (CORNER, WHOLE)}, {"car": (CORNER,), "dog": (WHOLE,)})
    result = evaluate_grounding(blip, pictures)
    assert [(each.key, each.category) for each in result.cases] == [
        ("p0", "dog"), ("p0", "cat"), ("p1", "dog"), ("p2", "car"), ("p2", "dog")
    ]  # fmt: skip
    assert [each.hit for each in result.cases] == [True, False, True, False, True]
    assert (result.accuracy, result.images, result.left_out) == (pytest.approx(0.6), 3, 0)
    assert result.categories[0] == ("dog", 3, 1.0)
    for baseline in ("centre", "attention"):
        above = result.above(baseline)
        assert (above.first, above.second, above.difference, above.images) == (0.6, 0.6, 0.0, 3)


def test_the_peak_is_that_of_ground(blip: Blip) -> None:
    [[found]] = blip.ground(photo(0), "dog", GroundOptions(windows=False))
    with_size = (found.peak[0] / found.size[0], found.peak[1] / found.size[1])
    around = (with_size[0] - 0.01, with_size[1] - 0.01, 0.02, 0.02)
    opposite = (1 - with_size[0], 1 - with_size[1], 0.001, 0.001)
    pictures = [*boxed({"dog": (around,)}), Boxed("other", photo(0), {"dog": (opposite,)})]
    result = evaluate_grounding(blip, pictures, options=GroundOptions(windows=False))
    assert [each.hit for each in result.cases] == [True, False]
    assert result.windows == 0
    assert result.above("centre").second == 0.5


def test_only_categories_that_captions_name(blip: Blip) -> None:
    captions = ["two dogs play with a tennis racket", "a dog sits on a bench", "He is training ."]
    names = named_in(captions, {"dog", "tennis racket", "bench", "train", "cat"})
    assert names == {"dog": 2, "tennis racket": 1, "bench": 1}
    pictures = boxed({"dog": (WHOLE,), "cat": (WHOLE,)}, {"bench": (WHOLE,)})
    result = evaluate_grounding(blip, pictures, names)
    assert [each.category for each in result.cases] == ["dog", "bench"]
    assert (result.left_out, result.seen_in) == (1, 1)
    assert [each.category for each in evaluate_grounding(blip, [*pictures, *pictures], names, 2).cases] == ["dog"] * 2
    with pytest.raises(DataError, match="none of 3 cases is of a category that 5 captions name"):
        evaluate_grounding(blip, pictures, names, 5)


def test_nouns_in_the_plural_by_nature_are_named() -> None:
    assert named_in(["a man on skis", "scissors"], {"skis", "scissors"}) == {"skis": 1, "scissors": 1}


def test_a_category_of_two_words_is_named_rather_than_its_noun() -> None:
    captions = ["two teddy bears", "a brown bear", "a bear by a stop sign", "stop signs", "a wine glass"]
    categories = {"bear", "teddy bear", "stop sign", "wine glass"}
    assert named_in(captions, categories) == {"teddy bear": 1, "bear": 2, "stop sign": 2, "wine glass": 1}
    assert named_in(captions, {"bear", "sign"}) == {"bear": 3, "sign": 2}


def test_boxes_come_as_shares_of_the_picture(tmp_path: Path) -> None:
    objects = [
        {"category": "dog", "bbox": [64, 0, 320, 48]}, {"category": "dog", "bbox": [0, 0, 640, 480]},
        {"category": "cup", "bbox": [320, 240, 32, 48]},
    ]  # fmt: skip
    rows = [
        ("k1", photo(0), {"captions": ["a"], "objects": objects, "original_size": [640, 480]}),
        ("k2", photo(1), {"captions": ["a"], "objects": []}),
    ]
    [found] = read_boxed(read_shards([write_shard(tmp_path / "x.tar", rows)]))
    assert found.key == "k1"
    assert found.boxes == {"dog": ((0.1, 0.0, 0.5, 0.1), (0.0, 0.0, 1.0, 1.0)), "cup": ((0.5, 0.5, 0.05, 0.1),)}


@pytest.mark.parametrize(
    "json_of",
    [
        {"captions": ["a"]},
        {"captions": ["a"], "objects": [{"bbox": [0, 0, 1, 1]}], "original_size": [640, 480]},
        {"captions": ["a"], "objects": [{"category": "dog", "bbox": [0, 1]}], "original_size": [640, 480]},
        {"captions": ["a"], "objects": [{"category": "dog", "bbox": [0, 0, 1, 1]}]},
        {"captions": ["a"], "objects": [{"category": "dog", "bbox": [0, 0, 1, 1]}], "original_size": [0, 0]},
        {"captions": ["a"], "objects": [{"category": "dog", "bbox": [0, 0, 1, 1]}], "original_size": [640, -480]},
    ],
)
def test_shards_without_boxes_are_refused_by_the_key(tmp_path: Path, json_of: dict[str, Any]) -> None:
    shard = write_shard(tmp_path / "x.tar", [("k1", photo(0), json_of)])
    with pytest.raises(DataError, match=r'^k1: its json has no "objects"'):
        list(read_boxed(read_shards([shard])))


def test_a_broken_picture_is_named(blip: Blip) -> None:
    with pytest.raises(DataError, match=r"^bad: the picture is not a picture"):
        evaluate_grounding(blip, [Boxed("bad", b"no picture", {"dog": (WHOLE,)})])
    with pytest.raises(DataError, match="no pictures with boxes"):
        evaluate_grounding(blip, [])


def test_a_result_is_a_table_and_json(blip: Blip) -> None:
    result = evaluate_grounding(blip, boxed({"dog": (WHOLE,)}, {"dog": (CORNER,)}), named_in(["a dog"], {"dog"}))
    table = format_markdown(result)
    assert "tiny: 2 cases in 2 images (0 left out" in table
    assert "| the middle of the picture | 0.500 | +0.000 | +0.000 to +0.000 |" in table
    values = json.loads(format_json(result, by_image=True))
    assert (values["accuracy"], values["centre"]["first"], len(values["pointed"])) == (0.5, 0.5, 2)
    assert "pointed" not in json.loads(format_json(result))


def test_mini_points_better_than_the_middle_and_than_raw_attention(shared_data: Path) -> None:
    """A small part of what docs/grounding.md measures: the first 8 photos."""
    shards = [shared_data / "coco-mini" / "train-0000.tar"]
    pictures = list(read_boxed(islice(shard_samples(shards, captioned=False), 8)))
    result = evaluate_grounding(Blip.load("mini", precision="f32"), pictures)
    assert len(result.cases) > 25
    assert result.above("centre").difference > 0
    assert result.above("attention").difference > 0
