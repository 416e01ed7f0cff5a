"""Where matching looks: OpenVINO's gradient, written by hand, against torch's autograd, and that against differences.

Tolerances are norms of differences over norms. Both engines compute in float32 and were within 7e-6 on tiny models; a
term forgotten on the way back shows at some hundredths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from random_blip import random_blip, save

from engine_contract import random_texts, tiny_model
from openblip.checkpoint import load_checkpoint
from openblip.config import ModelConfig
from openblip.engine import Engine, Floats, ImageStates, Ints, Relevance
from openblip.engines import load_engine
from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.engines.openvino.processor import has_bfloat16
from openblip.engines.torch.gradient import relevance
from openblip.engines.torch.model import BlipModel
from openblip.errors import OptionError, TextError
from openblip.image import load_image, preprocess_batch
from openblip.text import Tokenizer
from openblip.weights import StoredTensors
from tiny import random_pixels, random_tensors, tiny_config
from transformers_models import pictures

pytestmark = pytest.mark.parity

ERF = np.vectorize(erf)
CLOSE = 5e-5
PICTURE = np.array([2, 0, 2, 3, 2, 0, 1])
LENGTHS = [4, 6, 3, 9, 4, 2, 5]
SIZES: dict[str, dict[str, int]] = {
    "four heads": {},
    "two heads, three layers": {"layers": 3, "heads": 2},
    "one head, one layer": {"layers": 1, "heads": 1},
    "square": {"layers": 2, "heads": 3, "mlp_width": 48},
}
"""Of the text transformer. All square: OpenVINO must not take a weight for its transpose."""


@dataclass(frozen=True)
class Side:
    engine: Engine
    images: ImageStates

    def relevance(self, picture: Ints, texts: tuple[Ints, Ints], layer: int) -> Relevance:
        return self.engine.relevance(self.images, picture, *texts, layer)


def sides(config: ModelConfig, tensors: Any, pixels: Floats) -> tuple[Side, Side]:
    """OpenVINO's and torch's, each with its own image states."""
    engines = [load_engine(name, config, tensors, precision="f32", device="cpu") for name in ("openvino", "torch")]
    ours, theirs = (Side(engine, engine.encode_images(pixels)) for engine in engines)
    return ours, theirs


def difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    assert found.shape == expected.shape
    assert np.linalg.norm(expected) > 0
    return float(np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected))


def hold(found: Relevance, expected: Relevance, tolerance: float) -> None:
    assert found.cam.dtype == found.attention.dtype == np.float32
    for name in ("logits", "attention", "cam"):
        assert difference(getattr(found, name), getattr(expected, name)) < tolerance, name


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_by_hand_is_that_of_autograd(size: str) -> None:
    """What sees the picture lies below every gradient: the other kind is left to `mini`, further down."""
    config = tiny_config("vit")
    config = replace(config, text=replace(config.text, **SIZES[size]))
    ours, theirs = sides(config, random_tensors(config), random_pixels(config, 4))
    texts = random_texts(config, config.text.enc_id, LENGTHS, extra=2)
    for layer in range(config.text.layers):
        expected = theirs.relevance(PICTURE, texts, layer)
        assert expected.cam.shape == (7, config.text.heads, 11, config.vision.tokens)
        hold(ours.relevance(PICTURE, texts, layer - config.text.layers), expected, CLOSE)
    for side in (ours, theirs):
        logits = side.engine.match(side.images, PICTURE, *texts)
        assert_allclose(side.relevance(PICTURE, texts, 0).logits, logits, rtol=0.0, atol=1e-4)


@pytest.fixture(scope="module", params=["openvino", "torch"])
def side(request: pytest.FixtureRequest) -> Side:
    engine = load_engine(request.param, *tiny_model("vit"), precision="f32", device="cpu")
    return Side(engine, engine.encode_images(random_pixels(engine.config, 4)))


def test_a_batch_is_its_singles(side: Side) -> None:
    """In any order, with unequal lengths, some texts of one picture sharing a run, and rubbish for padding."""
    tokens, lengths = random_texts(side.engine.config, side.engine.config.text.enc_id, LENGTHS, extra=2)
    dirty = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, 9)
    together = side.relevance(PICTURE, (dirty, lengths), 0)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone = side.engine.relevance(
            side.images.take(PICTURE[one]), np.array([0]), tokens[one, :length], lengths[one], 0
        )
        assert alone.cam.shape[2] == length
        for name in ("attention", "cam"):
            whole = getattr(together, name)[row]
            assert difference(whole[:, :length], getattr(alone, name)[0]) < CLOSE
            assert not whole[:, length:].any()
        assert_allclose(together.logits[row], alone.logits[0], rtol=0.0, atol=1e-4)


def test_attention_is_a_distribution_and_the_cam_a_part_of_it(side: Side) -> None:
    texts = random_texts(side.engine.config, side.engine.config.text.enc_id, LENGTHS)
    found = side.relevance(PICTURE, texts, 0)
    for row, length in enumerate(LENGTHS):
        assert_allclose(found.attention[row, :, :length].sum(axis=-1), 1.0, rtol=0.0, atol=1e-5)
    assert (found.cam >= 0).all()
    assert 0.05 < (found.cam > 0).mean() < 0.6
    assert (found.cam[found.attention == 0] == 0).all()


def test_in_the_last_layer_only_the_first_token_counts(side: Side) -> None:
    cam = side.relevance(PICTURE, random_texts(side.engine.config, side.engine.config.text.enc_id, LENGTHS), -1).cam
    assert cam[:, :, 0].any(axis=(1, 2)).all()
    assert not cam[:, :, 1:].any()


def test_more_texts_than_a_run_takes(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = random_texts(side.engine.config, side.engine.config.text.enc_id, LENGTHS)
    expected = side.relevance(PICTURE, texts, 0)
    monkeypatch.setattr(f"{type(side.engine).__module__}.RELEVANCE_ROWS", 2)
    hold(side.relevance(PICTURE, texts, 0), expected, CLOSE)


def test_no_rows(side: Side) -> None:
    none = np.zeros(0, np.int64)
    found = side.relevance(none, (np.zeros((0, 4), np.int64), none), 0)
    assert found.cam.shape == (0, 4, 4, side.engine.config.vision.tokens)
    assert found.logits.shape == (0, 2)


@pytest.mark.parametrize("layer", [-3, 2])
def test_a_layer_that_is_not_there_is_refused(side: Side, layer: int) -> None:
    with pytest.raises(OptionError, match=f"layer={layer} .* give -2 to 1"):
        side.relevance(np.array([0]), random_texts(side.engine.config, 5, [3]), layer)
    limit = side.engine.config.text.max_positions
    with pytest.raises(TextError, match=str(limit)):
        side.relevance(np.array([0]), random_texts(side.engine.config, 5, [limit + 1]), 0)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_point_to_the_same_places(precision: str) -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    config, tensors = tiny_model("vit")
    texts = random_texts(config, config.text.enc_id, LENGTHS)
    exact, rough = (OpenVinoEngine(config, tensors, kind, threads=1) for kind in ("f32", precision))
    pixels = random_pixels(config, 4)
    expected, found = (engine.relevance(engine.encode_images(pixels), PICTURE, *texts, 0) for engine in (exact, rough))
    assert 1e-4 < difference(found.cam, expected.cam) < 0.1


def test_where_graphs_are_kept_the_one_of_a_layer_is_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, tensors = tiny_model("vit")
    pixels, texts = random_pixels(config, 4), random_texts(config, config.text.enc_id, LENGTHS)

    def found() -> Relevance:
        engine = OpenVinoEngine(config, tensors, "f32", threads=1, cache_dir=tmp_path, revision="one")
        return engine.relevance(engine.encode_images(pixels), PICTURE, *texts, 0)

    first = found()
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["image_encoder", "relevance_0"]
    monkeypatch.setattr("openvino.Core.compile_model", None)  # whoever compiles now fails
    hold(found(), first, CLOSE)


def test_a_large_model_lets_go_of_its_tensors_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read for the graph of a layer, once, and only where the graph can be kept."""
    config, tensors = tiny_model("vit")
    monkeypatch.setattr("openblip.engines.openvino.engine.is_large", lambda config: True)
    reads: list[int] = []
    stored = StoredTensors(lambda: reads.append(1) or tensors)  # type: ignore[func-returns-value]
    engine = OpenVinoEngine(config, stored, "f32", threads=1, cache_dir=tmp_path, revision="one")
    images, texts = engine.encode_images(random_pixels(config, 4)), random_texts(config, config.text.enc_id, LENGTHS)
    for layer, read in ((0, 2), (0, 2), (1, 3)):
        engine.relevance(images, PICTURE, *texts, layer)
        assert stored._held is None
        assert len(reads) == read


