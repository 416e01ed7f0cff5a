"""Thresholds from judged pictures: targets, intervals of what was held out, and the policy that they are written to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openblip import Blip
from openblip.errors import DataError, InputError, MissingExtra, OptionError
from openblip.metrics import proportion
from openblip.moderation import LabelRule, Moderator, Policy, Targets, calibrate, calibrate_text, read_labelled
from openblip.moderation.calibrate import calibrated, complete_threshold, precise_threshold, with_thresholds
from openblip.moderation.calibrate_text import texts_of_others
from openblip.moderation.policy import parse_policy
from openblip.moderation.toml import edited
from tiny_blip import picture, tiny_blip

CASES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40).filter(
    lambda cases: any(true for _, true in cases)
)
TOML = """# ours
[labels.dog] # a dog
phrases = ["a dog runs"]
review = 0.1 # by hand
block = 0.2

[labels.bus]
phrases = ["a red bus"] # keep
screen = 0.3
"""


@settings(max_examples=60)
@given(CASES, st.floats(0.1, 1))
def test_a_precise_threshold_is_the_smallest_that_reaches_the_target(
    cases: list[tuple[float, bool]], precision: float
) -> None:
    scores, truth = np.array([score for score, _ in cases]), np.array([true for _, true in cases])
    reached = [value for value in np.unique(scores) if truth[scores >= value].mean() >= precision]
    found = precise_threshold(scores, truth, precision)
    if not reached:
        assert found is None
        return
    assert found is not None
    assert (scores >= found).tolist() == (scores >= reached[0]).tolist()


@settings(max_examples=60)
@given(CASES, st.floats(0.1, 1))
def test_a_complete_threshold_is_the_greatest_that_reaches_the_target(
    cases: list[tuple[float, bool]], recall: float
) -> None:
    scores, truth = np.array([score for score, _ in cases]), np.array([true for _, true in cases])
    found = complete_threshold(scores, truth, recall)
    assert (scores[truth] >= found).mean() >= recall - 1e-9
    above = scores[(scores > found) & (scores > scores[truth & (scores >= found)].min())]
    if len(above):
        assert (scores[truth] >= above.min()).mean() < recall


def test_held_out_figures_are_worse_than_chosen_ones_on_noise() -> None:
    """Scores that say nothing: the threshold looks right on what it was chosen by, and is not on other pictures."""
    generator = np.random.default_rng(0)
    scores, truth = generator.random(200), generator.random(200) < 0.5
    found = [calibrated("a", scores, scores, generator.permutation(truth), Targets(precision=0.8)) for _ in range(20)]
    blocks = [each.block for each in found if each.block is not None and each.block.value is not None]
    assert len(blocks) > 3
    right = sum(each.precision.hits for each in blocks)
    assert right / sum(each.precision.count for each in blocks) < 0.7


def test_scores_that_tell_are_found_to_tell() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(300) % 3 == 0
    scores = np.where(truth, 0.6, 0.4) + generator.normal(0, 0.05, 300)
    found = calibrated("a", scores / 2, scores, truth, Targets(0.95, 0.9))
    assert found.review is not None
    assert found.block is not None
    assert found.block.value is not None
    assert (found.shown, found.others) == (100, 200)
    assert 0.4 < found.review.value <= found.block.value < 0.6 or found.review.value == found.block.value
    assert found.review.recall.low < 0.9 < found.review.recall.high
    assert found.block.precision.high > 0.95
    assert found.screen == pytest.approx(
        float((scores / 2)[truth & (scores >= found.review.value)].min()) - 0.02, abs=0.011
    )
    assert found.values() == {"screen": found.screen, "review": found.review.value, "block": found.block.value}


def test_few_pictures_choose_nothing() -> None:
    truth = np.arange(12) < 4
    found = calibrated("a", np.arange(12.0), np.arange(12.0) / 12, truth, Targets())
    assert found.too_few
    assert found.values() == {}


@pytest.mark.parametrize(("hits", "count"), [(8, 10), (1, 400), (0, 5), (5, 5)])
def test_wilsons_interval_solves_its_equation(hits: int, count: int) -> None:
    """Its ends are the shares from which what was counted is just 1.96 standard deviations away."""
    found = proportion(hits, count)
    assert found.low <= found.value == hits / count <= found.high
    for end in {found.low, found.high} - {0.0, 1.0}:
        assert abs(found.value - end) == pytest.approx(1.959964 * (end * (1 - end) / count) ** 0.5, rel=1e-5)
    assert (found.low == 0) == (hits == 0)
    assert (found.high == 1) == (hits == count)


def test_nothing_counted_says_nothing() -> None:
    assert (proportion(0, 0).low, proportion(0, 0).high) == (0.0, 1.0)
    with pytest.raises(InputError, match="11 hits of 10"):
        proportion(11, 10)


def test_targets_are_shares() -> None:
    for values, says in [({"precision": 0}, "precision=0 is out of range"), ({"recall": 1.1}, "recall=1.1 is out")]:
        with pytest.raises(OptionError, match=says):
            Targets(**values)


# A labelled folder


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def judged(blip: Blip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures, in `dog` where a random model finds "a dog runs" likelier than in most."""
    folder = tmp_path_factory.mktemp("judged")
    probabilities = [blip.match(picture(seed), "a dog runs")[0].probability for seed in range(30)]
    for seed, probability in enumerate(probabilities):
        inner = folder / ("dog" if probability > sorted(probabilities)[19] else "none")
        inner.mkdir(exist_ok=True)
        Image.fromarray(picture(seed)).save(inner / f"{seed}.png")
    return folder


