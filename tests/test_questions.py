"""Questions from captions, rule by rule on captions written by hand: what is asked, and what must not be asked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from openblip.train.questions import KINDS, Question, questions_of
from openblip.train.questions.parse import parse

DOG = [
    "A black dog with a red collar runs through the snow .",
    "A black dog is running in the snow .",
    "A dog runs across a snowy field with a stick in its mouth .",
    "The black dog carries a stick .",
    "a dog in the snow",
]
BOY = [
    "A boy in a blue shirt is riding a bicycle down the street .",
    "A little boy wearing a helmet rides his bike .",
    "A young boy rides a bike on the street .",
    "Boy with blond hair on a bike",
    "The boy in the blue shirt is riding his bicycle .",
]
COUPLE = [
    "A man and a woman sit on a bench .",
    "A man in a black hat is sitting next to a woman in a red dress .",
    "Two people are sitting on a bench in the park .",
    "A man and woman sitting on a park bench",
    "The woman in the red dress is reading a book on a bench .",
]


def asked(captions: list[str], kind: str) -> dict[str, Mapping[str, float]]:
    """Question -> answers, of one kind."""
    return {each.question: each.answers for each in questions_of(captions) if each.kind == kind}


def answers_to(captions: list[str], *wordings: str) -> dict[str, float]:
    """The answers to whichever of the wordings was drawn; none where none was."""
    found = [dict(each.answers) for each in questions_of(captions) if each.question in wordings]
    assert len(found) <= 1
    return found[0] if found else {}


def colour_of(captions: list[str], thing: str) -> dict[str, float]:
    return answers_to(
        captions, *(f"what {word} {verb} the {thing}?" for word in ("colour", "color") for verb in ("is", "are"))
    )


def test_a_question_carries_its_kind_its_form_and_weighted_answers() -> None:
    where = next(each for each in questions_of(DOG) if each.question == "where is the dog?")
    assert where == Question(
        "where", "where is the dog?", "where is the dog?", {"in the snow": 3.0, "in the field": 1.0}
    )
    assert {each.kind for each in questions_of(DOG)} <= set(KINDS)


def test_which_animal_and_who() -> None:
    kinds = ("which animal is in the picture?", "what animal is this?", "what kind of animal is shown?")
    assert answers_to(DOG, *kinds) == {"dog": 5.0}
    assert answers_to(BOY, "who is in the picture?", "who is shown in the photo?") == {"boy": 5.0}
    assert answers_to(COUPLE, "who is wearing a red dress?") == {"woman": 2.0}
    assert answers_to(COUPLE, "who is wearing a black hat?") == {"man": 1.0}
    assert answers_to([*COUPLE, "A woman in a black hat sits by a man ."], "who is wearing a black hat?") == {}


@pytest.mark.parametrize("word", ["puppy", "greyhound", "golden retriever"])
def test_a_breed_is_its_animal(word: str) -> None:
    captions = [f"A {word} sleeps .", "A dog is sleeping ."]
    assert {"dog": 2.0} in asked(captions, "animal_or_person").values()


def test_two_species_leave_no_animal_to_name() -> None:
    assert not asked(["A dog chases a cat .", "A dog and a cat .", "a cat runs from a dog"], "animal_or_person")


def test_a_person_called_man_and_woman_alike_is_nobody_to_ask_for() -> None:
    captions = ["A man on a boat .", "A woman on a boat .", "A woman sails .", "a man in a boat"]
    assert not asked(captions, "animal_or_person")


def test_count() -> None:
    assert answers_to(DOG, "how many dogs are there?", "how many dogs are in the picture?") == {"one": 5.0}
    people = answers_to(COUPLE, "how many people are there?", "how many people are in the picture?")
    assert people == {"two": 4.0}


def test_unlike_counts_are_not_asked_for() -> None:
    captions = ["Two dogs run .", "Three dogs run .", "Two dogs on grass .", "Three brown dogs play ."]
    assert not asked(captions, "count")
    assert not asked(["A group of people at a party .", "Many people dance .", "People dancing ."], "count")
    others = ["A woman points .", "A woman is pointing .", "A woman points while others take pictures .", "a woman"]
    assert not asked(others, "count")


def test_somebody_who_may_count_too_spoils_the_count() -> None:
    """Who says "two people" beside "a man" has not said how many men there are."""
    captions = ["A man stands there .", "A man stands by another person .", "A man and a child .", "a man waits"]
    assert not any("men" in question for question in asked(captions, "count"))


def test_colours() -> None:
    assert colour_of(DOG, "dog") == {"black": 3.0}
    assert colour_of(DOG, "dog's collar") == {"red": 1.0}
    assert colour_of(BOY, "boy's shirt") == {"blue": 2.0}
    assert colour_of(BOY, "boy's hair") == {"blonde": 1.0}
    assert colour_of(COUPLE, "woman's dress") == {"red": 2.0}
    assert colour_of(COUPLE, "man's hat") == {"black": 1.0}


def test_black_and_white_is_one_colour_in_whatever_order() -> None:
    captions = ["A black and white dog .", "A white and black dog runs .", "A dog ."]
    assert colour_of(captions, "dog") == {"black and white": 2.0}


def test_colours_that_contradict_one_another_are_dropped() -> None:
    assert colour_of(["A black dog runs .", "A white dog runs .", "a dog"], "dog") == {}
    assert colour_of(["A brown dog runs .", "A tan dog runs .", "a dog"], "dog") == {"brown": 1.0, "tan": 1.0}


def test_a_colour_is_not_asked_where_two_could_be_meant() -> None:
    assert (
        colour_of(["A black dog and a brown dog play .", "Two dogs play .", "A black dog bites another dog ."], "dog")
        == {}
    )
    two_men = ["A man in a red shirt talks to a man in a blue shirt .", "Two men talk .", "Two men in shirts ."]
    assert not asked(two_men, "colour")


def test_a_toy_of_two_colours_is_not_asked_about() -> None:
    captions = ["A dog with a green toy .", "A dog catches a yellow ball .", "A dog plays with a toy ."]
    assert colour_of(captions, "toy") == {}


def test_where() -> None:
    assert answers_to(COUPLE, "where are the people?") == {"on a bench": 3.0, "in the park": 1.0}
    assert answers_to(DOG, "where is the dog running?") == {"in the snow": 2.0, "in the field": 1.0}


def test_what_is_only_near_is_no_place_to_be_in() -> None:
    captions = ["A man stands near a lake .", "A man looks over a lake .", "A man by the lake ."]
    assert answers_to(captions, "where is the man?") == {"near the lake": 2.0}
    assert (
        answers_to(captions, "what place is shown?", "where was this picture taken?", "what kind of place is this?")
        == {}
    )


def test_captions_that_call_the_water_by_many_names_agree_on_water() -> None:
    captions = ["A dog swims in a lake .", "A dog is swimming in the river .", "A dog swims in the water ."]
    assert answers_to(captions, "where is the dog?") == {"in the water": 3.0}


def test_place_and_ground() -> None:
    captions = ["A dog runs on the beach .", "A dog runs along a beach .", "A brown dog runs through the water ."]
    kinds = ("what place is shown?", "where was this picture taken?", "what kind of place is this?")
    assert answers_to(captions, *kinds) == {"beach": 2.0}
    assert answers_to(captions, "what is the dog running through?") == {"water": 1.0}
    assert answers_to(
        ["A man stands in front of a wall .", "A man stands ."], "what is the man standing in front of?"
    ) == {"wall": 1.0}


@pytest.mark.parametrize(
    ("caption", "kind", "answer"),
    [
        ("People walk in the rain .", "weather", "rainy"),
        ("Children play outside on a sunny day .", "weather", "sunny"),
        ("A kite in a clear blue sky .", "weather", "clear"),
        ("A dog runs while it is snowing .", "weather", "snowy"),
        ("A man walks down a street at night .", "time_of_day", "night"),
        ("Two people watch the sunset .", "time_of_day", "sunset"),
        ("A man fishes as the sun sets .", "time_of_day", "sunset"),
    ],
)
def test_weather_and_time_of_day(caption: str, kind: str, answer: str) -> None:
    assert [set(answers) for answers in asked([caption], kind).values()] == [{answer}]


@pytest.mark.parametrize(
    "caption",
    [
        "A dog on a snowy hill .", "A boy holds an umbrella though it is not raining .",
        "A girl jumps in a rain puddle .", "A dog shakes off a mist of water .", "Two women in evening wear .",
        "People dance in a night club .",
    ],
)  # fmt: skip
def test_what_only_sounds_like_weather_or_a_time_is_none(caption: str) -> None:
    assert not asked([caption], "weather")
    assert not asked([caption], "time_of_day")


def test_vehicles() -> None:
    kinds = ("which vehicle is in the picture?", "what vehicle is this?", "what kind of vehicle is shown?")
    assert answers_to(BOY, *kinds) == {"bike": 5.0}
    assert answers_to(BOY, "what is the boy riding?") == {"bike": 5.0}
    dirt = ["A man rides a dirt bike .", "A man on a motorcycle .", "A man rides a bike ."]
    assert answers_to(dirt, "what is the man riding?") == {"motorcycle": 2.0}
    assert not asked(["A boy plays with a toy car .", "A boy and his toy car ."], "vehicle")
    camels = ["Two girls ride camels .", "Two kids are riding camels ."]
    assert answers_to(camels, "what are the children riding?") == {"camels": 2.0}
    leashed = ["A dog on a leash with its owner riding a bike .", "A dog by a bike ."]
    assert not any("riding" in question for question in asked(leashed, "vehicle"))


def test_holding() -> None:
    in_mouth = "what does the dog have in its mouth?", "what is in the dog's mouth?"
    assert answers_to(DOG, *in_mouth) == {"stick": 1.0}
    assert answers_to(DOG, "what is the dog holding?", "what is the dog carrying?") == {"stick": 1.0}
    hand = ["A woman holds a red umbrella .", "A woman is holding her hat .", "A woman holding something ."]
    assert answers_to(hand, "what is the woman holding?", "what is the woman carrying?") == {
        "hat": 1.0,
        "umbrella": 1.0,
    }
    assert not asked(["A man holds a child 's hand .", "A man holding hands with a child ."], "holding")


def test_wearing() -> None:
    assert answers_to(BOY, "what is the boy wearing?") == {"shirt": 2.0, "helmet": 1.0}
    assert answers_to(BOY, "what is on the boy's head?", "what is the boy wearing on the head?") == {"helmet": 1.0}
    assert answers_to(DOG, "what is the dog wearing?") == {"collar": 1.0}
    boys = ["Two boys in blue shirts run .", "Two boys wearing shirts ."]
    assert answers_to(boys, "what are the boys wearing?") == {"shirts": 2.0}
    assert not asked(["A man with his shirt off .", "A man with no shirt ."], "wearing")


def test_doing() -> None:
    assert answers_to(DOG, "what is the dog doing?") == {"running": 3.0}
    assert answers_to(BOY, "what is the boy doing?") == {"riding a bike": 4.0}
    assert answers_to(COUPLE, "what is the woman reading?") == {"book": 1.0}
    game = ["A boy plays soccer .", "Boys playing a soccer game .", "Two boys play soccer ."]
    assert answers_to(game, "what sport is being played?", "what game are they playing?") == {"soccer": 3.0}


def test_of_postures_that_exclude_one_another_the_majority_is_kept() -> None:
    captions = ["A man sits on a wall .", "A man is sitting there .", "A man stands by a wall ."]
    assert answers_to(captions, "what is the man doing?") == {"sitting": 2.0}
    assert answers_to(captions[1:], "what is the man doing?") == {}


def test_who_does_what_is_not_mixed_up() -> None:
    captions = ["A boy watches a dog running on the beach .", "A boy on the beach watches a running dog ."]
    assert answers_to(captions, "what is the boy doing?") == {"watching": 2.0}
    seen = ["A man and a boy watch a dog catch a toy in the air .", "A man and a boy watch a dog ."]
    assert answers_to(seen, "where are the people?") == {}
    assert answers_to(seen, "where is the dog?") == {"in the air": 1.0}
    chase = parse("A man holding a child walks down the road .").events
    assert [([each.head for each in event.subjects], event.verb) for event in chase] == [
        (["man"], "hold"),
        (["man"], "walk"),
    ]


def test_an_answer_that_the_question_gives_away_is_not_asked_for() -> None:
    captions = ["A surfer is surfing on a surfboard .", "A surfer surfs .", "the surfer rides a surfboard"]
    assert not any("surf" in each.question and "surf" in " ".join(each.answers) for each in questions_of(captions))


def test_one_of_several_is_not_the_one() -> None:
    """ "What is the man doing?" needs one man."""
    captions = ["A man runs and a man sits .", "Two men are there .", "A man sits next to another man ."]
    assert not any("the man " in each.question for each in questions_of(captions))


def test_no_captions_no_questions() -> None:
    assert questions_of([]) == []
    assert questions_of(["", " . ", "!?"]) == []
