"""Blip over tiny random models, with real picture files and both engines."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip import parts
from openblip.checkpoint import save_checkpoint
from openblip.config import ModelConfig
from openblip.engine import Floats
from openblip.errors import CheckpointError, ImageError, InputError, OptionError, TextError
from openblip.image import ImageLimits, ImageSource
from openblip.pipeline import Blip, EngineName
from openblip.types import Caption, GenerateOptions
from tiny import VISION_KINDS, VisionKind, random_tensors, tiny_config, write_vocabulary

# Random weights end a text seldom: short ones keep the tests quick, unequal lengths come with the prompts.
SHORT = GenerateOptions(max_length=10, min_length=0)
SAMPLE = GenerateOptions(num_beams=1, sample=True, num_return=3, max_length=10, min_length=0, seed=7)


@pytest.fixture(scope="module", autouse=True)
def _no_compiled_graphs_left_behind() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLIP_CACHE", "")
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[VisionKind, Path]:
    found: dict[VisionKind, Path] = {}
    for kind in VISION_KINDS:
        folder = tmp_path_factory.mktemp("checkpoints") / f"tiny-{kind}"
        config = tiny_config(kind)
        vocabulary = write_vocabulary(tmp_path_factory.mktemp("vocabulary"))
        save_checkpoint(folder, config, random_tensors(config), vocabulary)
        found[kind] = folder
    return found


@pytest.fixture(scope="module", params=["openvino", "torch"])
def blip(request: pytest.FixtureRequest, folders: dict[VisionKind, Path]) -> Blip:
    engine: EngineName = request.param
    return Blip.load(folders["mobilenet_v2"], engine=engine, precision="f32", device="cpu", threads=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven files of unequal sizes and formats, each of its own colours."""
    folder, generator, paths = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), list[Path]()
    for index, suffix in enumerate(("jpg", "png", "webp", "jpg", "bmp", "png", "jpg")):
        coarse = generator.integers(0, 256, (4, 3 + index, 3)).astype(np.uint8)
        paths.append(folder / f"photo-{index}.{suffix}")
        Image.fromarray(coarse).resize((90 + 20 * index, 80), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def alike(found: list[Caption], expected: list[Caption]) -> None:
    """The same texts; probabilities within what float32 sums of another batch size differ by."""
    assert [caption.text for caption in found] == [caption.text for caption in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.tokens == other.tokens
        np.testing.assert_allclose(one.token_probabilities, other.token_probabilities, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("kind", VISION_KINDS)
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_caption_is_whole(
    kind: VisionKind, engine: EngineName, folders: dict[VisionKind, Path], photos: list[Path]
) -> None:
    blip = Blip.load(folders[kind], engine=engine, precision="f32", device="cpu", threads=1)
    [caption] = blip.caption(photos[0], options=SHORT)
    assert caption.model == blip.name == f"tiny-{kind}"
    assert caption.text
    assert "[" not in caption.text
    assert len(caption.tokens) == len(caption.token_probabilities) <= SHORT.max_length - 1
    assert all(0 < value <= 1 for value in caption.token_probabilities)
    assert caption.log_probability == pytest.approx(sum(math.log(value) for value in caption.token_probabilities))
    assert caption.probability == pytest.approx(math.exp(caption.log_probability / len(caption.tokens)))


def test_both_engines_say_the_same(folders: dict[VisionKind, Path], photos: list[Path]) -> None:
    names: tuple[EngineName, ...] = ("openvino", "torch")
    first, second = (
        Blip.load(folders["vit"], engine=name, precision="f32", device="cpu", threads=1).caption(photos, options=SHORT)
        for name in names
    )
    alike(first, second)


@pytest.mark.parametrize("options", [SHORT, GenerateOptions(num_beams=1, max_length=10, min_length=0)])
def test_a_batch_equals_its_singles(blip: Blip, photos: list[Path], options: GenerateOptions) -> None:
    prompts = ["", "a picture of", "the dog", "a", "", "red and blue", "a man on"]
    together = blip.caption(photos, prompts, options)
    alone = [blip.caption(photo, prompt, options)[0] for photo, prompt in zip(photos, prompts, strict=True)]
    alike(together, alone)
    assert len({caption.text for caption in together}) > 1, "the tiny model must tell its pictures apart"
    for caption, prompt in zip(together, prompts, strict=True):
        assert caption.text.startswith(prompt)


def test_sampled_captions_follow_the_picture_and_the_seed(blip: Blip, photos: list[Path]) -> None:
    there = blip.captions(photos[:3], options=SAMPLE)
    back = blip.captions([photos[2], photos[2], photos[0]], options=SAMPLE)
    assert [len(row) for row in there] == [3, 3, 3]
    for found, expected in ((back[0], there[2]), (back[1], there[2]), (back[2], there[0])):
        alike(found, expected)
    other = GenerateOptions(num_beams=1, sample=True, num_return=3, max_length=10, min_length=0, seed=8)
    assert [caption.text for caption in blip.captions(photos[0], options=other)[0]] != [c.text for c in there[0]]


def test_batches_are_bounded_and_keep_the_order(
    blip: Blip, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = blip.caption(photos, options=SHORT)
    texts = ["a dog", "the cat runs", "red"]
    matches = [blip.match(photo, texts) for photo in photos]
    vectors = blip.embed_images(photos)
    sizes: list[int] = []
    encode = blip.engine.encode_images

    def counted(pixels: Floats) -> Any:
        sizes.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(blip.engine, "encode_images", counted)
    monkeypatch.setattr(parts, "MAX_PICTURES", 3)
    alike(blip.caption(photos, options=SHORT), whole)
    assert sizes == [3, 3, 1]
    np.testing.assert_allclose(blip.embed_images(photos), vectors, atol=1e-5)
    sizes.clear()
    product = [photo for photo in photos for _ in texts]
    paired = blip.match(product, texts * len(photos))
    flat = [match for row in matches for match in row]
    assert [match.text for match in paired] == [match.text for match in flat]
    np.testing.assert_allclose([m.probability for m in paired], [m.probability for m in flat], atol=1e-4)
    np.testing.assert_allclose([m.similarity for m in paired], [m.similarity for m in flat], atol=1e-4)


def test_any_kind_of_source(blip: Blip, photos: list[Path]) -> None:
    data = photos[1].read_bytes()
    with Image.open(photos[1]) as opened:
        picture = opened.convert("RGB")
    sources: list[ImageSource] = [photos[1], str(photos[1]), data, picture, np.asarray(picture)]
    captions = blip.caption(sources, options=SHORT)
    alike(captions, [captions[0]] * len(sources))
    for source in sources:
        alike(blip.caption(source, options=SHORT), captions[:1])


def test_nothing_in_nothing_out(blip: Blip) -> None:
    assert blip.caption([]) == []
    assert blip.captions([]) == []
    assert list(blip.caption_each([])) == []
    assert blip.match([], []) == []
    width = blip.config.projection
    assert blip.embed_images([]).shape == blip.embed_texts([]).shape == (0, width)


def test_captions_gives_the_best_first(blip: Blip, photos: list[Path]) -> None:
    options = GenerateOptions(num_beams=4, num_return=3, max_length=8, min_length=0)
    [row] = blip.captions([photos[0]], options=options)
    assert len({caption.tokens for caption in row}) == 3
    scores = [caption.log_probability / len(caption.tokens) for caption in row]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(OptionError, match="not num_return=3: use captions"):
        blip.caption([photos[0]], options=options)


def test_what_does_not_fit_is_refused_before_any_picture_is_read(blip: Blip) -> None:
    with pytest.raises(InputError, match="2 prompts do not go with 1 pictures"):
        blip.caption(["missing.jpg"], ["a", "b"])
    with pytest.raises(TextError, match="a text must be a string, not int"):
        blip.caption(["missing.jpg"], [3])  # type: ignore[list-item]
    with pytest.raises(InputError, match="3 texts do not go with 2 pictures"):
        blip.match(["missing.jpg"] * 2, ["a"] * 3)
    with pytest.raises(OptionError, match="leaves no room within max_length=3"):
        blip.caption_each(["missing.jpg"], "a picture of a dog", GenerateOptions(max_length=3, min_length=0))
    with pytest.raises(OptionError, match="max_length=200 exceeds the model's 32 positions"):
        blip.caption_each(["missing.jpg"], options=GenerateOptions(max_length=200))
    with pytest.raises(InputError, match="cannot take pictures from a int"):
        blip.caption(3)  # type: ignore[arg-type]


def test_a_list_with_a_bad_picture_raises_its_error(blip: Blip, photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a picture", encoding="utf-8")
    for call in (blip.caption, blip.embed_images, lambda images: blip.match(images, "a dog")):
        with pytest.raises(ImageError, match=r"bad\.jpg"):
            call([photos[0], bad, tmp_path / "missing.jpg"])


def test_caption_each_reports_bad_pictures_and_goes_on(
    blip: Blip, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, text, missing = tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "missing.jpg"
    empty.write_bytes(b"")
    text.write_text("hello", encoding="utf-8")
    # In batches of three, one batch holds bad pictures alone.
    sources = [photos[0], empty, photos[1], text, missing, empty, photos[2]]
    monkeypatch.setattr(parts, "MAX_PICTURES", 3)
    outcomes = list(blip.caption_each(iter(sources), options=SHORT))
    assert [outcome.source for outcome in outcomes] == sources
    good = [outcome for outcome in outcomes if outcome.error is None]
    assert [outcome.source for outcome in good] == photos[:3]
    alike([outcome.captions[0] for outcome in good], blip.caption(photos[:3], options=SHORT))
    for outcome in outcomes:
        if outcome.error is not None:
            assert outcome.captions == ()
            assert isinstance(outcome.error, ImageError)
            assert Path(str(outcome.source)).name in str(outcome.error)
            assert "\n" not in str(outcome.error)


def test_caption_each_reads_only_two_batches_ahead_and_stops_cleanly(
    blip: Blip, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def endless() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield photos[asked % len(photos)]

    monkeypatch.setattr(parts, "MAX_PICTURES", 2)
    outcomes = blip.caption_each(endless(), options=SHORT)
    assert isinstance(outcomes, Iterator)
    assert asked == 0, "nothing is read before it is asked for"
    next(outcomes)
    assert asked <= 2 * 2 + 2
    outcomes.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name.startswith("openblip-image"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_limits_of_the_loaded_model_hold(folders: dict[VisionKind, Path], photos: list[Path]) -> None:
    blip = Blip.load(folders["vit"], precision="f32", threads=1, limits=ImageLimits(max_pixels=100))
    with pytest.raises(ImageError, match="pixels"):
        blip.caption(photos[0])


def test_match_pairs_and_spreads(blip: Blip, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a dog runs", "the cat", "red and blue and green"]
    pairs = blip.match(photos[:3], texts)
    assert [match.text for match in pairs] == texts
    assert all(match.model == blip.name and 0 <= match.probability <= 1 for match in pairs)
    assert len({round(match.probability, 4) for match in pairs}) > 1
    similarities = (blip.embed_images(photos[:3]) * blip.embed_texts(texts)).sum(axis=1)
    np.testing.assert_allclose([match.similarity for match in pairs], similarities, atol=1e-5)

    encoded = 0
    encode = blip.engine.encode_images

    def counted(pixels: Floats) -> Any:
        nonlocal encoded
        encoded += len(pixels)
        return encode(pixels)

    monkeypatch.setattr(blip.engine, "encode_images", counted)
    one_picture = blip.match(photos[0], texts)
    assert encoded == 1
    one_text = blip.match(photos[:3], texts[0])
    for found in (one_picture[0], one_text[0]):
        assert found.probability == pytest.approx(pairs[0].probability, abs=1e-4)
        assert found.similarity == pytest.approx(pairs[0].similarity, abs=1e-4)
    assert [match.text for match in one_text] == [texts[0]] * 3


def test_embeddings_are_unit_vectors(blip: Blip, photos: list[Path]) -> None:
    for vectors in (blip.embed_images(photos), blip.embed_texts(["a dog", "the red bus"])):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == blip.config.projection
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(blip.embed_texts("a dog")[0], blip.embed_texts(["a dog", "red"])[0], atol=1e-5)


def test_a_text_beyond_the_positions_is_cut(blip: Blip, photos: list[Path]) -> None:
    long = " ".join(["dog"] * 100)
    assert blip.match(photos[0], long)[0].text == long
    np.testing.assert_allclose(blip.embed_texts(long), blip.embed_texts(long + " cat"), atol=1e-6)


def test_timing_tells_the_stages(blip: Blip, photos: list[Path]) -> None:
    blip.caption(photos, options=SHORT)
    timing = blip.timing
    assert min(timing.decode_s, timing.preprocess_s, timing.encode_s, timing.search_s) > 0
    blip.embed_texts(["a dog"])
    assert blip.timing.decode_s == blip.timing.preprocess_s == blip.timing.search_s == 0
    assert blip.timing.encode_s > 0


def test_an_empty_text_is_an_error(blip: Blip, photos: list[Path]) -> None:
    message = r"text 2 of 2 is empty \(' '\): give it words"
    for call in (
        lambda texts: blip.match(photos[0], texts),
        lambda texts: blip.analyze(photos[0], texts=texts),
        blip.embed_texts,
    ):
        with pytest.raises(TextError, match=message):
            call(["a dog", " "])


def test_compiled_graphs_are_kept_and_survive_damage(
    folders: dict[VisionKind, Path], photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLIP_CACHE", str(tmp_path))
    first = Blip.load(folders["vit"], precision="f32", threads=1).caption(photos[0], options=SHORT)
    kept = sorted((tmp_path / "compiled").glob("*.blob"))
    assert kept
    for blob in kept:  # as a process that was killed while writing leaves it
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:1000])
    alike(Blip.load(folders["vit"], precision="f32", threads=1).caption(photos[0], options=SHORT), first)


def test_a_vocabulary_of_another_model_is_refused(folders: dict[VisionKind, Path], tmp_path: Path) -> None:
    config = tiny_config()
    save_checkpoint(tmp_path / "odd", config, random_tensors(config), folders["vit"] / "vocab.txt")
    vocabulary = tmp_path / "odd" / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text(encoding="utf-8") + "surplus\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"vocab\.txt does not fit its config\.json"):
        Blip.load(tmp_path / "odd")


def test_pictures_a_call_follow_rows_and_model_size() -> None:
    def count(config: ModelConfig, rows: int) -> int:
        engine: Any = SimpleNamespace(config=config)
        tokenizer: Any = None
        return parts.Part("any", engine, tokenizer).pictures_a_call(rows)

    tiny, base = tiny_config(), ModelConfig()
    assert count(tiny, 1) == count(tiny, 3) == 32
    assert count(tiny, 16) == 8
    assert count(tiny, 64) == 2
    assert 8 <= count(base, 3) <= 16, "21 MB of keys and values a picture"


def test_results_are_plain_when_asked(blip: Blip, photos: list[Path]) -> None:
    values = blip.caption(photos[0], options=SHORT)[0].to_dict()
    assert set(values) == {"text", "log_probability", "probability", "tokens", "token_probabilities", "model"}
    assert type(values["probability"]) is float
    match = blip.match(photos[0], "a dog")[0].to_dict()
    assert {type(match["probability"]), type(match["similarity"])} == {float}


def test_a_picture_from_memory_is_not_a_list_of_numbers(blip: Blip) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    assert len(blip.caption(buffer.getvalue(), options=SHORT)) == 1
    assert len(blip.caption(bytearray(buffer.getvalue()), options=SHORT)) == 1


def test_prompts_of_their_own_for_any_number_of_pictures(
    blip: Blip, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_PICTURES", 3)
    prompts = ["a dog", "", "two " * 40, "the man", 7, "a bus", "on", "a"]
    sources = [photos[0], photos[1], photos[2], "missing.jpg", photos[0], photos[1], photos[2], photos[0]]
    outcomes = list(blip.caption_each(iter(sources), iter(prompts), SHORT))  # type: ignore[arg-type]
    assert [outcome.source for outcome in outcomes] == sources
    assert [outcome.prompt for outcome in outcomes] == prompts
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [OptionError, ImageError, TextError]
    for outcome in outcomes:
        if outcome.error is None:
            alike(list(outcome.captions), blip.caption([outcome.source], outcome.prompt, SHORT))
    taken = iter(["a", "two", "three", "more"])
    assert len(list(blip.caption_each(photos[:2], taken, SHORT))) == 2
    assert next(taken) == "three"
    with pytest.raises(InputError, match="the prompts ended before the pictures"):
        list(blip.caption_each(photos[:2], ["a"], SHORT))


def test_embeddings_of_any_number_of_pictures(blip: Blip, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_PICTURES", 2)
    sources = ["missing.jpg", "no.jpg", photos[0], photos[1], "missing.jpg", photos[2]]
    outcomes = list(blip.embed_each(iter(sources)))
    assert [outcome.source for outcome in outcomes] == sources
    assert [outcome.error is not None for outcome in outcomes] == [True, True, False, False, True, False]
    found = [outcome.embedding.vector for outcome in outcomes if outcome.embedding]
    np.testing.assert_allclose(found, blip.embed_images(photos[:3]), atol=1e-5)
    assert {outcome.embedding.model for outcome in outcomes if outcome.embedding} == {blip.name}