# ----------------------------------------------------------------------------------- torch against finite differences


def test_autograd_is_what_differences_say() -> None:
    """In float64, against a matcher written in numpy whose attention can be pushed: every entry, and no tensor of torch
    on the way."""
    config, tensors = tiny_model("vit")
    exact = {name: value.astype(np.float64) for name, value in tensors.items()}
    states = np.random.default_rng(4).normal(size=(1, config.vision.tokens, config.vision.width))
    tokens, lengths = random_texts(config, config.text.enc_id, [5, 3])
    model = BlipModel(config).double().eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in exact.items()})
    keys_values = [(k.detach(), v.detach()) for k, v in model.text.keys_values(torch.from_numpy(states))]
    for layer in range(2):
        logits, attention, cam = relevance(
            model, torch.from_numpy(tokens), torch.from_numpy(lengths), keys_values, layer
        )
        for row, length in enumerate(lengths):
            matcher = PushedMatcher(config, exact, states[0], tokens[row, :length], layer)
            plain, weights = matcher(None)
            assert logits[row, 1] == pytest.approx(plain, abs=1e-10)
            asked = slice(row * tokens.shape[1], row * tokens.shape[1] + length)
            assert_allclose(attention[0, :, asked].numpy(), weights, rtol=0.0, atol=1e-12)
            expected = np.maximum(matcher.slopes(), 0) * weights
            assert difference(cam[0, :, asked].numpy(), expected) < 1e-6


