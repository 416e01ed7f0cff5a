"""Several tasks at once: one encoding, and what the single calls give."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openblip import Analysis, Blip, GenerateOptions, InputError, OptionError
from tiny_blip import calls, counted_blip, picture

QUESTIONS, TEXTS = ["is the dog young", "a red hat", "two"], ["a dog runs", "the man on a bus"]
OPTIONS = GenerateOptions(num_beams=4, num_return=2, max_length=10)
SHORT = GenerateOptions(num_beams=2, max_length=6, min_length=1)


@pytest.fixture(scope="module", params=["openvino", "torch"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return counted_blip(request.param, tmp_path_factory.mktemp("vocabulary"))


def encodings(blip: Blip) -> int:
    return calls(blip, "encode_images")


def test_everything_about_a_picture_in_one_encoding(blip: Blip) -> None:
    image, before = picture(1), encodings(blip)
    [found] = blip.analyze(
        image, caption=True, prompt="a photo", options=OPTIONS, questions=QUESTIONS, texts=TEXTS, embed=True
    )
    assert encodings(blip) == before + 1
    assert list(found.captions) == blip.captions(image, "a photo", OPTIONS)[0]
    assert list(found.answers) == blip.answer(image, QUESTIONS)
    assert list(found.matches) == blip.match(image, TEXTS)
    assert found.embedding is not None
    assert list(found.embedding.vector) == blip.embed_images(image)[0].tolist()
    assert found.embedding.model == "tiny"


def test_questions_share_their_batch(blip: Blip) -> None:
    engine: Any = blip.engine
    before = dict(engine.calls)
    [found] = blip.analyze(picture(1), questions=QUESTIONS, answers=["a dog", "two"], answer_options=SHORT)
    assert engine.calls["encode_questions"] == before.get("encode_questions", 0) + 1
    assert list(found.answers) == blip.answer(picture(1), QUESTIONS, SHORT, answers=["a dog", "two"])
    assert {answer.text for answer in found.answers} <= {"a dog", "two"}


@pytest.mark.parametrize("task", ["caption", "questions", "texts", "embed"])
def test_what_is_not_asked_is_empty(blip: Blip, task: str) -> None:
    asked: dict[str, dict[str, Any]] = {
        "caption": {"caption": True},
        "questions": {"questions": QUESTIONS[0]},
        "texts": {"texts": TEXTS[0]},
        "embed": {"embed": True},
    }
    [found] = blip.analyze(picture(1), **asked[task])
    filled = {"caption": found.captions, "questions": found.answers, "texts": found.matches, "embed": found.embedding}
    assert {name for name, value in filled.items() if value} == {task}


def test_every_question_and_text_goes_with_every_picture(blip: Blip) -> None:
    images, before = [picture(seed) for seed in range(3)], encodings(blip)
    found = blip.analyze(images, caption=True, questions=QUESTIONS, texts=TEXTS, embed=True)
    assert encodings(blip) == before + 1
    assert len({analysis.captions[0].text for analysis in found}) > 1
    assert len({answer.text for analysis in found for answer in analysis.answers}) > 1
    for image, analysis in zip(images, found, strict=True):
        [alone] = blip.analyze(image, caption=True, questions=QUESTIONS, texts=TEXTS, embed=True)
        assert [caption.text for caption in alone.captions] == [caption.text for caption in analysis.captions]
        assert [answer.question for answer in analysis.answers] == QUESTIONS
        assert [answer.text for answer in alone.answers] == [answer.text for answer in analysis.answers]
        assert [match.text for match in analysis.matches] == TEXTS
        for one, other in zip(alone.matches, analysis.matches, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-4)
            assert one.similarity == pytest.approx(other.similarity, abs=1e-4)
    assert blip.analyze([], embed=True) == []


def test_an_analysis_is_plain_when_asked(blip: Blip) -> None:
    [found] = blip.analyze(picture(1), caption=True, questions=QUESTIONS, texts=TEXTS, embed=True)
    values = json.loads(json.dumps(found.to_dict()))
    assert set(values) == {"captions", "answers", "matches", "embedding", "groundings"}
    assert values["captions"][0]["text"] == found.captions[0].text
    assert values["answers"][1]["question"] == QUESTIONS[1]
    assert values["embedding"]["model"] == "tiny"
    nothing = {"captions": (), "answers": (), "matches": (), "embedding": None, "groundings": ()}
    assert Analysis().to_dict() == nothing


def test_what_makes_no_sense_is_refused_before_any_picture_is_read(blip: Blip) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "nothing to analyze: ask for caption=True"),
        ({"embed": True, "prompt": "a"}, "prompt and options are for captions"),
        ({"questions": "a", "options": SHORT}, "prompt and options are for captions"),
        ({"embed": True, "answers": ["a"]}, "answers and answer_options go with questions"),
        ({"questions": "a", "answers": []}, "no answers to choose from"),
    ]
    for arguments, says in refused:
        with pytest.raises(InputError, match=says):
            blip.analyze("missing.jpg", **arguments)
    with pytest.raises(OptionError, match="leaves no room"):
        blip.analyze("missing.jpg", caption=True, prompt="a dog " * 5, options=SHORT)
