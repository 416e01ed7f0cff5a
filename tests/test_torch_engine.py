"""The torch engine: the engine contract in float32 on the CPU, then its own options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from engine_contract import EngineContract, Make, random_texts, tiny_model
from openblip.engine import LogitRows
from openblip.engines import load_engine
from openblip.engines.torch.engine import TorchEngine
from openblip.errors import MissingExtra, ModelError, OptionError
from openblip.ranking import rank
from openblip.search import generate
from openblip.types import GenerateOptions
from tiny import random_pixels


class TestContract(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return lambda kind: load_engine("torch", *tiny_model(kind), precision="f32", device="cpu")


def test_bfloat16_stays_close_and_keeps_the_logits_in_float32() -> None:
    config, tensors = tiny_model("vit")
    logits = {}
    for precision in ("f32", "bf16"):
        engine = TorchEngine(config, tensors, "cpu", precision)
        images = engine.encode_images(random_pixels(config, 2))
        decode, _ = engine.decode(images, *random_texts(config, config.text.dec_id, [3, 1]), 2, 8)
        logits[precision] = decode.step(np.array([[7, 8], [9, 10]]), np.zeros((2, 2), np.int64))
    error = np.abs(logits["bf16"] - logits["f32"]).std() / logits["f32"].std()
    assert 1e-4 < error < 0.05  # eight significant bits, summed over the layers
    assert ((np.ascontiguousarray(logits["bf16"]).view(np.uint32) & 0xFFFF) != 0).mean() > 0.9


class OnDevice(TorchEngine):
    """Leaves logits to torch to search, as on a GPU."""

    keeps_logits = True


@pytest.mark.parametrize(
    "options",
    [
        GenerateOptions(num_beams=1, max_length=12, min_length=8),
        GenerateOptions(num_beams=3, num_return=3, max_length=12, min_length=5),
        GenerateOptions(num_beams=3, max_length=12, repetition_penalty=1.7),
        GenerateOptions(num_beams=4, num_beam_groups=2, num_return=4, diversity_penalty=2.0, max_length=10),
        GenerateOptions(num_beams=1, sample=True, num_return=2, max_length=12, repetition_penalty=1.2, min_length=6),
    ],
    ids=["greedy", "beams", "penalty", "groups", "sample"],
)
def test_logits_that_stay_on_the_device_give_the_same_texts(options: GenerateOptions) -> None:
    config, tensors = tiny_model("vit")
    prompts, lengths = random_texts(config, config.text.dec_id, [1, 3, 2, 4])
    found = []
    for kind in (TorchEngine, OnDevice):
        engine = kind(config, tensors, "cpu", "f32")
        images = engine.encode_images(random_pixels(config, 4))
        assert isinstance(engine.decode(images, prompts, lengths, 1, 8)[1], LogitRows) == (kind is OnDevice)
        found.append(generate(engine, images, prompts, lengths, options, seeds=[0, 1, 2, 3]))
    for texts, expected in zip(*found, strict=True):
        assert [text.tokens for text in texts] == [text.tokens for text in expected]
        for text, other in zip(texts, expected, strict=True):
            assert_allclose(text.log_probabilities, other.log_probabilities, rtol=0.0, atol=1e-5)
            assert abs(text.score - other.score) < 1e-4


def test_answers_are_ranked_by_logits_on_the_device() -> None:
    config, tensors = tiny_model("vit")
    candidates = [[7, 8, config.text.sep_id], [9, config.text.sep_id], [10, 11, 12, config.text.sep_id]]
    plain, device = (kind(config, tensors, "cpu", "f32") for kind in (TorchEngine, OnDevice))
    [expected, found] = (
        rank(engine, engine.encode_images(random_pixels(config, 2)), candidates, 2) for engine in (plain, device)
    )
    for row, other in zip(found, expected, strict=True):
        assert [each.index for each in row] == [each.index for each in other]
        assert_allclose([each.log_probability for each in row], [each.log_probability for each in other], atol=1e-5)


def test_logits_that_are_not_finite_are_an_error_on_the_device_too() -> None:
    config, tensors = tiny_model("vit")
    engine = OnDevice(config, {**tensors, "lm.bias": np.full_like(tensors["lm.bias"], np.nan)}, "cpu", "f32")
    images = engine.encode_images(random_pixels(config, 1))
    for options in (GenerateOptions(num_beams=3), GenerateOptions(num_beams=1)):
        with pytest.raises(ModelError, match="not finite"):
            generate(engine, images, *random_texts(config, config.text.dec_id, [1]), options)


def test_bad_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config, tensors = tiny_model("vit")
    with pytest.raises(OptionError, match="'int8'"):
        TorchEngine(config, tensors, "cpu", "int8")
    with pytest.raises(OptionError, match="'f16' is for CUDA"):
        TorchEngine(config, tensors, "cpu", "f16")
    with pytest.raises(OptionError, match="'warp'"):
        TorchEngine(config, tensors, "warp")
    with pytest.raises(OptionError, match="threads=0"):
        TorchEngine(config, tensors, "cpu", threads=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="torch sees none"):
        TorchEngine(config, tensors, "cuda")


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openblip.engines.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"openblip\[torch\]"):
        load_engine("torch", *tiny_model("vit"))