def test_thresholds_tell_judged_pictures_apart(blip: Blip, judged: Path) -> None:
    policy = parse_policy(TOML)
    labelled = read_labelled(judged, policy.names)
    assert [len([each for each in labelled if "dog" in each.labels]), len(labelled)] == [10, 30]
    (judged / "none" / "broken.png").write_bytes(b"rubbish")
    seen: list[Any] = []
    found = calibrate(blip, policy, read_labelled(judged, policy.names), Targets(1.0, 1.0), seen.append)
    (judged / "none" / "broken.png").unlink()
    assert (found.pictures, found.unreadable, len(seen)) == (30, 1, 31)
    dog, bus = found.labels
    assert bus.too_few
    assert dog.review is not None
    assert dog.block is not None
    assert dog.review.value == dog.block.value
    assert dog.block.precision.count >= 8
    written = with_thresholds(TOML, found.labels)
    decided = Moderator(blip, parse_policy(written)).decide_each((each.path, "") for each in labelled)
    for each, moderated in zip(labelled, decided, strict=True):
        assert moderated.decision is not None
        assert moderated.decision.decision == ("block" if each.labels else "allow"), each.path


def test_comments_stay_and_what_is_not_reached_goes() -> None:
    scores, truth = np.linspace(0, 1, 40), np.tile([True, False], 20)
    found = calibrated("dog", scores, scores, truth, Targets(1.0, 0.5))
    assert found.block is not None
    assert found.block.value is None
    lines = with_thresholds(TOML, [found]).splitlines()
    assert lines[0] == "# ours"
    assert "[labels.dog] # a dog" in lines
    assert any(line.startswith("review = ") and line.endswith("# by hand") for line in lines)
    assert not any(line.startswith("block") for line in lines)
    assert lines[lines.index("[labels.bus]") :] == ["[labels.bus]", 'phrases = ["a red bus"] # keep', "screen = 0.3"]


def test_without_tomlkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(MissingExtra, match=r"pip install openblip\[moderation\]"):
        with_thresholds(TOML, [])


def test_no_label_has_enough_pictures(blip: Blip, judged: Path) -> None:
    policy = Policy((LabelRule("bus", ("a red bus",)), LabelRule("dog", words=("dog",))))
    with pytest.raises(DataError, match="no label has 5 pictures that show it and 5 that do not"):
        calibrate(blip, policy, read_labelled(judged, ["dog"]))


def test_a_list_of_judgements(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,labels\na.jpg,dog; cat\nin/b.jpg,\nc.jpg,none\n", encoding="utf-8-sig")
    found = read_labelled(tmp_path, ["dog", "cat"])
    assert [(each.path.relative_to(tmp_path).as_posix(), sorted(each.labels)) for each in found] == [
        ("a.jpg", ["cat", "dog"]),
        ("in/b.jpg", []),
        ("c.jpg", []),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("file,labels\na.jpg,horse\n", r"labels.csv, line 2 says 'horse', which is no label of the policy"),
        ("name,labels\na.jpg,dog\n", r"line 2: no file or no labels"),
        ("file,labels\n", r"holds no judged pictures: give it sub-folders called dog, none"),
    ],
)
def test_a_list_that_is_wrong(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        read_labelled(tmp_path, ["dog"])


def test_a_folder_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        read_labelled(tmp_path / "none", ["dog"])
    with pytest.raises(DataError, match="holds no judged pictures"):
        read_labelled(tmp_path, ["dog"])
    (tmp_path / "horse").mkdir()
    with pytest.raises(DataError, match=r"sub-folder .*horse says 'horse'"):
        read_labelled(tmp_path, ["dog"])


# Texts


def test_the_threshold_of_texts_lets_own_ones_pass_and_tells_strange_ones(blip: Blip) -> None:
    """Each picture's own text is the likeliest of eight for it, so that a random model does tell."""
    words = [f"a {colour} {what}" for colour in ("red", "blue") for what in ("dog", "cat", "bus", "tree")]
    images: list[Any] = [picture(seed) for seed in range(24)]
    own = [max(blip.match(image, words), key=lambda match: match.probability).text for image in images]
    texts = [f"{text} {'the ' * (place % 5)}" for place, text in enumerate(own)]
    pairs = list(zip(images, texts, strict=True))
    found = calibrate_text(blip, pairs, 0.75)
    scores = [blip.match(image, text)[0].probability for image, text in pairs]
    assert sum(score >= found.match for score in scores) == 18
    assert (found.passed.count, found.caught.count) == (24, 24)
    assert 0 < found.passed.value <= 1
    with pytest.raises(DataError, match="3 pictures with texts are too few: give at least 10"):
        calibrate_text(blip, pairs[:3])
    with pytest.raises(OptionError, match="passing=0 is out of range"):
        calibrate_text(blip, pairs, 0)


def test_each_picture_gets_the_text_of_one_half_of_all_away() -> None:
    assert texts_of_others(list("abcdefgh")) == list("efghabcd")
    assert texts_of_others(list("abcde")) == list("cdeab")
    assert texts_of_others(list("abcdabef")) == list("beefbccd")  # where the one there says the same, the next


def test_a_table_that_is_not_there_is_made() -> None:
    text = edited(TOML, {("text",): {"match": 0.25}})
    assert text.startswith(TOML)
    assert parse_policy(text).text.match == 0.25
