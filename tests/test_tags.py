"""Tags: which labels fit, from one encoding; the built-in labels and those of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip import Blip, ImageError, OptionError, TagOptions
from openblip.labels import COUNTED, built_in_labels, built_in_log_odds, checked_labels, read_labels
from tiny_blip import calls, counted_blip, picture

LABELS = ["dog", "cat", "red hat", "bus", "tree", "young man", "water", "snow"]
ALL = TagOptions(screen=len(LABELS), threshold=0.0, top=len(LABELS))


@pytest.fixture(scope="module", params=["openvino", "torch"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return counted_blip(request.param, tmp_path_factory.mktemp("vocabulary"))


def test_a_tag_is_what_match_says_and_the_best_come_first(blip: Blip) -> None:
    images, before = [picture(seed) for seed in range(3)], calls(blip, "encode_images")
    found = blip.tag(images, LABELS, ALL)
    assert calls(blip, "encode_images") == before + 1
    for image, tags in zip(images, found, strict=True):
        matches = {match.text: match for match in blip.match(image, [f"a {label}" for label in LABELS])}
        assert {tag.label for tag in tags} == set(LABELS)
        for tag in tags:
            assert tag.probability == pytest.approx(matches[f"a {tag.label}"].probability, abs=1e-4)
            assert tag.similarity == pytest.approx(matches[f"a {tag.label}"].similarity, abs=1e-4)
        probabilities = [tag.probability or 0.0 for tag in tags]
        assert probabilities == sorted(probabilities, reverse=True)
    assert len({tuple(tag.label for tag in tags) for tags in found}) > 1


def test_the_most_similar_are_confirmed_and_only_they(blip: Blip) -> None:
    [every] = blip.tag(picture(1), LABELS, ALL)
    similar = sorted(every, key=lambda tag: -tag.similarity)[:3]
    [screened] = blip.tag(picture(1), LABELS, TagOptions(screen=3, threshold=0.0))
    assert {tag.label for tag in screened} == {tag.label for tag in similar}
    [[first]] = blip.tag(picture(1), LABELS, TagOptions(screen=3, threshold=0.0, top=1))
    assert first.label == screened[0].label
    least = screened[1].probability or 0.0
    kept = blip.tag(picture(1), LABELS, TagOptions(screen=3, threshold=least))[0]
    assert [tag.label for tag in kept] == [tag.label for tag in screened[:2]]


def test_without_confirmation_the_similarity_decides_and_nothing_is_matched(blip: Blip) -> None:
    before = calls(blip, "match")
    [tags] = blip.tag(picture(2), LABELS, TagOptions(screen=0, top=4))
    assert calls(blip, "match") == before
    assert [tag.probability for tag in tags] == [None] * 4
    similarities = (blip.embed_images(picture(2)) @ blip.embed_texts([f"a {label}" for label in LABELS]).T)[0]
    assert [tag.label for tag in tags] == [LABELS[place] for place in np.argsort(-similarities)[:4]]


def test_several_templates_count_by_their_mean(blip: Blip) -> None:
    templates = ("a {}", "the {} in the picture")
    [[tag]] = blip.tag(picture(1), ["dog"], TagOptions(templates, screen=1, threshold=0.0))
    matches = blip.match(picture(1), ["a dog", "the dog in the picture"])
    logits = [np.log(match.probability / (1 - match.probability)) for match in matches]
    assert tag.probability == pytest.approx(1 / (1 + np.exp(-np.mean(logits))), abs=1e-4)
    vectors = blip.embed_texts(["a dog", "the dog in the picture"]).mean(axis=0)
    expected = blip.embed_images(picture(1))[0] @ (vectors / np.linalg.norm(vectors))
    assert tag.similarity == pytest.approx(expected, abs=1e-4)


def test_a_common_label_needs_less(blip: Blip) -> None:
    """Of the built-in labels the log-odds count; of one's own they do not."""
    labels, odds = built_in_labels(), dict(zip(built_in_labels(), built_in_log_odds().tolist(), strict=True))
    assert odds["man"] > odds["dog"] > odds["bench"] > odds["zebra" if "zebra" in odds else "violin"]
    every = TagOptions(screen=len(labels), threshold=0.0, top=len(labels))
    [built_in], [own] = blip.tag(picture(1), options=every), blip.tag(picture(1), labels, every)
    plain = {tag.label: tag.probability for tag in own}
    for tag in built_in:
        itm = min(max(plain[tag.label] or 0.0, 1e-7), 1 - 1e-7)
        logit = COUNTED.logit(np.log(itm / (1 - itm)), odds[tag.label])
        assert tag.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
        assert COUNTED.itm_logit(logit, odds[tag.label]) == pytest.approx(np.log(itm / (1 - itm)))


def test_a_broken_picture_does_not_end_the_run(blip: Blip, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    sources = [picture(1), tmp_path / "broken.jpg", picture(2)]
    first, broken, last = blip.tag_each(sources, LABELS, ALL)
    assert [tag.label for tag in first.tags] == [tag.label for tag in blip.tag(picture(1), LABELS, ALL)[0]]
    assert first.error is last.error is None
    assert isinstance(broken.error, ImageError)
    assert broken.tags == ()
    assert {tag.label for tag in last.tags} == set(LABELS)
    with pytest.raises(ImageError):
        blip.tag(sources, LABELS)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"templates": ()}, "templates=() is no list of texts"),
        ({"templates": "a {}"}, "templates='a {}' is no list of texts"),
        ({"templates": ("a dog",)}, "template 'a dog' has no place for the label"),
        ({"screen": -1}, "screen=-1 is out of range: give 0 to 10000"),
        ({"top": 0}, "top=0 is out of range"),
        ({"threshold": 1.5}, "threshold=1.5 is out of range"),
    ],
)
def test_options_that_make_no_sense(values: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError) as caught:
        TagOptions(**values)  # type: ignore[arg-type]
    assert says in str(caught.value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=6), max_size=6))
def test_labels_of_a_file_are_its_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    wanted = tuple(dict.fromkeys(line.strip() for line in "\n".join(lines).splitlines() if line.strip()))
    if wanted:
        assert read_labels(file) == wanted
    else:
        with pytest.raises(OptionError, match=r"labels\.txt holds no labels: give at least one"):
            read_labels(file)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"\xff\xfe\x00", "cannot be read: write one label a line in UTF-8"),
        ("a.json", b"{}", 'is no list of labels: write ["dog", "beach"]'),
        ("a.json", b'["dog", 3]', "is no list of labels"),
        ("a.json", b"[", "cannot be read"),
        ("a.json", b'[" "]', "holds no labels"),
    ],
)
def test_files_that_hold_no_labels(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OptionError) as caught:
        read_labels(tmp_path / name)
    assert says in str(caught.value)


def test_labels_are_words() -> None:
    assert checked_labels([" dog", "cat", "dog "]) == ("dog", "cat")
    assert checked_labels("dog") == ("dog",)
    for labels, says in [([], "holds no labels"), (["dog", " "], "label 2 is ' '"), ([3], "label 1 is 3")]:
        with pytest.raises(OptionError, match=says):
            checked_labels(labels)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="cannot be read"):
        read_labels("/nowhere/labels.txt")


def test_built_in_labels_are_single_things() -> None:
    labels = built_in_labels()
    assert list(labels) == sorted(set(labels))
    assert len(labels) > 200
    assert {"dog", "beach", "man", "bicycle helmet", "lake"} - set(labels) <= {"bicycle helmet"}
    assert not {"puppy", "sea", "air"} & set(labels), "a synonym, or nothing that can be seen"
    assert np.isfinite(built_in_log_odds()).all()
