"""The search on a fake decode whose logits follow from the whole history, so that a wrong parent or length shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.engine import Floats, Ints
from openblip.errors import ModelError, OptionError
from openblip.search import Hypothesis, generate
from openblip.search.logits import top_k
from openblip.types import GenerateOptions

VOCABULARY, SEP, DEC = 24, 3, 4


def fake_logits(history: Sequence[int], sep_bias: float) -> Floats:
    state = sum((place + 1) * token * 0.37 for place, token in enumerate(history))
    ids = np.arange(VOCABULARY)
    logits = 3 * np.sin(state * (1 + 0.11 * ids) + 0.7 * ids * ids)
    logits[SEP] += sep_bias
    return logits.astype(np.float32)


def own_log_probability(history: Sequence[int], token: int, sep_bias: float) -> float:
    logits = fake_logits(history, sep_bias).astype(np.float64)
    return float(logits[token] - np.log(np.exp(logits).sum()))


class FakeDecode:
    def __init__(self, prompts: list[list[int]], beams: int, max_length: int, sep_bias: float) -> None:
        self.histories = [[prompt] * beams for prompt in prompts]
        self.beams, self.max_length, self.sep_bias = beams, max_length, sep_bias
        self.rows_fed: list[int] = []

    def logits(self) -> Floats:
        logits = np.stack([[fake_logits(row, self.sep_bias) for row in rows] for rows in self.histories])
        logits.setflags(write=False)  # an engine may hand out a view of its own memory
        return logits

    def step(self, tokens: Ints, parents: Ints) -> Floats:
        assert tokens.shape == parents.shape == (len(self.histories), self.beams)
        assert tokens.dtype == parents.dtype == np.int64
        self.rows_fed.append(tokens.size)
        self.histories = [
            [rows[parent] + [int(token)] for parent, token in zip(row_parents, row_tokens, strict=True)]
            for rows, row_parents, row_tokens in zip(self.histories, parents, tokens, strict=True)
        ]
        assert all(len(row) <= self.max_length for rows in self.histories for row in rows)
        return self.logits()

    def keep(self, pictures: Ints) -> None:
        self.histories = [self.histories[picture] for picture in pictures]


class FakeEngine:
    """What the search asks of an engine. Its pictures differ by their prompts alone."""

    def __init__(self, sep_bias: float = 1.0, positions: int = 64) -> None:
        self.config: Any = SimpleNamespace(text=SimpleNamespace(sep_id=SEP, max_positions=positions))
        self.sep_bias = sep_bias
        self.last: FakeDecode

    def decode(
        self, images: object, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[FakeDecode, Floats]:
        rows = [row[:length].tolist() for row, length in zip(prompts, lengths, strict=True)]
        self.last = FakeDecode(rows, beams, max_length, self.sep_bias)
        return self.last, self.last.logits()[:, 0]


def run(
    prompts: list[list[int]], options: GenerateOptions, sep_bias: float = 1.0, seeds: Sequence[int] | None = None
) -> list[list[Hypothesis]]:
    lengths = np.array([len(prompt) for prompt in prompts])
    padded = np.zeros((len(prompts), int(lengths.max())), np.int64)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = prompt
    engine: Any = FakeEngine(sep_bias)
    images: Any = None
    return generate(engine, images, padded, lengths, options, seeds)


# What transformers 5.23 generates from these very logits (a GenerationMixin around fake_logits, without a cache) after
# the prompts [4, 7] and [4, 11]. tokens: what follows the prompt; scores: its sequences_scores (none if greedy).
TRANSFORMERS = json.loads((Path(__file__).parent / "data" / "search_transformers.json").read_text(encoding="utf-8"))


@pytest.mark.parity
@pytest.mark.parametrize("case", TRANSFORMERS, ids=lambda case: str(case["options"]))
def test_same_texts_and_scores_as_transformers(case: dict[str, Any]) -> None:
    found = run([[DEC, 7], [DEC, 11]], GenerateOptions(**case["options"]), case["sep_bias"])
    assert [[list(text.tokens) for text in texts] for texts in found] == case["tokens"]
    if (scores := case["scores"]) is not None:  # float32 sums of up to 18 terms, printed with four decimals
        np.testing.assert_allclose([[text.score for text in texts] for texts in found], scores, rtol=2e-6, atol=6e-5)


OPTIONS = st.builds(
    lambda beams, sample, returns, lengths, length_penalty, repetition, top_p, temperature, seed: GenerateOptions(
        num_beams=1 if sample else beams,
        max_length=lengths[1],
        min_length=lengths[0],
        length_penalty=length_penalty,
        repetition_penalty=repetition,
        sample=sample,
        top_p=top_p,
        temperature=temperature,
        seed=seed,
        num_return=returns if sample else min(returns, beams),
    ),
    st.integers(1, 16),
    st.booleans(),
    st.integers(1, 4),
    st.tuples(st.integers(0, 14), st.integers(5, 14)).map(sorted).filter(lambda pair: pair[1] > 4),
    st.sampled_from([1.0, 0.0, 2.0, -1.0]),
    st.sampled_from([1.0, 1.4, 0.8]),
    st.sampled_from([1.0, 0.9, 0.3]),
    st.sampled_from([1.0, 0.5, 3.0]),
    st.integers(0, 99),
)
PROMPT = st.lists(st.integers(5, VOCABULARY - 1), max_size=3).map(lambda ids: [DEC, *ids])
PROMPTS = st.lists(PROMPT, min_size=1, max_size=5)
BIASES = st.sampled_from([-2.0, 0.0, 1.0, 3.0])


@given(prompts=PROMPTS, options=OPTIONS, sep_bias=BIASES)
def test_a_batch_equals_its_singles(prompts: list[list[int]], options: GenerateOptions, sep_bias: float) -> None:
    seeds = [sum(prompt) for prompt in prompts]
    together = run(prompts, options, sep_bias, seeds)
    alone = [run([prompt], options, sep_bias, [seed])[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    assert together == alone


@given(prompts=PROMPTS, options=OPTIONS, sep_bias=BIASES)
def test_every_text_keeps_what_its_options_promise(
    prompts: list[list[int]], options: GenerateOptions, sep_bias: float
) -> None:
    for prompt, texts in zip(prompts, run(prompts, options, sep_bias), strict=True):
        assert len(texts) == options.num_return
        for text in texts:
            length = len(prompt) + len(text.tokens)
            assert length <= options.max_length
            assert SEP not in text.tokens[:-1]
            if text.tokens[-1] == SEP:
                assert length - 1 >= options.min_length
            else:
                assert length == options.max_length
            expected = [
                own_log_probability([*prompt, *text.tokens[:place]], token, sep_bias)
                for place, token in enumerate(text.tokens)
            ]
            np.testing.assert_allclose(text.log_probabilities, expected, rtol=1e-5, atol=1e-5)
            assert text.log_probability == pytest.approx(sum(expected), abs=1e-4)
        if not options.sample:
            assert len({text.tokens for text in texts}) == len(texts)
            assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)


def test_beam_score_is_log_probability_over_generated_tokens() -> None:
    for text in run([[DEC, 7, 9]], GenerateOptions(num_beams=4, num_return=4, length_penalty=2.0))[0]:
        assert text.score == pytest.approx(text.log_probability / len(text.tokens) ** 2, rel=1e-5)


def test_wide_beam_finds_the_most_probable_of_all_texts() -> None:
    prompt = [DEC, 7]
    options = GenerateOptions(num_beams=VOCABULARY, max_length=4, min_length=0, length_penalty=0.0)
    closed = {(SEP,): own_log_probability(prompt, SEP, 1.0)}
    for first in set(range(VOCABULARY)) - {SEP}:
        for second in range(VOCABULARY):
            closed[first, second] = own_log_probability(prompt, first, 1.0) + own_log_probability(
                [*prompt, first], second, 1.0
            )
    best = run([prompt], options, 1.0)[0][0]
    assert best.tokens == max(closed, key=closed.__getitem__)
    assert best.log_probability == pytest.approx(max(closed.values()), abs=1e-5)


def test_greedy_takes_the_most_probable_token_each_time() -> None:
    prompt = [DEC, 9]
    text = run([prompt], GenerateOptions(num_beams=1, min_length=0), 0.0)[0][0]
    for place, token in enumerate(text.tokens):
        assert token == int(fake_logits([*prompt, *text.tokens[:place]], 0.0).argmax())


def test_finished_pictures_leave_the_batch() -> None:
    engine: Any = FakeEngine(sep_bias=2.0)
    images: Any = None
    prompts = np.array([[DEC, token] for token in range(5, 13)])
    texts = generate(engine, images, prompts, np.full(8, 2), GenerateOptions(num_beams=1, min_length=0))
    longest = sorted(len(row[0].tokens) for row in texts)
    assert longest[0] < longest[-1], "the fake has to give texts of unequal length"
    fed = engine.last.rows_fed
    assert len(fed) == longest[-1] - 1
    assert sum(fed) == sum(len(row[0].tokens) - 1 for row in texts)


SAMPLE = GenerateOptions(num_beams=1, sample=True, num_return=4, min_length=0, top_p=0.9)


def test_sampling_repeats_with_its_seed_and_changes_with_another() -> None:
    prompts = [[DEC, 7], [DEC, 7]]
    first, second = run(prompts, SAMPLE, seeds=[1, 2]), run(prompts, SAMPLE, seeds=[1, 2])
    assert first == second
    assert first[0] != first[1], "unlike seeds of two pictures give unlike texts"
    assert run(prompts, replace(SAMPLE, seed=5), seeds=[1, 2]) != first
    assert len({text.tokens for text in first[0]}) > 1, "each return draws its own numbers"


def test_a_return_does_not_depend_on_how_many_are_asked() -> None:
    many, one = run([[DEC, 8]], SAMPLE)[0], run([[DEC, 8]], replace(SAMPLE, num_return=1))[0]
    assert many[:1] == one


def nucleus(history: list[int], top_p: float, temperature: float) -> dict[int, float]:
    scaled = fake_logits(history, 1.0).astype(np.float64) / temperature
    probabilities = np.exp(scaled) / np.exp(scaled).sum()
    chosen: dict[int, float] = {}
    for token in np.argsort(-probabilities):
        if sum(chosen.values()) >= top_p:
            break
        chosen[int(token)] = float(probabilities[token])
    return {token: probability / sum(chosen.values()) for token, probability in chosen.items()}


@pytest.mark.parametrize(("top_p", "temperature"), [(0.9, 1.0), (0.5, 1.0), (1.0, 2.0), (1e-6, 1.0), (0.8, 0.3)])
def test_draws_follow_the_nucleus(top_p: float, temperature: float) -> None:
    options = replace(SAMPLE, top_p=top_p, temperature=temperature, max_length=3, num_return=1)
    pictures = 3000
    texts = run([[DEC, 7]] * pictures, options, seeds=range(pictures))
    expected = nucleus([DEC, 7], top_p, temperature)
    counts = np.bincount([row[0].tokens[0] for row in texts], minlength=VOCABULARY)
    assert {int(token) for token in np.flatnonzero(counts)} <= set(expected)
    for token, probability in expected.items():  # five standard deviations of a count; the seeds are fixed
        spread = 5 * np.sqrt(pictures * probability * (1 - probability)) + 1
        assert abs(counts[token] - pictures * probability) <= spread


def test_nucleus_wider_than_every_shortcut() -> None:
    """Flat logits over a large vocabulary: the nucleus is most of it, and a draw must be able to reach its far end."""

    class Flat(FakeDecode):
        def logits(self) -> Floats:
            return np.zeros((len(self.histories), self.beams, 5000), np.float32)

    class FlatEngine(FakeEngine):
        def decode(
            self, images: object, prompts: Ints, lengths: Ints, beams: int, max_length: int
        ) -> tuple[FakeDecode, Floats]:
            self.last = Flat([[DEC]] * len(prompts), beams, max_length, 0.0)
            return self.last, self.last.logits()[:, 0]

    engine: Any = FlatEngine()
    images: Any = None
    prompts = np.full((1000, 1), DEC)
    options = replace(SAMPLE, max_length=2, num_return=1)
    texts = generate(engine, images, prompts, np.ones(1000, np.int64), options, range(1000))
    drawn = [row[0].tokens[0] for row in texts]
    assert len(set(drawn)) > 800
    assert all(row[0].log_probabilities[0] == pytest.approx(-np.log(5000), abs=1e-5) for row in texts)


@given(
    rows=st.integers(1, 4),
    size=st.integers(1, 400),
    data=st.data(),
    levels=st.sampled_from([3, 1000]),
    seed=st.integers(0, 1000),
)
def test_top_k_is_the_front_of_a_full_sort(rows: int, size: int, data: st.DataObject, levels: int, seed: int) -> None:
    k = data.draw(st.integers(1, size))
    values = np.random.default_rng(seed).integers(-levels, levels, (rows, size)).astype(np.float32)
    ids = top_k(values, k)
    assert ids.shape == (rows, k)
    assert all(len(set(row.tolist())) == k for row in ids)
    np.testing.assert_array_equal(np.take_along_axis(values, ids, axis=1), -np.sort(-values, axis=1)[:, :k])


def test_a_prompt_without_room_is_refused() -> None:
    with pytest.raises(OptionError, match=r"a prompt of 5 tokens leaves no room within max_length=5: shorten it"):
        run([[DEC], [DEC, 5, 6, 7, 8]], GenerateOptions(max_length=5, min_length=0))


def test_max_length_beyond_the_positions_is_refused() -> None:
    with pytest.raises(OptionError, match=r"max_length=65 exceeds the model's 64 positions"):
        run([[DEC]], GenerateOptions(max_length=65))


def test_no_pictures_give_no_texts() -> None:
    engine: Any = FakeEngine()
    images: Any = None
    assert generate(engine, images, np.zeros((0, 1), np.int64), np.zeros(0, np.int64), GenerateOptions()) == []


@pytest.mark.parametrize("options", [GenerateOptions(), GenerateOptions(num_beams=1), SAMPLE])
def test_logits_that_are_not_numbers_are_an_error(options: GenerateOptions) -> None:
    with pytest.raises(ModelError, match="not finite"):
        run([[DEC, 7]], options, sep_bias=float("nan"))


def test_early_stopping_ends_with_as_many_texts_as_beams() -> None:
    prompts = [[DEC, token] for token in range(5, 15)]
    options = GenerateOptions(num_beams=3, num_return=3, min_length=0, max_length=30, length_penalty=2.0)
    patient, early = (
        run(prompts, options, sep_bias=2.0),
        run(prompts, replace(options, early_stopping=True), sep_bias=2.0),
    )
    for waited, stopped in zip(patient, early, strict=True):
        assert len(stopped) == 3
        assert max(len(text.tokens) for text in stopped) <= max(len(text.tokens) for text in waited)
        assert stopped[0].score <= waited[0].score
    assert early != patient
