"""Evaluation of whole models: a tiny random one on the real engine, and one that knows the answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.engine import Engine, Floats, Ints
from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.errors import DataError, OptionError
from openblip.evaluate import (
    caption_scores,
    evaluate_captions,
    evaluate_retrieval,
    format_json,
    format_markdown,
    reranked,
    retrieval,
    retrieval_scores,
)
from openblip.image import load_image, preprocess_batch
from openblip.pipeline import Blip
from openblip.text import Tokenizer
from openblip.types import GenerateOptions
from shard_files import photo, write_shard
from tiny import random_tensors, tiny_config, write_vocabulary

WORDS = "dog cat man woman child boy girl bird horse car bus train street field grass water".split()


def make_samples(images: int, captions_each: int = 2) -> list[Sample]:
    generator = np.random.default_rng(5)
    return [
        Sample(
            f"photo-{index}",
            photo(index),
            tuple(" ".join(generator.choice(WORDS, generator.integers(1, 12))) for _ in range(captions_each)),
            {},
        )
        for index in range(images)
    ]


class Oracle:
    """An engine whose ITC is noise and whose ITM knows which caption belongs to which picture."""

    def __init__(self, owners: list[int], similarity: NDArray[np.float32]) -> None:
        self.config = tiny_config()
        self.owners, self.similarity = owners, similarity
        self.encoded, self.pairs, self.calls = 0, 0, 0

    def encode_images(self, pixels: Floats) -> Ints:
        first, self.encoded = self.encoded % len(self.similarity), self.encoded + len(pixels)
        return np.arange(first, first + len(pixels))

    def embed_images(self, images: Ints) -> Floats:
        return self.similarity[images]

    def embed_texts(self, tokens: Ints, lengths: Ints) -> Floats:
        return np.eye(len(self.owners), dtype=np.float32)[tokens[:, 1]]

    def match(self, images: Ints, picture: Ints, tokens: Ints, lengths: Ints) -> Floats:
        self.pairs += len(picture)
        self.calls += 1
        matches = np.asarray(self.owners)[tokens[:, 1]] == images[picture]
        return np.stack([-50.0 * matches, 50.0 * matches], axis=1).astype(np.float32)


class NumberTokenizer:
    """Texts are numbers: a first token, the number itself, and padding up to a length that varies."""

    def encode_unimodal(self, texts: list[str], max_length: int) -> Any:
        assert all(text.isdigit() for text in texts)
        lengths = np.array([2 + int(text) % 5 for text in texts])
        tokens = np.zeros((len(texts), 7), dtype=np.int64)
        tokens[:, 1] = [int(text) for text in texts]
        return SimpleNamespace(tokens=tokens, lengths=lengths)

    encode_grounded = encode_unimodal


def oracle_blip(images: int, captions_each: int, seed: int) -> tuple[Blip, list[Sample], Oracle]:
    owners = np.repeat(np.arange(images), captions_each).tolist()
    similarity = np.random.default_rng(seed).normal(size=(images, len(owners))).astype(np.float32)
    engine = Oracle(owners, similarity)
    engine.config = tiny_config()
    object.__setattr__(engine.config, "projection", len(owners))
    samples = [
        Sample(str(image), photo(0), tuple(str(text) for text, owner in enumerate(owners) if owner == image), {})
        for image in range(images)
    ]
    blip = Blip(engine, cast(Tokenizer, NumberTokenizer()), "oracle")
    return blip, samples, engine


@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 30), st.integers(1, 4), st.integers(0, 99))
def test_reranking_by_a_head_that_knows(images: int, captions_each: int, rerank: int, batch: int, seed: int) -> None:
    """Whatever ITC has among a query's best, ITM puts first; what ITC misses stays lost."""
    blip, samples, engine = oracle_blip(images, captions_each, seed)
    result = evaluate_retrieval(blip, samples, rerank=rerank, batch_size=batch)
    owners, similarity = np.asarray(engine.owners), engine.similarity
    order_by_image = np.argsort(-similarity, axis=1)[:, :rerank]
    order_by_text = np.argsort(-similarity, axis=0)[:rerank]
    expected_by_image = np.mean([(owners[order_by_image[image]] == image).any() for image in range(images)])
    expected_by_text = np.mean([owners[text] in order_by_text[:, text] for text in range(len(owners))])
    assert result.itm is not None
    assert result.itm.image_to_text_r1 == pytest.approx(expected_by_image)
    assert result.itm.text_to_image_r1 == pytest.approx(expected_by_text)
    assert result.itc == retrieval_scores(similarity, owners)
    assert engine.encoded == images
    assert engine.pairs == result.pairs <= similarity.size


