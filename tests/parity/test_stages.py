"""torch against OpenVINO in float32, stage by stage, on tiny random models.

Tolerances: both sides compute in float32 and differ in the order of their sums only. States of unit spread differ by
some 1e-6 after a ViT block and 1e-5 after MobileNetV2's 52 convolutions; logits, with a spread of about 5, by ten-fold.
Each bound leaves a factor of five to ten for other processors' kernels; a real mistake shows at 0.01 and above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose

from engine_contract import random_texts, tiny_model
from openblip.config import ModelConfig
from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.engines.openvino.states import OpenVinoImageStates
from openblip.engines.torch.engine import TorchEngine, TorchImageStates
from tiny import VISION_KINDS, random_pixels

pytestmark = pytest.mark.parity

STATES = {"rtol": 0.0, "atol": 1e-4}
UNIT_VECTORS = {"rtol": 0.0, "atol": 2e-5}
LOGITS = {"rtol": 0.0, "atol": 5e-4}


@dataclass(frozen=True)
class Pair:
    config: ModelConfig
    torch: TorchEngine
    openvino: OpenVinoEngine
    torch_images: TorchImageStates
    openvino_images: OpenVinoImageStates


@pytest.fixture(scope="module", params=VISION_KINDS)
def pair(request: pytest.FixtureRequest) -> Pair:
    config, tensors = tiny_model(request.param)
    torch, openvino = TorchEngine(config, tensors, "cpu", "f32"), OpenVinoEngine(config, tensors, "f32", threads=1)
    pixels = random_pixels(config, 5)
    return Pair(config, torch, openvino, torch.encode_images(pixels), openvino.encode_images(pixels))


def test_image_states(pair: Pair) -> None:
    expected = pair.torch_images.states.numpy()
    assert expected.std(axis=0).mean() > 0.1, "the pictures must differ for this to show anything"
    assert_allclose(pair.openvino_images.states, expected, **STATES)


def test_image_keys_and_values(pair: Pair) -> None:
    assert len(pair.openvino_images.keys_values) == 2 * len(pair.torch_images.keys_values)
    for layer, (key, value) in enumerate(pair.torch_images.keys_values):
        found_key, found_value = pair.openvino_images.keys_values[2 * layer : 2 * layer + 2]
        assert_allclose(found_key.swapaxes(2, 3), key.numpy(), **STATES)
        assert_allclose(found_value, value.numpy(), **STATES)


def test_embeddings(pair: Pair) -> None:
    texts = random_texts(pair.config, pair.config.text.cls_id, [3, 8, 5, 12])
    assert_allclose(pair.openvino.embed_texts(*texts), pair.torch.embed_texts(*texts), **UNIT_VECTORS)
    expected = pair.torch.embed_images(pair.torch_images)
    assert_allclose(pair.openvino.embed_images(pair.openvino_images), expected, **UNIT_VECTORS)


def test_match_logits(pair: Pair) -> None:
    picture = np.array([4, 0, 4, 1, 2, 4])
    texts = random_texts(pair.config, pair.config.text.enc_id, [3, 8, 5, 12, 2, 6])
    expected = pair.torch.match(pair.torch_images, picture, *texts)
    assert expected.std() > 0.1
    assert_allclose(pair.openvino.match(pair.openvino_images, picture, *texts), expected, **LOGITS)


def test_decode_with_parents_and_departures(pair: Pair) -> None:
    config, beams, generator = pair.config, 3, np.random.default_rng(2)
    prompts = random_texts(config, config.text.dec_id, [1, 4, 2, 6, 3])
    ours, found = pair.openvino.decode(pair.openvino_images, *prompts, beams, 20)
    theirs, expected = pair.torch.decode(pair.torch_images, *prompts, beams, 20)
    assert expected.std() > 0.5
    assert_allclose(found, expected, **LOGITS)
    pictures = 5
    for step in range(14):
        if step in (3, 6, 9):  # one leaves, then another (the caches shrink), then the order changes
            kept = {3: np.array([0, 1, 3, 4]), 6: np.array([1, 2, 3]), 9: np.array([2, 0])}[step]
            ours.keep(kept)
            theirs.keep(kept)
            pictures = len(kept)
        tokens = generator.integers(6, config.text.vocab_size, (pictures, beams))
        parents = generator.integers(0, beams, (pictures, beams))
        assert_allclose(ours.step(tokens, parents), theirs.step(tokens, parents), **LOGITS)
