"""Diverse beam search against the equation of its paper, written out one text at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openblip.errors import OptionError
from openblip.search import Hypothesis, generate
from openblip.types import GenerateOptions
from test_search import BIASES, DEC, PROMPTS, SEP, VOCABULARY, FakeEngine, own_log_probability, run
from tiny_blip import picture, tiny_blip


@dataclass
class Group:
    """open: texts that go on, with their scores; closed: whole ones, best first."""

    open: list[tuple[list[int], float]]
    closed: list[tuple[list[int], float]]
    done: bool = False


def by_the_equation(prompt: list[int], options: GenerateOptions, bias: float) -> list[tuple[list[int], float]]:
    """Vijayakumar et al. 2016, equation 5 with the Hamming diversity of section 5.1: at every step, group after group,
    argmax of the sum of log P(token | text) - penalty * how often the groups before chose this token in this step."""
    size = options.num_beams // options.num_beam_groups
    groups = [Group([([], 0.0)], []) for _ in range(options.num_beam_groups)]
    for length in range(1, options.max_length - len(prompt) + 1):
        last, said = len(prompt) + length == options.max_length, list[int]()
        for group in groups:
            if not group.done:
                said += one_step(group, prompt, options, bias, size, said, last)
        if all(group.done for group in groups):
            break
    found = [text for group in groups for text in group.closed]
    return sorted(found, key=lambda text: -text[1])[: options.num_return]


def one_step(
    group: Group, prompt: list[int], options: GenerateOptions, bias: float, size: int, said: list[int], last: bool
) -> list[int]:
    """Advance one group. Returns the tokens that it goes on with."""
    candidates = []
    for text, score in group.open:
        for token in range(VOCABULARY):
            if token == SEP and len(prompt) + len(text) < options.min_length:
                continue
            gain = own_log_probability([*prompt, *text], token, bias) - options.diversity_penalty * said.count(token)
            candidates.append(([*text, token], score + gain))
    candidates.sort(key=lambda text: -text[1])
    length = len(candidates[0][0])
    for text, score in candidates[:size]:
        if text[-1] == SEP or last:
            group.closed.append((text, score / length**options.length_penalty))
    group.closed = sorted(group.closed, key=lambda text: -text[1])[:size]
    group.open = [(text, score) for text, score in candidates[: 2 * size] if text[-1] != SEP][:size]
    best = group.open[0][1] / length**options.length_penalty
    group.done = last or (len(group.closed) == size and best <= group.closed[-1][1])
    return [text[-1] for text, _ in group.open]


GROUPED = st.builds(
    lambda groups, size, penalty, lengths, length_penalty, returns: GenerateOptions(
        num_beams=groups * size,
        num_beam_groups=groups,
        diversity_penalty=penalty,
        max_length=lengths[1],
        min_length=lengths[0],
        length_penalty=length_penalty,
        num_return=min(returns, groups * size),
    ),
    st.integers(2, 4),
    st.integers(1, 3),
    st.sampled_from([0.3, 1.0, 5.0]),
    st.tuples(st.integers(0, 10), st.integers(5, 10)).map(sorted).filter(lambda pair: pair[1] > 4),
    st.sampled_from([1.0, 0.0, 2.0]),
    st.integers(1, 8),
)


@given(prompts=PROMPTS, options=GROUPED, sep_bias=BIASES)
@settings(max_examples=60, deadline=None, derandomize=True)  # float32 here, float64 there: a draw may be a near tie
def test_the_texts_are_those_of_the_equation(
    prompts: list[list[int]], options: GenerateOptions, sep_bias: float
) -> None:
    for prompt, texts in zip(prompts, run(prompts, options, sep_bias), strict=True):
        expected = by_the_equation(prompt, options, sep_bias)
        assert [list(text.tokens) for text in texts] == [tokens for tokens, _ in expected]
        np.testing.assert_allclose([text.score for text in texts], [score for _, score in expected], atol=1e-4)


@given(prompts=PROMPTS, options=GROUPED, sep_bias=BIASES, repetition=st.sampled_from([1.0, 1.4]))
def test_a_batch_equals_its_singles(
    prompts: list[list[int]], options: GenerateOptions, sep_bias: float, repetition: float
) -> None:
    options = replace(options, repetition_penalty=repetition)
    assert run(prompts, options, sep_bias) == [run([prompt], options, sep_bias)[0] for prompt in prompts]


@given(prompts=PROMPTS, options=GROUPED, sep_bias=BIASES)
def test_groups_without_a_penalty_are_smaller_searches(
    prompts: list[list[int]], options: GenerateOptions, sep_bias: float
) -> None:
    groups, size = options.num_beam_groups, options.num_beams // options.num_beam_groups
    free = replace(options, diversity_penalty=0.0, num_return=options.num_beams)
    lone = replace(free, num_beams=size, num_beam_groups=1, num_return=size)
    for texts, alone in zip(run(prompts, free, sep_bias), run(prompts, lone, sep_bias), strict=True):
        expected = sorted(alone * groups, key=lambda text: -text.score)
        assert [text.tokens for text in texts] == [text.tokens for text in expected]


def distinct(texts: list[Hypothesis]) -> int:
    return len({text.tokens[:-1] for text in texts})


def test_a_greater_penalty_gives_more_different_texts() -> None:
    prompts = [[DEC, token] for token in range(5, 15)]
    options = GenerateOptions(num_beams=4, num_beam_groups=4, num_return=4, max_length=8, min_length=0)
    counts = [
        sum(map(distinct, run(prompts, replace(options, diversity_penalty=penalty)))) for penalty in (0.0, 0.05, 5.0)
    ]
    assert counts[0] == len(prompts)
    assert counts[0] < counts[1] < counts[2]


def test_all_groups_share_each_step_of_the_engine() -> None:
    engine: Any = FakeEngine(sep_bias=-30.0)  # no text closes itself
    images: Any = None
    options = GenerateOptions(num_beams=6, num_beam_groups=3, num_return=6, max_length=9, diversity_penalty=1.0)
    generate(engine, images, np.array([[DEC, 7], [DEC, 9]]), np.array([2, 2]), options)
    assert engine.last.rows_fed == [12] * 6


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_beams": 4, "num_beam_groups": 3}, "num_beam_groups=3 does not divide num_beams=4"),
        ({"num_beams": 2, "num_beam_groups": 4}, "num_beam_groups=4 does not divide num_beams=2"),
        ({"num_beam_groups": 0}, "num_beam_groups=0 is out of range: give 1 to 64"),
        ({"diversity_penalty": -0.5}, "diversity_penalty=-0.5 is out of range"),
        ({"num_beams": 1, "sample": True, "num_beam_groups": 2}, "num_beam_groups=2 does not divide num_beams=1"),
    ],
    ids=str,
)
def test_bad_groups_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError) as caught:
        GenerateOptions(**values)
    assert says in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_captions_of_a_picture_differ(engine: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    blip = tiny_blip(engine, tmp_path_factory.mktemp("vocabulary"))
    options = GenerateOptions(num_beams=4, num_beam_groups=4, diversity_penalty=3.0, num_return=4, max_length=8)
    images = [picture(seed) for seed in range(3)]
    found = blip.captions(images, options=options)
    for row, image in zip(found, images, strict=True):
        firsts = {caption.tokens[0] for caption in row}
        assert len(firsts) == 4, "so great a penalty keeps the groups apart from the first word on"
        assert [caption.text for caption in row] == [caption.text for caption in blip.captions(image, "", options)[0]]