@given(st.integers(2, 8), st.integers(1, 3), st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 99))
def test_a_curve_is_what_each_depth_gives_alone(images: int, captions_each: int, depths: list[int], seed: int) -> None:
    blip, samples, engine = oracle_blip(images, captions_each, seed)
    result = evaluate_retrieval(blip, samples, depths)
    assert [point.rerank for point in result.curve] == sorted(set(depths))
    assert (result.rerank, result.pairs) == (max(depths), engine.pairs)
    for point in result.curve:
        blip, samples, engine = oracle_blip(images, captions_each, seed)
        alone = evaluate_retrieval(blip, samples, point.rerank)
        assert point.scores == (alone.itm or alone.itc)
        assert point.pairs == alone.pairs
    assert result.itm == (result.curve[-1].scores if max(depths) else None)


def test_ranks_of_each_picture() -> None:
    blip, samples, engine = oracle_blip(6, 2, 4)
    result = evaluate_retrieval(blip, samples, rerank=0)
    assert [image.key for image in result.images] == [sample.key for sample in samples]
    assert np.mean([image.rank == 1 for image in result.images]) == pytest.approx(result.itc.image_to_text_r1)
    ranks = [rank for image in result.images for rank in image.caption_ranks]
    assert np.mean([rank <= 5 for rank in ranks]) == pytest.approx(result.itc.text_to_image_r5)
    for image, scores in zip(result.images, engine.similarity, strict=True):
        assert image.first == str(scores.argmax())
    rows = json.loads(format_json(result, by_image=True))["images"]
    assert rows[3]["rank"] == result.images[3].rank
    assert "images" not in json.loads(format_json(result))


def test_without_reranking_nothing_is_matched() -> None:
    blip, samples, engine = oracle_blip(5, 2, 0)
    result = evaluate_retrieval(blip, samples, rerank=0)
    assert (result.itm, result.pairs, engine.pairs) == (None, 0, 0)


def test_states_that_would_not_fit_are_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    blip, samples, engine = oracle_blip(7, 2, 0)
    kept = evaluate_retrieval(blip, samples, rerank=3, batch_size=3)
    monkeypatch.setattr(retrieval, "MAX_STATE_BYTES", 0)
    blip, samples, engine = oracle_blip(7, 2, 0)
    again = evaluate_retrieval(blip, samples, rerank=3, batch_size=3)
    assert engine.encoded == 14
    assert (again.itc, again.itm, again.pairs) == (kept.itc, kept.itm, kept.pairs)


def test_pairs_are_matched_in_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "TEXTS_A_TURN", 4)
    blip, samples, engine = oracle_blip(16, 2, 0)
    result = evaluate_retrieval(blip, samples, rerank=32, batch_size=8)
    assert result.pairs == 16 * 32
    assert engine.calls == 2 * 8  # two batches of pictures, 32 texts in turns of 4


def test_a_lower_rank_never_overtakes_a_reranked_one() -> None:
    similarity = np.array([[0.9, 0.8, -0.9]], dtype=np.float32)
    logits = np.array([[-8.0, 5.0, 0.0]], dtype=np.float32)
    scores = reranked(similarity, logits, np.array([[True, True, False]]))
    assert np.argsort(-scores[0]).tolist() == [1, 0, 2]
    np.testing.assert_allclose(scores[0, :2], [-7.1, 5.8], rtol=1e-6)


@pytest.fixture(scope="module")
def tiny_engine() -> Engine:
    config = tiny_config("vit")
    return OpenVinoEngine(config, random_tensors(config), precision="f32", threads=1)


@pytest.fixture(scope="module")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_vocabulary(write_vocabulary(tmp_path_factory.mktemp("tiny")))


def test_the_real_engine_gives_each_pair_its_own_score(tiny_engine: Engine, tiny_tokenizer: Tokenizer) -> None:
    """In batches and turns, every pair's logit is what that picture and that text give alone."""
    samples = make_samples(7, captions_each=3)
    texts = [text for sample in samples for text in sample.captions]
    tokens = tiny_tokenizer.encode_grounded(texts, 16)
    wanted = np.random.default_rng(0).random((7, 21)) < 0.4
    batches = [samples[:3], samples[3:6], samples[6:]]
    states = [tiny_engine.encode_images(_pixels(tiny_engine, batch)) for batch in batches]
    logits = retrieval._match(tiny_engine, states, tokens, wanted, None)
    assert np.ptp(logits[wanted]) > 0.1
    for image, text in np.argwhere(wanted)[::5]:
        alone = tiny_engine.encode_images(_pixels(tiny_engine, [samples[image]]))
        one = tiny_tokenizer.encode_grounded([texts[text]], 16)
        expected = tiny_engine.match(alone, np.zeros(1, np.int64), one.tokens, one.lengths)[0, 1]
        assert logits[image, text] == pytest.approx(expected, abs=1e-4)
    assert (logits[~wanted] == 0).all()


def _pixels(engine: Engine, batch: list[Sample]) -> Floats:
    return preprocess_batch([load_image(sample.image_bytes) for sample in batch], engine.config.vision)


