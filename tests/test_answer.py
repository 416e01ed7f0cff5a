"""Questions about pictures, in every engine: an answer depends on its picture and its question, on nothing else."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openblip import Blip, GenerateOptions, InputError
from openblip.config import ModelConfig
from openblip.engines import load_engine
from openblip.text import Tokenizer
from tiny import random_pixels, random_tensors, tiny_config, write_vocabulary

QUESTIONS = ["is the dog young", "a red hat", "the man plays with a ball on the grass", "two"]


@pytest.fixture(
    scope="module",
    params=[("openvino", 0), ("torch", 0), ("openvino", 1), ("torch", 1)],
    ids=lambda given: f"{given[0]}-{given[1] or 'all'}-layers",
)
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    """Also with a decoder of answers that has fewer layers than the text transformer."""
    engine, layers = request.param
    config = replace(tiny_config("vit"), tasks=("caption", "match", "embed", "answer"), answer_layers=layers)
    tokenizer = Tokenizer.from_vocabulary(write_vocabulary(tmp_path_factory.mktemp("vocabulary")))
    return Blip(load_engine(engine, config, random_tensors(config), precision="f32"), tokenizer, "tiny")


def picture(config: ModelConfig, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = random_pixels(config, 1, seed)[0].transpose(1, 2, 0)
    return (pixels * 40 + 128).clip(0, 255).astype(np.uint8)


def test_one_picture_many_questions(blip: Blip) -> None:
    image = picture(blip.config, 1)
    together = blip.answer(image, QUESTIONS)
    assert [answer.question for answer in together] == QUESTIONS
    assert len({answer.text for answer in together}) > 1
    for question, answer in zip(QUESTIONS, together, strict=True):
        [alone] = blip.answer(image, question)
        assert alone.text == answer.text
        assert_allclose(alone.log_probability, answer.log_probability, atol=1e-4)
        assert answer.probability == pytest.approx(exp(answer.log_probability))
        assert len(answer.others) == 2
        assert answer.model == "tiny"


def test_pairs_and_pictures(blip: Blip) -> None:
    images = [picture(blip.config, seed) for seed in range(4)]
    pairs = blip.answer(images, QUESTIONS)
    for image, question, answer in zip(images, QUESTIONS, pairs, strict=True):
        assert blip.answer(image, question)[0].text == answer.text
    same = blip.answer(images, QUESTIONS[2])
    assert len({answer.text for answer in same}) > 1
    shuffled = blip.answer(images[::-1], QUESTIONS[::-1])
    assert [answer.text for answer in shuffled] == [answer.text for answer in pairs][::-1]
    assert blip.answer([], []) == []


def test_given_answers(blip: Blip) -> None:
    image, given = picture(blip.config, 1), ["a dog", "two birds", "dog", "the sky is blue", "a dog runs"]
    [answer] = blip.answer(image, QUESTIONS[0], answers=given)
    assert answer.text in given
    ranked = [(answer.text, answer.probability), *answer.others]
    assert sorted(text for text, _ in ranked) == sorted(given)
    assert [value for _, value in ranked] == sorted((value for _, value in ranked), reverse=True)
    for text, probability in ranked:
        [only] = blip.answer(image, QUESTIONS[0], answers=[text])
        assert only.probability == pytest.approx(probability, rel=1e-3)
    with pytest.raises(InputError, match="no answers to choose from"):
        blip.answer(image, QUESTIONS[0], answers=[])
    with pytest.raises(InputError, match="text 1 of 1 is empty"):
        blip.answer(image, "")


def test_the_generated_answer_is_as_likely_as_when_it_is_given(blip: Blip) -> None:
    [answer] = blip.answer(
        picture(blip.config, 2), QUESTIONS[2], GenerateOptions(num_beams=5, max_length=6, min_length=1)
    )
    ids = blip.tokenizer.caption_prompt(answer.text)
    if len(ids) < 5:  # it closed by itself
        [given] = blip.answer(picture(blip.config, 2), QUESTIONS[2], answers=[answer.text])
        assert given.log_probability == pytest.approx(answer.log_probability, abs=1e-3)


def test_a_drawn_answer_depends_on_its_picture_its_question_and_the_seed_alone(blip: Blip) -> None:
    options = GenerateOptions(sample=True, num_beams=1, max_length=8, top_p=1.0, seed=3, num_return=4)
    images = [picture(blip.config, seed) for seed in range(4)]
    together = blip.answer(images, QUESTIONS, options)
    alone = [blip.answer(image, question, options)[0] for image, question in zip(images, QUESTIONS, strict=True)]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    other = blip.answer(images, QUESTIONS, replace(options, seed=4))
    assert [answer.text for answer in other] != [answer.text for answer in together]
    for answer in together:
        likely = [answer.probability, *(probability for _, probability in answer.others)]
        assert likely == sorted(likely, reverse=True)
