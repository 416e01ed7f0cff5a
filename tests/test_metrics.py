"""Caption scores against the field's own scorers, retrieval recalls against a sort, and what every score must obey."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocoevalcap.bleu import bleu_scorer
from pycocoevalcap.cider import cider_scorer

from openblip.bulk.shards import read_shards
from openblip.errors import DataError, InputError
from openblip.metrics import bleu_scores, caption_scores, caption_tokens, cider_by_image, retrieval_scores

# What pycocoevalcap 1.2 says of Flickr8k dev, first caption against the other four, tokenised by Java.
REAL_CIDER, REAL_BLEU4, REAL_ROUGE_L = 0.8036617887303763, 0.21160098501492872, 0.49173408652537204

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "caption_scores.json").read_text("utf-8"))

captions = st.lists(st.sampled_from("a the dog cat runs sits".split()), min_size=1, max_size=9).map(" ".join)
data_sets = st.lists(st.tuples(captions, st.lists(captions, min_size=1, max_size=4)), min_size=2, max_size=6)


def test_caption_scores_equal_those_of_the_field() -> None:
    scores = caption_scores(GOLDEN["hypotheses"], GOLDEN["references"])
    np.testing.assert_allclose(scores.cider_by_image, GOLDEN["cider_by_image"], rtol=0, atol=1e-9)
    assert scores.cider == pytest.approx(np.mean(GOLDEN["cider_by_image"]), abs=1e-9)
    bleu = (scores.bleu1, scores.bleu2, scores.bleu3, scores.bleu4)
    np.testing.assert_allclose(bleu, GOLDEN["bleu"], rtol=0, atol=1e-9)
    assert scores.rouge_l == pytest.approx(GOLDEN["rouge_l"], abs=1e-9)


@given(data_sets)
def test_caption_scores_equal_pycocoevalcap(pairs: list[tuple[str, list[str]]]) -> None:
    cider, bleu = cider_scorer.CiderScorer(n=4, sigma=6.0), bleu_scorer.BleuScorer(n=4)
    for pair in pairs:
        cider += pair
        bleu += pair
    scores = caption_scores([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    np.testing.assert_allclose(scores.cider_by_image, cider.compute_score()[1], rtol=0, atol=1e-6)
    bleu_expected = bleu.compute_score(option="closest")[0]
    np.testing.assert_allclose([scores.bleu1, scores.bleu2, scores.bleu3, scores.bleu4], bleu_expected, atol=1e-6)


def test_real_captions_score_as_pycocoevalcap_says(shared_data: Path) -> None:
    """Each photo's first caption against its other four. The figures are pycocoevalcap's."""
    samples = list(read_shards([shared_data / "flickr8k" / "dev-0000.tar"]))
    scores = caption_scores([sample.captions[0] for sample in samples], [sample.captions[1:] for sample in samples])
    assert scores.images == 1000
    assert scores.cider == pytest.approx(REAL_CIDER, abs=1e-6)
    assert scores.bleu4 == pytest.approx(REAL_BLEU4, abs=1e-6)
    assert scores.rouge_l == pytest.approx(REAL_ROUGE_L, abs=1e-6)


@pytest.mark.parametrize("text", GOLDEN["tokens"])
def test_tokens_equal_those_of_the_penn_treebank_tokeniser(text: str) -> None:
    assert caption_tokens(text) == GOLDEN["tokens"][text]


@given(st.text(max_size=200))
def test_tokens_of_any_text_are_words(text: str) -> None:
    tokens = caption_tokens(text)
    assert all(token and not any(character.isspace() for character in token) for token in tokens)
    assert all(token == token.lower() for token in tokens)


@given(st.text(st.characters(codec="ascii"), max_size=100))
def test_tokens_do_not_depend_on_case_or_spaces(text: str) -> None:
    assert caption_tokens(f"  {text.upper()}\n") == caption_tokens(text)


def test_cider_by_hand() -> None:
    """Two images, so every n-gram of one image alone weighs log 2 and one of both weighs nothing."""
    hypotheses = [["a", "dog"], ["a", "cat"]]
    references = [[["a", "dog"]], [["a", "bird"]]]
    # Image 1: "a" weighs 0, "dog" and "a dog" fit: cosine 1 for n = 1, 2; none for n = 3, 4. Image 2: only "a" fits.
    np.testing.assert_allclose(cider_by_image(hypotheses, references), [10.0 * 2 / 4, 0.0])


def test_cider_punishes_length_and_repetition() -> None:
    truth, other = "a b c d e".split(), "v w x y z".split()
    exact, repeated, longer = cider_by_image(
        [truth, [*truth, "e", "e", "e"], [*truth, "f", "g", "h"], other], [[truth], [truth], [truth], [other]]
    )[:3]
    assert exact > longer > 0
    assert exact > repeated > 0


def test_cider_length_penalty_by_hand() -> None:
    """The reference has one word more: the cosines and the Gaussian of sigma 6 are known."""
    score = cider_by_image([["a", "b"], ["c", "d"]], [[["a", "b", "b"]], [["c", "d"]]])[0]
    unigrams = (1 * 1 + 1 * 2) / (math.sqrt(2) * math.sqrt(5))  # (1, 1) against (1, 2), clipped to (1, 1)
    bigrams = 1 / math.sqrt(2)  # "a b" against "a b", "b b"
    assert score == pytest.approx(10 * (unigrams + bigrams) / 4 * math.exp(-1 / 72))


def test_bleu_by_hand() -> None:
    """Five words against six: four unigrams and two bigrams of four fit, brevity exp(1 - 6/5)."""
    bleu = bleu_scores(["a dog runs on grass".split()], [["a dog sits on green grass".split(), "x".split() * 20]])
    brevity = math.exp(1 - 6 / 5)
    assert bleu[0] == pytest.approx(brevity * 4 / 5, abs=1e-6)
    assert bleu[1] == pytest.approx(brevity * math.sqrt(4 / 5 * 1 / 4), abs=1e-6)


def test_bleu_takes_the_closest_reference_length_and_the_shorter_of_two() -> None:
    exact = bleu_scores(["a b c d".split()], [["a b c d e f".split(), "a b c d".split()]])
    assert exact[0] == pytest.approx(1.0, abs=1e-6)
    tie = bleu_scores(["a b c d".split()], [["a b c d e".split(), "a b c".split()]])
    assert tie[0] == pytest.approx(1.0, abs=1e-6)  # 3 and 5 are as far: 3 counts, so no brevity penalty


@given(data_sets)
def test_a_caption_among_its_references_has_the_best_bleu(pairs: list[tuple[str, list[str]]]) -> None:
    scores = caption_scores([pair[0] for pair in pairs], [[*pair[1], pair[0]] for pair in pairs])
    assert scores.bleu1 == pytest.approx(1.0, abs=1e-6)
    assert scores.rouge_l == pytest.approx(1.0)


def test_identical_captions_reach_the_best_cider() -> None:
    texts = ["a dog runs on grass", "two cats sleep at home", "the man rides some horse"]
    scores = caption_scores(texts, [[text] for text in texts])
    assert scores.cider == pytest.approx(10.0)
    assert scores.distinct_captions == 3
    assert scores.mean_length == 5.0
    assert scores.vocabulary == 15


@given(data_sets, st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order(pairs: list[tuple[str, list[str]]], random: Any) -> None:
    expected = caption_scores([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    shuffled = random.sample(pairs, len(pairs))
    scores = caption_scores([pair[0] for pair in shuffled], [random.sample(pair[1], len(pair[1])) for pair in shuffled])
    for name, value in expected.to_dict().items():
        assert scores.to_dict()[name] == pytest.approx(value, abs=1e-12), name


@given(data_sets)
def test_scores_stay_in_their_ranges(pairs: list[tuple[str, list[str]]]) -> None:
    scores = caption_scores([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert all(0.0 <= value <= 10.0 + 1e-9 for value in scores.cider_by_image)
    assert 1.0 + 1e-9 >= scores.bleu1 >= 0.0
    assert 0.0 <= scores.rouge_l <= 1.0 + 1e-9


def test_empty_captions_score_nothing() -> None:
    scores = caption_scores(["", "a dog"], [["a dog runs"], ["two cats"]])
    assert scores.cider_by_image == (0.0, 0.0)
    assert caption_scores(["", ""], [["a dog"], ["a cat"]]).bleu1 < 1e-6


def test_to_dict_is_json_and_carries_captions_on_request() -> None:
    scores = caption_scores(["a dog", "a cat"], [["a dog"], ["the cat"]])
    assert "captions" not in json.loads(json.dumps(scores.to_dict()))
    assert json.loads(json.dumps(scores.to_dict(by_image=True)))["captions"] == ["a dog", "a cat"]


@pytest.mark.parametrize(
    ("hypotheses", "references", "error", "message"),
    [
        (["a"], [["a"], ["b"]], InputError, "1 captions for 2 images"),
        ([], [], DataError, "empty"),
        (["a"], ["a dog"], InputError, "wrap it in a list"),
        (["a", "b"], [["a"], []], DataError, "image 1 has no reference"),
    ],
)
def test_captions_that_cannot_be_scored(hypotheses: Any, references: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        caption_scores(hypotheses, references)


def test_retrieval_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.5, 0.2], [0.8, 0.3, 0.4, 0.7]])  # texts 0, 1 belong to image 0; 2, 3 to image 1
    scores = retrieval_scores(similarity, [0, 0, 1, 1])
    assert scores.image_to_text_r1 == 0.5  # image 0 finds text 0 first; image 1's best, 0.7, stands behind 0.8
    assert scores.text_to_image_r1 == 0.5  # texts 0 (0.9 > 0.8) and 3 (0.7 > 0.2) find their image, 1 and 2 do not
    assert scores.image_to_text_r5 == scores.text_to_image_r10 == 1.0
    assert (scores.images, scores.texts) == (2, 4)
    assert scores.mean == pytest.approx((0.5 + 0.5 + 4) / 6)


def _recalls_by_sorting(similarity: NDArray[np.float64], owners: list[int]) -> dict[str, float]:
    """As ALBEF and BLIP compute them: sort, then look for the first own one."""
    image_ranks = [list(np.argsort(-similarity[:, text])).index(owner) for text, owner in enumerate(owners)]
    text_ranks = []
    for image in range(len(similarity)):
        order = np.argsort(-similarity[image])
        text_ranks.append(min(rank for rank, text in enumerate(order) if owners[text] == image))
    recalls = {}
    for best in (1, 5, 10):
        recalls[f"image_to_text_r{best}"] = float(np.mean([rank < best for rank in text_ranks]))
        recalls[f"text_to_image_r{best}"] = float(np.mean([rank < best for rank in image_ranks]))
    return recalls


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_retrieval_equals_sorting(images: int, captions_each: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    owners = [int(owner) for owner in generator.permutation(np.repeat(np.arange(images), captions_each))]
    similarity = generator.normal(size=(images, len(owners)))
    scores = retrieval_scores(similarity, owners).to_dict()
    for name, value in _recalls_by_sorting(similarity, owners).items():
        assert scores[name] == pytest.approx(value), name


def test_random_similarities_are_at_chance() -> None:
    generator = np.random.default_rng(0)
    images, captions_each = 1000, 5
    owners = np.repeat(np.arange(images), captions_each)
    scores = retrieval_scores(generator.normal(size=(images, owners.size)), owners)
    assert scores.text_to_image_r1 == pytest.approx(1 / images, abs=0.002)
    assert scores.text_to_image_r10 == pytest.approx(10 / images, abs=0.005)
    assert scores.image_to_text_r10 == pytest.approx(10 / images, abs=0.012)


def test_a_model_that_cannot_tell_pictures_apart_gets_nothing() -> None:
    scores = retrieval_scores(np.full((20, 40), 0.5), np.repeat(np.arange(20), 2))
    assert scores.mean == 0.0


def test_perfect_similarities_recall_everything() -> None:
    assert retrieval_scores(np.repeat(np.eye(7), 3, axis=1), np.repeat(np.arange(7), 3)).mean == 1.0


def test_queries_by_text_may_have_scores_of_their_own() -> None:
    good, bad = np.eye(3), 1.0 - np.eye(3)
    scores = retrieval_scores(good, [0, 1, 2], text_to_image=bad)
    assert (scores.image_to_text_r1, scores.text_to_image_r1) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("similarity", "owners", "error", "message"),
    [
        (np.zeros((2, 3)), [0, 1], InputError, r"\[images, texts\]"),
        (np.zeros(3), [0, 1, 1], InputError, r"\[images, texts\]"),
        (np.zeros((1, 0)), [], InputError, r"\[images, texts\]"),
        (np.full((2, 2), np.nan), [0, 1], InputError, "NaN"),
        (np.zeros((2, 2)), [0, 2], InputError, "0 to 2"),
        (np.zeros((2, 2)), [-1, 1], InputError, "-1 to 1"),
        (np.zeros((2, 2)), [0.0, 1.0], InputError, "whole numbers"),
        (np.zeros((3, 2)), [0, 2], DataError, "1 images have no text"),
    ],
)
def test_similarities_that_mean_nothing(similarity: Any, owners: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        retrieval_scores(similarity, owners)
