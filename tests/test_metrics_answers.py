"""The VQA accuracy against the published evaluation and by hand, and the prior that never looks at a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.errors import DataError
from openblip.metrics import AnswerPrior, answer_accuracy, normalise_answer

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "vqa_scores.json").read_text("utf-8"))

words = st.sampled_from("red blue dog dogs two 2 the a t-shirt yes no".split())


@pytest.mark.parametrize("text", GOLDEN["normalised"])
def test_answers_are_normalised_as_published(text: str) -> None:
    assert normalise_answer(text) == GOLDEN["normalised"][text]


def test_accuracies_equal_the_published_ones() -> None:
    found = [answer_accuracy(row["answer"], row["answers"]) for row in GOLDEN["questions"]]
    assert found == pytest.approx([row["accuracy"] for row in GOLDEN["questions"]], abs=1e-9)
    assert sum(found) / len(found) == pytest.approx(GOLDEN["overall"], abs=1e-9)
    assert {round(value, 6) for value in found} == {0.0, 0.3, 0.6, 0.9, 1.0}


@pytest.mark.parametrize(("agreeing", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_ten_people_by_hand(agreeing: int, accuracy: float) -> None:
    """With 2 of 10: without one of the two 1/3, twice; without another 2/3, eight times: 6/10."""
    people = ["Red"] * agreeing + ["blue", "green", "black", "white", "pink", "grey", "tan", "gold", "x", "y"]
    assert answer_accuracy("red.", people[:10]) == pytest.approx(accuracy)


def test_one_answer_must_be_the_same() -> None:
    assert answer_accuracy("A garbage-bin", ["garbage_bin"]) == 1.0
    assert answer_accuracy("garbage", ["garbage_bin"]) == 0.0
    assert answer_accuracy("two", ["2"]) == 1.0


def test_few_people_by_hand() -> None:
    assert answer_accuracy("red", ["red", "blue"]) == 0.5  # right without the one, wrong without the other
    assert answer_accuracy("red", ["red"] * 3) == 1.0
    assert answer_accuracy("red", ["red", "red", "blue"]) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)


def test_weights_count_beside_the_largest() -> None:
    weights = {"brown": 0.6, "tan": 0.3, "Tan.": 0.15, "white": 0.1}
    assert answer_accuracy("brown", weights) == 1.0
    assert answer_accuracy("tan", weights) == pytest.approx(0.75)
    assert answer_accuracy("white", weights) == pytest.approx(1 / 6)
    assert answer_accuracy("black", weights) == 0.0


@given(words, st.lists(words, min_size=1, max_size=12))
def test_accuracies_stay_in_their_range_and_rise_with_agreement(answer: str, people: list[str]) -> None:
    before = answer_accuracy(answer, people)
    assert 0.0 <= before <= 1.0
    if len(people) >= 4:
        other = [answer if place == 0 else each for place, each in enumerate(people)]
        assert answer_accuracy(answer, other) >= before - 1e-12
    assert answer_accuracy(answer, [answer] * len(people)) == 1.0


@given(st.text(max_size=60))
def test_any_text_is_normalised_to_words(text: str) -> None:
    found = normalise_answer(text)
    assert found == " ".join(found.split())
    assert not set(found) & set(';/[]"{}()=+\\_-><@`,?!')


@pytest.mark.parametrize("answers", [[], {}, {"red": 0.0}])
def test_questions_without_a_right_answer(answers: Any) -> None:
    with pytest.raises(DataError, match="drop"):
        answer_accuracy("red", answers)


def test_the_prior_knows_the_question_then_its_kind_then_all() -> None:
    prior = AnswerPrior(
        [
            ("What colour is the dog?", "colour", ["Brown"]),
            ("what colour is the dog", "colour", ["brown.", "brown", "black"]),
            ("what colour is the cat?", "colour", {"black": 0.6, "white": 0.4}),
            ("what colour is the car?", "colour", ["black"]),
            ("what colour is the bus?", "colour", ["black"]),
            ("how many dogs are there?", "count", ["two"]),
            ("how many dogs are there?", "count", ["2"]),
            ("how many dogs are there?", "count", ["3"]),
            ("how many cats are there?", "count", ["2"]),
        ]
    )
    assert prior.answer("What colour  is the dog ?", "colour") == "brown"
    assert prior.answer("what colour is the horse?", "colour") == "black"
    assert prior.answer("how many horses are there?", "count") == "2"
    # Over all, "2" earns 1 three times; "black" 1/3 of the three people, and 1 three times.
    assert prior.answer("where is this?", "place") == "black"
    assert prior.answer("where is this?") == "black"


@given(st.lists(st.lists(words, min_size=1, max_size=5), min_size=1, max_size=6))
def test_no_single_answer_earns_more_than_the_prior(questions: list[list[str]]) -> None:
    guess = AnswerPrior(("q", "", people) for people in questions).answer("q")

    def earned(answer: str) -> float:
        return sum(answer_accuracy(answer, people) for people in questions)

    assert all(earned(answer) <= earned(guess) + 1e-6 for people in questions for answer in people)


def test_answers_that_earn_the_same_are_taken_by_the_alphabet() -> None:
    rows: list[tuple[str, str, list[str]]] = [("q", "", ["no"]), ("q", "", ["yes"]), ("q", "", ["maybe"])]
    assert AnswerPrior(rows).answer("q") == AnswerPrior(rows[::-1]).answer("q") == "maybe"


def test_a_prior_of_nothing() -> None:
    with pytest.raises(DataError, match="name other data"):
        AnswerPrior([])
