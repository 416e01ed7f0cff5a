"""Questions read from shards and files, and a tiny random model that answers them on the real engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.errors import DataError, ModelError
from openblip.evaluate import Asked, Question, evaluate_answers, format_json, format_markdown, read_asked
from openblip.evaluate.questions import examples, parse_questions, read_questions
from openblip.metrics import AnswerPrior, answer_accuracy
from openblip.pipeline import Blip
from openblip.text import Tokenizer
from shard_files import photo, write_shard
from tiny import random_tensors, tiny_config, write_vocabulary

KINDS = {"colour": "what colour is the dog", "count": "how many dogs", "place": "where is this"}


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    config = replace(tiny_config("vit"), tasks=("caption", "match", "embed", "answer"))
    tokenizer = Tokenizer.from_vocabulary(write_vocabulary(tmp_path_factory.mktemp("vocabulary")))
    return Blip(OpenVinoEngine(config, random_tensors(config), precision="f32", threads=1), tokenizer, "tiny")


def asked(pictures: int) -> list[Asked]:
    """Every picture is asked something else, none as often as its neighbour."""
    generator = np.random.default_rng(0)
    found = []
    for index in range(pictures):
        kinds = sorted(KINDS)[: index % 3 + 1]
        answers = [str(each) for each in generator.choice(["red", "two", "dog", "street"], 3)]
        found.append(Asked(f"p{index}", photo(index), tuple(Question(KINDS[kind], answers, kind) for kind in kinds)))
    return found


def test_each_question_is_answered_about_its_own_picture(blip: Blip) -> None:
    pictures, told = asked(7), list[tuple[str, int, int]]()
    result = evaluate_answers(blip, pictures, progress=lambda *step: told.append(step))
    expected = [
        (picture.key, question.text, blip.answer(picture.image_bytes, question.text)[0].text)
        for picture in pictures
        for question in picture.questions
    ]
    assert [(each.key, each.question.text, each.answer) for each in result.answers] == expected
    assert len({text for _, _, text in expected}) > 1
    assert (result.images, result.overall.questions, result.how) == (7, 13, "generate")
    assert told[-1] == ("questions", 13, 13)
    for each in result.answers:
        assert each.accuracy == answer_accuracy(each.answer, each.question.answers)
        assert 0 < each.probability <= 1


def test_a_model_that_says_what_is_right_gets_full_marks(blip: Blip) -> None:
    pictures = asked(5)
    said = iter(evaluate_answers(blip, pictures).answers)
    own = [
        replace(each, questions=tuple(replace(question, answers=[next(said).answer]) for question in each.questions))
        for each in pictures
    ]
    result = evaluate_answers(blip, own)
    assert result.overall.accuracy == result.macro.accuracy == 1.0
    wrong = [replace(each, questions=tuple(replace(q, answers=["zebra"]) for q in each.questions)) for each in own]
    assert evaluate_answers(blip, wrong).overall.accuracy == 0.0


def test_ranking_takes_one_of_the_given(blip: Blip) -> None:
    pictures, given = asked(4), ["red", "two dogs", "street"]
    result = evaluate_answers(blip, pictures, answers=given)
    assert result.how == "rank"
    assert {each.answer for each in result.answers} <= set(given)
    first = pictures[1]
    expected = blip.answer(first.image_bytes, first.questions[1].text, answers=given)[0].text
    assert [each.answer for each in result.answers if each.key == first.key][1] == expected


def test_kinds_their_mean_and_the_prior_by_hand(blip: Blip) -> None:
    answers = ["red", "zebra"]
    pictures = [
        Asked("a", photo(0), (Question("what colour", ["red"], "colour"), Question("what colour", ["blue"], "colour"))),
        Asked("b", photo(1), (Question("how many", ["2"], "count"), Question("which colour", ["red"], "colour"))),
    ]
    prior = AnswerPrior(
        [("what colour", "colour", ["blue"]), ("what colour", "colour", ["blue"]), ("x", "count", ["2"])]
    )
    result = evaluate_answers(blip, pictures, answers=answers[:1], prior=prior)
    kinds = {kind.kind: (kind.questions, kind.accuracy, kind.prior) for kind in result.kinds}
    assert kinds == {"colour": (3, pytest.approx(2 / 3), pytest.approx(1 / 3)), "count": (1, 0.0, 1.0)}
    assert (result.overall.accuracy, result.overall.prior) == (0.5, 0.5)
    assert (result.macro.accuracy, result.macro.prior) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    table = format_markdown(result).splitlines()
    assert table[0].startswith("tiny: 2 images, 4 questions, answers ranked, ")
    assert table[4:] == [
        "| colour | 3 | 0.667 | 0.333 |",
        "| count | 1 | 0.000 | 1.000 |",
        "| mean of kinds | 4 | 0.333 | 0.667 |",
        "| all | 4 | 0.500 | 0.500 |",
    ]
    values = json.loads(format_json(result, by_image=True))
    assert (values["accuracy"], values["macro"], values["questions"]) == (0.5, pytest.approx(1 / 3), 4)
    assert [row["accuracy"] for row in values["answers"]] == [1.0, 0.0, 0.0, 1.0]
    assert values["answers"][2]["kind"] == "count"
    assert "answers" not in json.loads(format_json(result))


def test_questions_without_kinds_have_one_line(blip: Blip) -> None:
    result = evaluate_answers(blip, [Asked("a", photo(0), (Question("what is this", ["red"]),))])
    assert format_markdown(result).splitlines()[4:] == [f"| all | 1 | {result.overall.accuracy:.3f} | - |"]
    assert json.loads(format_json(result))["prior"] is None


def test_what_cannot_be_asked(blip: Blip) -> None:
    with pytest.raises(DataError, match="no questions"):
        evaluate_answers(blip, [])
    with pytest.raises(DataError, match="broken"):
        evaluate_answers(blip, [*asked(2), Asked("broken", b"no picture", (Question("what", ["red"]),))])
    config = replace(tiny_config("vit"), tasks=("caption",))
    mute = Blip(OpenVinoEngine(config, random_tensors(config), precision="f32", threads=1), blip.tokenizer, "mute")
    with pytest.raises(ModelError, match="answer"):
        evaluate_answers(mute, asked(1))


QA: list[dict[str, Any]] = [
    {"qa": [{"question": "what is on the table", "answer": "cup, stand"}], "width": 320},
    {"qa": [["how many cups", "2"], {"question": "what colour", "answers": ["red", "red", "pink"], "kind": "colour"}]},
    {"qa": [{"question": "where", "answers": {"beach": 1.0, "sea": 0.5}, "kind": "place"}], "captions": ["a beach"]},
]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shard(tmp_path / "vqa-0000.tar", ((f"p{i}", photo(i), record) for i, record in enumerate(QA)))


def test_questions_of_shards(shard: Path) -> None:
    found = list(read_asked([shard]))
    assert [each.key for each in found] == ["p0", "p1", "p2"]
    assert [each.image_bytes for each in found] == [photo(index) for index in range(3)]
    assert found[0].questions == (Question("what is on the table", ["cup, stand"]),)
    assert found[1].questions == (
        Question("how many cups", ["2"]),
        Question("what colour", ["red", "red", "pink"], "colour"),
    )
    assert found[2].questions == (Question("where", {"beach": 1.0, "sea": 0.5}, "place"),)
    assert [each.key for each in read_asked([shard], limit=2)] == ["p0", "p1"]


def test_pictures_that_are_not_asked_about_are_passed_over(tmp_path: Path) -> None:
    rows = [("a", photo(0), {"qa": []}), ("b", photo(1), {"qa": [["what", "this"]]})]
    shard = write_shard(tmp_path / "vqa.tar", rows)
    assert [each.key for each in read_asked([shard])] == [each.key for each in read_asked([shard], limit=1)] == ["b"]
    file = tmp_path / "dev.jsonl"
    file.write_text('{"key": "gone", "qa": []}\n{"key": "a", "qa": [["what", "that"]]}\n', encoding="utf-8")
    assert [(each.key, each.questions[0].answers) for each in read_asked([shard], file)] == [("a", ["that"])]


def test_questions_beside_shards(shard: Path, tmp_path: Path) -> None:
    file = tmp_path / "dev.jsonl"
    lines = [{"key": "p2", "qa": QA[1]["qa"]}, {"key": "p0", "qa": QA[2]["qa"]}]
    file.write_text("\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    found = list(read_asked([shard], file))
    assert [(each.key, len(each.questions)) for each in found] == [("p0", 1), ("p2", 2)]
    assert found[1].image_bytes == photo(2)
    assert [each.key for each in read_asked([shard], file, limit=1)] == ["p0"]
    assert list(examples([file])) == list(examples([str(file)]))
    assert [question for question, _, _ in examples([file])] == ["how many cups", "what colour", "where"]
    assert len(list(examples([shard, file]))) == 7
    file.write_text('{"key": "elsewhere", "qa": [["a", "b"]]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"1 pictures .* 'elsewhere'"):
        list(read_asked([shard], file))


def test_real_questions(shared_data: Path) -> None:
    source = shared_data / "daquar" / "train-0000.tar"
    found = list(read_asked([source]))
    assert len(found) == 794
    assert sum(len(each.questions) for each in found) == 6795
    prior = AnswerPrior(examples([source]))
    rows = [question for each in found for question in each.questions]
    accuracy = np.mean([answer_accuracy(prior.answer(row.text), row.answers) for row in rows])
    assert 0.2 < accuracy < 0.9  # it has seen these questions; most are about one picture alone


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", '"key"'),
        ('{"key": "a", "qa": [["q", "b"]]}', "of its own"),
        ('{"key": "b"}', "no questions"),
        ('{"key": "b", "qa": {}}', "no questions"),
        ('{"key": "b", "qa": ["what"]}', "is no question"),
        ('{"key": "b", "qa": [{"question": " ", "answer": "x"}]}', "is no question"),
        ('{"key": "b", "qa": [{"question": "what", "answers": []}]}', "no usable answers"),
        ('{"key": "b", "qa": [{"question": "what", "answers": {"red": 0}}]}', "no usable answers"),
        ('{"key": "b", "qa": [{"question": "what", "answers": {"red": NaN}}]}', "no usable answers"),
        ('{"key": "b", "qa": [{"question": "what", "answer": "red", "kind": 3}]}', "no usable answers"),
    ],
)
def test_lines_that_are_no_questions(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"key": "a", "qa": [["q", "a"]]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_questions(file)


def test_files_that_hold_no_questions(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    (tmp_path / "none.jsonl").write_text('{"key": "a", "qa": []}\n', encoding="utf-8")
    for name in ("empty.jsonl", "none.jsonl", "missing.jsonl"):
        with pytest.raises(DataError, match=name):
            read_questions(tmp_path / name)
    shard = write_shard(tmp_path / "captions.tar", [("a", photo(0), {"captions": ["a dog"]})])
    with pytest.raises(DataError, match=r"a\.json has no questions"):
        list(read_asked([shard]))
    with pytest.raises(DataError, match="has no questions"):
        parse_questions(None, "here")
