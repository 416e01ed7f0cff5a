"""The torch engine: the engine contract in float32 on the CPU, then its own options."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine_contract import EngineContract, Make, random_texts, tiny_model
from openblip.engines import load_engine
from openblip.engines.torch.engine import TorchEngine
from openblip.errors import MissingExtra, OptionError
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


def test_bad_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config, tensors = tiny_model("vit")
    with pytest.raises(OptionError, match="'int8'"):
        TorchEngine(config, tensors, "cpu", "int8")
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