def test_a_random_model_retrieves_at_chance(tiny_blip: Blip) -> None:
    told: list[tuple[str, int, int]] = []
    result = evaluate_retrieval(
        tiny_blip, make_samples(24), rerank=5, batch_size=8, progress=lambda *step: told.append(step)
    )
    assert result.itc.text_to_image_r1 < 0.3
    assert result.itm is not None
    assert result.itm.text_to_image_r1 < 0.3
    assert told[0] == ("images", 8, 24)
    assert told[-1] == ("pairs", result.pairs, result.pairs)


def test_no_samples() -> None:
    blip, _, _ = oracle_blip(2, 1, 0)
    with pytest.raises(DataError, match="no samples"):
        evaluate_retrieval(blip, [])


def test_a_picture_that_cannot_be_read_is_named(tiny_blip: Blip) -> None:
    with pytest.raises(DataError, match="bad-one"):
        evaluate_retrieval(tiny_blip, [*make_samples(2), Sample("bad-one", b"no picture", ("a dog",), {})])


@pytest.mark.parametrize("options", [{"rerank": -1}, {"rerank": [4, -1]}, {"rerank": []}, {"batch_size": 0}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    blip, samples, _ = oracle_blip(2, 1, 0)
    with pytest.raises(OptionError, match="out of range"):
        evaluate_retrieval(blip, samples, **options)


def test_a_retrieval_result_is_json_and_a_table() -> None:
    blip, samples, _ = oracle_blip(6, 2, 0)
    result = evaluate_retrieval(blip, samples, rerank=12)
    values = json.loads(format_json(result))
    assert values["itm"]["text_to_image_r1"] == 1.0
    assert values["itc"]["texts"] == values["itm"]["texts"] == 12
    table = format_markdown(result)
    assert "oracle: 6 images, 12 texts, 72 pairs matched" in table
    assert "| ITC + ITM of the best 12 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 |" in table
    curve = format_markdown(evaluate_retrieval(blip, samples, rerank=[0, 3, 12]))
    assert [line.split(" |")[0] for line in curve.splitlines()[4:]] == [
        "| ITC", "| ITC + ITM of the best 3", "| ITC + ITM of the best 12",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tiny_blip(tiny_engine: Engine, tiny_tokenizer: Tokenizer) -> Blip:
    return Blip(tiny_engine, tiny_tokenizer, "tiny")


def test_captions_are_scored_against_their_own_picture(tiny_blip: Blip) -> None:
    samples = make_samples(9)
    options = GenerateOptions(num_beams=2, max_length=8, min_length=2)
    told: list[tuple[str, int, int]] = []
    result = evaluate_captions(tiny_blip, samples, options, progress=lambda *step: told.append(step))
    made = [caption.text for caption in tiny_blip.caption([sample.image_bytes for sample in samples], options=options)]
    assert list(result.scores.captions) == made
    assert result.scores == caption_scores(made, [sample.captions for sample in samples])
    assert told[-1] == ("captions", 9, 9)
    # A data set whose references are what the model says scores higher than anything else can.
    own = [replace(sample, captions=(text,)) for sample, text in zip(samples, made, strict=True)]
    assert evaluate_captions(tiny_blip, own, options).scores.bleu1 == pytest.approx(1.0, abs=1e-6)


def test_a_prompt_reaches_the_captions(tiny_blip: Blip) -> None:
    result = evaluate_captions(tiny_blip, make_samples(2), GenerateOptions(max_length=8), prompt="a picture of")
    assert all(text.startswith("a picture of") for text in result.scores.captions)


def test_a_picture_that_cannot_be_captioned_is_named(tiny_blip: Blip) -> None:
    with pytest.raises(DataError, match="bad-one"):
        evaluate_captions(tiny_blip, [*make_samples(2), Sample("bad-one", b"no picture", ("a dog",), {})])


def test_a_caption_result_is_json_and_a_table(tiny_blip: Blip) -> None:
    result = evaluate_captions(tiny_blip, make_samples(3), GenerateOptions(num_beams=2, max_length=8))
    values = json.loads(format_json(result, by_image=True))
    assert [row["key"] for row in values["captions"]] == ["photo-0", "photo-1", "photo-2"]
    assert np.mean([row["cider"] for row in values["captions"]]) == pytest.approx(values["cider"])
    assert values["options"]["num_beams"] == 2
    assert "captions" not in json.loads(format_json(result))
    table = format_markdown(result)
    assert "tiny: 3 images, beam 2" in table
    assert f"| {values['cider']:.3f} | {values['bleu1']:.3f} |" in table


def test_shards_on_disk_and_samples_in_memory_score_the_same(tiny_blip: Blip, tmp_path: Path) -> None:
    samples = make_samples(4)
    rows = ((sample.key, sample.image_bytes, {"captions": sample.captions}) for sample in samples)
    write_shard(tmp_path / "dev-0000.tar", rows)
    from_disk = evaluate_retrieval(tiny_blip, read_shards(find_shards(tmp_path)), rerank=3)
    in_memory = evaluate_retrieval(tiny_blip, samples, rerank=3)
    assert (from_disk.itc, from_disk.itm, from_disk.pairs) == (in_memory.itc, in_memory.itm, in_memory.pairs)