class PushedMatcher:
    """One text [L] and one picture [T, width] to the matching logit, with a push [H, L, T] added to the attention of a
    layer."""

    def __init__(self, config: ModelConfig, tensors: Any, states: NDArray[Any], tokens: Ints, layer: int) -> None:
        self.config, self.tensors, self.states, self.tokens, self.layer = config, tensors, states, tokens, layer

    def __call__(self, push: NDArray[Any] | None) -> tuple[float, NDArray[Any]]:
        pushed = np.zeros(())
        x = self.norm(
            self.tensors["text.tokens.weight"][self.tokens] + self.tensors["text.positions.weight"][: len(self.tokens)],
            "text.norm",
        )
        for index in range(self.config.text.layers):
            block = f"text.blocks.{index}"
            query, key, value = np.split(self.linear(x, f"{block}.encoder_attention.qkv"), 3, axis=-1)
            x = self.after(x, self.weights(query, key), value, f"{block}.encoder_attention")
            key, value = np.split(self.linear(self.states, f"{block}.cross_attention.key_value"), 2, axis=-1)
            weights = self.weights(self.linear(x, f"{block}.cross_attention.query"), key)
            if index == self.layer:
                pushed = weights if push is None else weights + push
            x = self.after(x, pushed if index == self.layer else weights, value, f"{block}.cross_attention")
            up = self.linear(x, f"{block}.mlp.up")
            x = self.norm(x + self.linear(up * (1 + ERF(up / 2**0.5)) / 2, f"{block}.mlp.down"), f"{block}.mlp.norm")
        return float(self.linear(x[0], "itm")[1]), pushed

    def slopes(self, step: float = 1e-5) -> NDArray[Any]:
        shape = self(None)[1].shape
        found = np.zeros(shape)
        for place in np.ndindex(shape):
            push = np.zeros(shape)
            push[place] = step
            found[place] = (self(push)[0] - self(-push)[0]) / (2 * step)
        return found

    def heads(self, x: NDArray[Any]) -> NDArray[Any]:
        return x.reshape(len(x), self.config.text.heads, -1).swapaxes(0, 1)

    def weights(self, query: NDArray[Any], key: NDArray[Any]) -> NDArray[Any]:
        width = self.config.text.width // self.config.text.heads
        scores = np.exp(self.heads(query) @ self.heads(key).swapaxes(1, 2) / width**0.5)
        return scores / scores.sum(axis=-1, keepdims=True)

    def after(self, x: NDArray[Any], weights: NDArray[Any], value: NDArray[Any], name: str) -> NDArray[Any]:
        attended = (weights @ self.heads(value)).swapaxes(0, 1).reshape(x.shape)
        return self.norm(x + self.linear(attended, f"{name}.out"), f"{name}.norm")

    def linear(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        return np.asarray(x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"])

    def norm(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config.text.layer_norm_eps)
        return np.asarray(centred / deviation * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"])


# ---------------------------------------------------------------------------------------------------------- real sizes


def test_mini_in_its_first_and_last_layer(mini: Path, samples: list[Path]) -> None:
    checkpoint = load_checkpoint(mini)
    config, tokenizer = checkpoint.config, Tokenizer.from_vocabulary(checkpoint.vocabulary)
    pixels = preprocess_batch([load_image(path) for path in samples[:3]], config.vision)
    ours, theirs = sides(config, checkpoint.tensors, pixels)
    rows = tokenizer.encode_grounded(["a dog runs on the grass", "two people", "a red bus in the street", "a cat"], 35)
    picture = np.array([0, 2, 1, 0])
    for layer in (0, -1):
        expected = theirs.relevance(picture, (rows.tokens, rows.lengths), layer)
        hold(ours.relevance(picture, (rows.tokens, rows.lengths), layer), expected, 1e-4)
    logits = ours.engine.match(ours.images, picture, rows.tokens, rows.lengths)
    assert_allclose(expected.logits, logits, rtol=0.0, atol=1e-3)


@pytest.mark.slow
def test_relevance_at_full_size(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published base size on random weights, ViT-B/16 at 384 and 12 layers of text: a layer in the middle and the
    last. 33 processor seconds and 5 GB."""
    save(random_blip("BlipForImageTextRetrieval"), tmp_path / "model")
    checkpoint = load_checkpoint(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()  # mapped; pytest would keep three runs of a gigabyte each
    assert checkpoint.config.text == ModelConfig().text
    assert checkpoint.config.vision.tokens == 577
    ours, theirs = sides(checkpoint.config, checkpoint.tensors, pictures(2, 384).numpy())
    tokens, lengths = random_texts(checkpoint.config, checkpoint.config.text.enc_id, [11, 7, 16])
    for layer in (6, 11):
        expected = theirs.relevance(np.array([0, 1, 0]), (tokens, lengths), layer)
        found = ours.relevance(np.array([0, 1, 0]), (tokens, lengths), layer)
        error = difference(found.cam, expected.cam)
        with capsys.disabled():
            pytestconfig.get_terminal_writer().line(f"\n  layer {layer}: the cam is off by {error:.1e} of its norm")
        hold(found, expected, 1e-3)
