"""What every engine must hold to, in float32, on tiny random models. Subclass and give `make`.

Where two ways of computing the same number are compared, 2e-4 of logits with a spread of about 5 is allowed: float32
sums of some hundred terms in another order, through a few layers. A wrong mask or position moves them by 0.1 and more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openblip.config import ModelConfig
from openblip.engine import Engine, Floats, ImageStates, Ints
from openblip.errors import OptionError, TextError
from tiny import VISION_KINDS, VisionKind, random_pixels, random_tensors, tiny_config

CLOSE = {"rtol": 0.0, "atol": 2e-4}
Make = Callable[[VisionKind], Engine]


def random_texts(
    config: ModelConfig, first: int, lengths: list[int], seed: int = 0, extra: int = 0
) -> tuple[Ints, Ints]:
    """Right-padded random token rows that start with `first`, and their lengths; `extra` columns of padding on top."""
    generator = np.random.default_rng(seed)
    tokens = np.full((len(lengths), max(lengths) + extra), config.text.pad_id, np.int64)
    for row, length in enumerate(lengths):
        tokens[row, :length] = generator.integers(6, config.text.vocab_size, length)
    tokens[:, 0] = first
    return tokens, np.array(lengths, np.int64)


def refed(engine: Engine, images: ImageStates, picture: int, sequence: list[int]) -> Floats:
    """The logits after a whole sequence fed at once, [V]: what a cached decode must arrive at step by step."""
    prompt = np.array([sequence], np.int64)
    _, logits = engine.decode(images.take(np.array([picture])), prompt, np.array([len(sequence)]), 1, len(sequence) + 1)
    return logits[0]


class EngineContract:
    """Collected through its subclasses, one an engine."""

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        raise NotImplementedError

    @pytest.fixture(scope="class", params=VISION_KINDS)
    @classmethod
    def engine(cls, request: pytest.FixtureRequest, make: Make) -> Engine:
        return make(request.param)

    @pytest.fixture(scope="class")
    @classmethod
    def images(cls, engine: Engine) -> ImageStates:
        return engine.encode_images(random_pixels(engine.config, 4))

    def test_is_an_engine(self, engine: Engine) -> None:
        assert isinstance(engine, Engine)

    def test_outputs_depend_on_the_picture(self, engine: Engine, images: ImageStates) -> None:
        prompts = np.full((4, 1), engine.config.text.dec_id)
        _, logits = engine.decode(images, prompts, np.ones(4, np.int64), 1, 5)
        assert logits.shape == (4, engine.config.text.vocab_size)
        assert logits.dtype == np.float32
        assert logits.std() > 0.5
        for other in range(1, 4):
            assert np.abs(logits[0] - logits[other]).max() > 0.1

    def test_embeddings_are_unit_vectors(self, engine: Engine, images: ImageStates) -> None:
        texts = engine.embed_texts(*random_texts(engine.config, engine.config.text.cls_id, [5, 3, 9]))
        pictures = engine.embed_images(images)
        assert texts.shape == (3, engine.config.projection)
        assert pictures.shape == (4, engine.config.projection)
        assert_allclose(np.linalg.norm(np.concatenate([texts, pictures]), axis=1), 1.0, rtol=0.0, atol=1e-5)
        assert np.abs(texts[0] - texts[1]).max() > 0.01

    def test_a_batch_of_pictures_equals_singles(self, engine: Engine, images: ImageStates) -> None:
        pixels = random_pixels(engine.config, 4)
        singles = [engine.encode_images(pixels[index : index + 1]) for index in range(4)]
        together = engine.embed_images(images)
        assert_allclose(
            together, np.concatenate([engine.embed_images(single) for single in singles]), rtol=0.0, atol=2e-5
        )
        prompts, lengths = random_texts(engine.config, engine.config.text.dec_id, [4, 4, 4, 4])
        _, batch = engine.decode(images, prompts, lengths, 2, 10)
        for index, single in enumerate(singles):
            _, alone = engine.decode(single, prompts[index : index + 1], lengths[index : index + 1], 2, 10)
            assert_allclose(batch[index], alone[0], **CLOSE)

    def test_many_pictures_are_what_few_are(self, engine: Engine) -> None:
        pixels = random_pixels(engine.config, 11)
        together = engine.encode_images(pixels)
        prompts, lengths = random_texts(engine.config, engine.config.text.dec_id, [3] * 11)
        _, batch = engine.decode(together, prompts, lengths, 2, 10)
        for some in (slice(0, 3), slice(3, 6), slice(6, 11)):
            few = engine.encode_images(pixels[some])
            _, alone = engine.decode(few, prompts[some], lengths[some], 2, 10)
            assert_allclose(batch[some], alone, **CLOSE)
            assert_allclose(engine.embed_images(together)[some], engine.embed_images(few), rtol=0.0, atol=2e-5)

    def test_states_stay_when_others_are_encoded(self, engine: Engine) -> None:
        pixels = random_pixels(engine.config, 4)
        prompts = np.full((2, 1), engine.config.text.dec_id)

        def logits(images: ImageStates) -> Floats:
            return engine.decode(images, prompts, np.ones(2, np.int64), 1, 5)[1]

        first = engine.encode_images(pixels[:2])
        embedding, before = engine.embed_images(first).copy(), logits(first)
        for _ in range(3):
            engine.encode_images(pixels[2:])
        assert np.array_equal(engine.embed_images(first), embedding)
        assert_allclose(logits(first), before, **CLOSE)

    def test_take_chooses_and_orders_pictures(self, engine: Engine, images: ImageStates) -> None:
        chosen = images.take(np.array([2, 0, 2]))
        assert len(chosen) == 3
        assert len(images) == 4
        assert_allclose(engine.embed_images(chosen), engine.embed_images(images)[[2, 0, 2]], rtol=0.0, atol=0.0)

    def test_text_padding_and_company_do_not_matter(self, engine: Engine) -> None:
        lengths = [5, 2, 11, 8]
        tokens, true = random_texts(engine.config, engine.config.text.cls_id, lengths, extra=3)
        together = engine.embed_texts(tokens, true)
        for row, length in enumerate(lengths):
            alone = engine.embed_texts(tokens[row : row + 1, :length], true[row : row + 1])
            assert_allclose(together[row], alone[0], rtol=0.0, atol=2e-5)

    def test_padding_ids_are_not_read(self, engine: Engine, images: ImageStates) -> None:
        tokens, lengths = random_texts(engine.config, engine.config.text.enc_id, [5, 2, 7, 4], extra=2)
        dirty = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, 9)
        picture = np.arange(4)
        assert_allclose(
            engine.match(images, picture, tokens, lengths), engine.match(images, picture, dirty, lengths), **CLOSE
        )
        _, clean = engine.decode(images, tokens, lengths, 1, 20)
        _, soiled = engine.decode(images, dirty, lengths, 1, 20)
        assert_allclose(clean, soiled, **CLOSE)

    def test_match_rows_in_any_order_equal_singles(self, engine: Engine, images: ImageStates) -> None:
        picture = np.array([2, 0, 2, 3, 2, 0, 1])
        tokens, lengths = random_texts(engine.config, engine.config.text.enc_id, [4, 6, 3, 9, 4, 2, 5])
        together = engine.match(images, picture, tokens, lengths)
        assert together.shape == (7, 2)
        for row in range(7):
            one = slice(row, row + 1)
            alone = engine.match(images.take(picture[one]), np.array([0]), tokens[one, : lengths[row]], lengths[one])
            assert_allclose(together[row], alone[0], **CLOSE)
        elsewhere = engine.match(images, (picture + 1) % 4, tokens, lengths)
        assert np.abs(together - elsewhere).max() > 0.05

    def test_relevance_belongs_to_what_match_says(self, engine: Engine, images: ImageStates) -> None:
        picture = np.array([2, 0, 2])
        texts = random_texts(engine.config, engine.config.text.enc_id, [4, 6, 3])
        found = engine.relevance(images, picture, *texts, 0)
        assert_allclose(found.logits, engine.match(images, picture, *texts), **CLOSE)
        assert found.attention.shape == found.cam.shape == (3, 4, 6, engine.config.vision.tokens)
        assert_allclose(found.attention[1].sum(axis=-1), 1.0, rtol=0.0, atol=1e-5)
        assert found.cam.any(axis=(1, 2, 3)).all()

    def test_a_text_without_rows(self, engine: Engine, images: ImageStates) -> None:
        none = np.zeros(0, np.int64)
        assert engine.match(images, none, np.zeros((0, 4), np.int64), none).shape == (0, 2)
        assert engine.embed_texts(np.zeros((0, 4), np.int64), none).shape == (0, engine.config.projection)

    def test_cached_steps_equal_the_sequence_fed_at_once(self, engine: Engine, images: ImageStates) -> None:
        """Unequal prompts, three beams, parents that die and multiply, and enough steps to outgrow the first slots."""
        config, beams, generator = engine.config, 3, np.random.default_rng(1)
        prompts, lengths = random_texts(config, config.text.dec_id, [1, 4, 2, 6])
        decode, first = engine.decode(images, prompts, lengths, beams, 22)
        rows = [[prompts[picture, : lengths[picture]].tolist()] * beams for picture in range(4)]
        for picture in range(4):
            assert_allclose(first[picture], refed(engine, images, picture, rows[picture][0]), **CLOSE)
        for step in range(16):
            tokens = generator.integers(6, config.text.vocab_size, (4, beams))
            parents = generator.integers(0, beams, (4, beams))
            logits = decode.step(tokens, parents)
            assert logits.shape == (4, beams, config.text.vocab_size)
            rows = [
                [[*rows[picture][parents[picture, beam]], int(tokens[picture, beam])] for beam in range(beams)]
                for picture in range(4)
            ]
            if step in (0, 1, 7, 15):
                for picture in range(4):
                    for beam in range(beams):
                        expected = refed(engine, images, picture, rows[picture][beam])
                        assert_allclose(logits[picture, beam], expected, **CLOSE)

    @pytest.mark.parametrize("kept", [[0, 2, 3], [1, 3], [2], [3, 1, 0]], ids=str)
    def test_keep_goes_on_with_the_chosen_pictures(self, engine: Engine, images: ImageStates, kept: list[int]) -> None:
        config = engine.config
        prompts, lengths = random_texts(config, config.text.dec_id, [3, 1, 4, 2])
        tokens, parents = np.array([[7, 8], [9, 10], [11, 12], [13, 14]]), np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
        whole, _ = engine.decode(images, prompts, lengths, 2, 12)
        fewer, _ = engine.decode(images, prompts, lengths, 2, 12)
        whole.step(tokens, parents)
        fewer.step(tokens, parents)
        fewer.keep(np.array(kept))
        for _ in range(3):
            expected = whole.step(tokens, parents)[kept]
            assert_allclose(fewer.step(tokens[kept], parents[kept]), expected, **CLOSE)
        fewer.keep(np.array([0]))
        assert_allclose(fewer.step(tokens[kept[:1]], parents[kept[:1]]), whole.step(tokens, parents)[kept[:1]], **CLOSE)

    def test_a_dropped_picture_does_not_walk_beyond_the_positions(self, engine: Engine) -> None:
        """One of five ends with its prompt at the last position; as long as it stays in the batch it is fed on."""
        config, limit = engine.config, engine.config.text.max_positions
        images = engine.encode_images(random_pixels(config, 5))
        prompts, lengths = random_texts(config, config.text.dec_id, [1, 2, 3, 4, limit])
        tokens, parents = np.array([[7], [8], [9], [10]]), np.zeros((4, 1), np.int64)
        decode, _ = engine.decode(images, prompts, lengths, 1, limit)
        decode.keep(np.arange(4))
        found = [decode.step(tokens, parents) for _ in range(3)][-1]
        sequence = [*prompts[3, :4].tolist(), 10, 10, 10]
        assert_allclose(found[3, 0], refed(engine, images, 3, sequence), **CLOSE)

    def test_returned_logits_stay(self, engine: Engine, images: ImageStates) -> None:
        prompts = np.full((4, 1), engine.config.text.dec_id)
        decode, first = engine.decode(images, prompts, np.ones(4, np.int64), 2, 8)
        parents = np.zeros((4, 2), np.int64)
        one = decode.step(np.full((4, 2), 7), parents)
        before = first.copy(), one.copy()
        for _ in range(3):  # a runtime may write its results to two places in turn
            decode.step(np.full((4, 2), 8), parents)
        assert np.array_equal(first, before[0])
        assert np.array_equal(one, before[1])

    def test_two_decodes_at_once_do_not_mix(self, engine: Engine, images: ImageStates) -> None:
        prompts, lengths = random_texts(engine.config, engine.config.text.dec_id, [2, 2, 2, 2])
        tokens, parents = np.array([[7], [8], [9], [10]]), np.zeros((4, 1), np.int64)
        lone, _ = engine.decode(images, prompts, lengths, 1, 8)
        expected = [lone.step(tokens, parents) for _ in range(3)]
        a, _ = engine.decode(images, prompts, lengths, 1, 8)
        b, _ = engine.decode(images.take(np.array([3, 2, 1, 0])), prompts[::-1], lengths, 1, 8)
        for step in range(3):
            assert_allclose(a.step(tokens, parents), expected[step], **CLOSE)
            assert_allclose(b.step(tokens[::-1], parents), expected[step][::-1], **CLOSE)

    def test_what_outgrows_the_positions_is_refused(self, engine: Engine, images: ImageStates) -> None:
        config = engine.config
        limit = config.text.max_positions
        tokens, lengths = random_texts(config, config.text.enc_id, [limit + 1])
        with pytest.raises(TextError, match=str(limit)):
            engine.embed_texts(tokens, lengths)
        with pytest.raises(TextError, match=str(limit)):
            engine.match(images, np.array([0]), tokens, lengths)
        with pytest.raises(OptionError, match="max_length"):
            engine.decode(images, np.full((4, 1), config.text.dec_id), np.ones(4, np.int64), 1, limit + 1)
        full, lengths = random_texts(config, config.text.cls_id, [limit])
        assert np.isfinite(engine.embed_texts(full, lengths)).all()


def tiny_model(kind: VisionKind) -> tuple[ModelConfig, dict[str, Floats]]:
    config = tiny_config(kind)
    return config, random_tensors(config)
