"""Decisions: scores to findings, from one encoding; thresholds, questions, texts that do not match."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from openblip import Blip, GroundOptions, ImageError, ModelError
from openblip.bulk.jobs import pictures_a_call
from openblip.config import TASKS
from openblip.moderation import LabelRule, ModerateJob, Moderator, Policy, TextRule
from tiny_blip import calls, counted_blip, picture

DOG = LabelRule("dog", ("a dog runs", "the dog holds a ball"), review=0.0, questions=("is the dog young", "two"))
BUS = LabelRule("bus", ("a red bus",))
POLICY = Policy((DOG, BUS), TextRule(0.5))
TEXT = "The man on a bus"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return counted_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


def test_findings_are_what_match_and_answer_say_from_one_encoding(blip: Blip) -> None:
    moderator, before = Moderator(blip, POLICY), calls(blip, "encode_images")
    found = moderator.decide(picture(1), TEXT)
    assert calls(blip, "encode_images") == before + 1
    matches = {match.text: match for match in blip.match(picture(1), [*DOG.phrases, *BUS.phrases, TEXT])}
    dog, bus = found.labels
    assert dog.probability == pytest.approx(max(matches[phrase].probability for phrase in DOG.phrases), abs=1e-5)
    assert dog.probability == pytest.approx(matches[dog.phrase].probability, abs=1e-5)
    assert dog.similarity == pytest.approx(matches[dog.phrase].similarity, abs=1e-5)
    assert [answer.text for answer in dog.answers] == [answer.text for answer in blip.answer(picture(1), DOG.questions)]
    assert (dog.decision, bus.decision, bus.answers, found.decision) == ("review", "allow", (), "review")
    assert found.text_match is not None
    assert found.text_match.probability == pytest.approx(matches[TEXT].probability, abs=1e-5)
    assert found.text_match.matches == (matches[TEXT].probability >= 0.5)


def test_regions_are_those_of_ground_for_what_is_not_allowed(blip: Blip) -> None:
    before = calls(blip, "encode_images")
    images = [picture(1), picture(2)]
    found = [Moderator(blip, POLICY).decide(image) for image in images]
    assert calls(blip, "encode_images") == before + 2
    for image, decision in zip(images, found, strict=True):
        dog, bus = decision.labels
        [[grounding]] = blip.ground(image, dog.phrase, GroundOptions(windows=False))
        assert [astuple(box) for box in dog.regions] == [
            pytest.approx(astuple(box), abs=0.5) for box in grounding.boxes
        ]
        assert dog.regions
        assert bus.regions == ()
        assert f"({dog.phrase} at {dog.regions[0].left:.0f}," in dog.reason()
    before = calls(blip, "relevance")
    assert not Moderator(blip, replace(POLICY, regions=False)).decide(images[0]).labels[0].regions
    assert calls(blip, "relevance") == before


def test_questions_are_asked_about_what_is_not_allowed_alone(blip: Blip) -> None:
    quiet = Policy((replace(DOG, review=None), BUS))
    before = calls(blip, "encode_questions")
    assert Moderator(blip, quiet).decide(picture(1)).decision == "allow"
    assert calls(blip, "encode_questions") == before
    assert all(not finding.answers for finding in Moderator(blip, quiet).decide(picture(1)).labels)


def test_the_screening_holds_phrases_back(blip: Blip) -> None:
    similarities = {match.text: match.similarity for match in blip.match(picture(1), list(DOG.phrases))}
    best, other = sorted(DOG.phrases, key=lambda phrase: -similarities[phrase])
    between = sum(similarities.values()) / 2
    [found] = Moderator(blip, Policy((replace(DOG, screen=between),))).decide(picture(1)).labels
    assert found.phrase == best != other
    before = calls(blip, "match")
    [found] = Moderator(blip, Policy((replace(DOG, screen=1.0),))).decide(picture(1)).labels
    assert calls(blip, "match") == before
    assert (found.probability, found.decision, found.phrase) == (None, "allow", best)
    assert "screened out" in found.reason()


def test_the_strictest_finding_decides(blip: Blip) -> None:
    words = LabelRule("spam", words=("free money",), on_words="block")
    policy = Policy((replace(DOG, questions=()), words), TextRule(0.0))
    moderator = Moderator(blip, policy)
    assert moderator.decide(picture(1), "a text").decision == "review"
    found = moderator.decide(picture(1), "Get FREE\nmoney now")
    assert found.decision == "block"
    [finding] = found.words
    assert (finding.label, finding.words, finding.found, finding.start, finding.end) == (
        "spam",
        "free money",
        "FREE\nmoney",
        4,
        14,
    )
    assert [each.reason() for each in found.reasons][1] == "spam in the text (FREE money)"
    assert json.loads(json.dumps(found.to_dict()))["words"][0]["found"] == "FREE\nmoney"


@pytest.mark.parametrize("verdict", ["allow", "review", "block"])
def test_a_text_that_does_not_match_is_a_signal(blip: Blip, verdict: Any) -> None:
    moderator = Moderator(blip, Policy((), TextRule(1.0, verdict)))
    found = moderator.decide(picture(1), TEXT)
    assert found.decision == verdict
    assert found.text_match is not None
    assert not found.text_match.matches
    for empty in ("", " \n"):
        assert moderator.decide(picture(1), empty).text_match is None
    assert Moderator(blip, Policy((DOG,))).decide(picture(1), TEXT).text_match is None


def test_many_pictures_each_with_its_text_and_one_broken(blip: Blip, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    pictures: list[tuple[Any, str]] = [(picture(seed), f"a {word}") for seed, word in enumerate(["dog", "", "bus"])]
    pictures.insert(1, (tmp_path / "broken.jpg", "a cat"))
    moderator = Moderator(blip, POLICY)
    found = list(moderator.decide_each(pictures))
    assert [moderated.text for moderated in found] == [text for _, text in pictures]
    assert isinstance(found[1].error, ImageError)
    assert found[1].decision is None
    for (image, text), moderated in zip(pictures, found, strict=True):
        if moderated.decision is None:
            continue
        alone = moderator.decide(image, text)
        assert [each.decision for each in alone.labels] == [each.decision for each in moderated.decision.labels]
        for one, other in zip(alone.labels, moderated.decision.labels, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-4)
        assert (alone.text_match is None) == (moderated.decision.text_match is None)
    with pytest.raises(ImageError):
        moderator.decide(tmp_path / "broken.jpg")


def test_a_run_needs_a_model_that_answers_where_the_policy_asks(blip: Blip) -> None:
    assert ModerateJob(POLICY).needed() == ("match", "embed", "answer")
    assert ModerateJob(Policy((BUS,))).needed() == ("match", "embed")
    assert pictures_a_call(ModerateJob(POLICY), blip) == min(
        blip.part(task).pictures_a_call(1) for task in ("match", "embed", "answer")
    )


def test_a_model_that_cannot_answer_is_named_at_once(tmp_path: Path) -> None:
    from openblip.checkpoint import save_checkpoint
    from tiny import random_tensors, tiny_config, write_vocabulary

    config = replace(tiny_config("vit"), tasks=tuple(task for task in TASKS if task != "answer"))
    save_checkpoint(tmp_path / "silent", config, random_tensors(config), write_vocabulary(tmp_path))
    blip = Blip.load(tmp_path / "silent", precision="f32", threads=1)
    assert Moderator(blip, Policy((BUS,))).decide(picture(1)).decision == "allow"
    with pytest.raises(ModelError, match="answer"):
        Moderator(blip, POLICY)
