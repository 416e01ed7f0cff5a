"""In bfloat16 sums round differently from batch to batch; a caption should still be that of its picture alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_blip import random_blip, save

from openblip.checkpoint import load_checkpoint
from openblip.engine import Engine
from openblip.engines.openvino.processor import has_bfloat16
from openblip.search import generate
from openblip.types import GenerateOptions
from transformers_models import engine_of, pictures, save_tiny, tiny_model

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not has_bfloat16(), reason="needs a processor that computes in bfloat16"),
]

PICTURES = 200


def captions(engine: Engine, count: int, batch: int, beams: int) -> list[tuple[int, ...]]:
    pixels = pictures(count, engine.config.vision.image_size).numpy()
    options = GenerateOptions(num_beams=beams, max_length=20, min_length=5)
    texts = []
    for start in range(0, count, batch):
        states = engine.encode_images(pixels[start : start + batch])
        rows = np.full((len(states), 1), engine.config.text.dec_id)
        found = generate(engine, states, rows, np.ones(len(states), np.int64), options)
        texts += [hypotheses[0].tokens for hypotheses in found]
    return texts


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_do_not_depend_on_their_batch(tmp_path: Path, beams: int) -> None:
    model = tiny_model("BlipForConditionalGeneration", image_size=64)
    engine = engine_of("openvino", load_checkpoint(save_tiny(model, tmp_path / "model")), precision="bf16")
    alone = captions(engine, PICTURES, 1, beams)
    assert len(set(alone)) > 0.5 * PICTURES
    for batch in (2, 5, 8, 32):
        same = sum(one == other for one, other in zip(alone, captions(engine, PICTURES, batch, beams), strict=True))
        assert same >= 0.98 * PICTURES, f"{same} of {PICTURES} captions are the same in batches of {batch}"


@pytest.mark.slow
def test_captions_of_the_base_size_do_not_depend_on_their_batch(tmp_path: Path) -> None:
    """ViT-B/16 at 384 pixels, 24 pictures, 3 beams: some minute."""
    save(random_blip("BlipForConditionalGeneration"), tmp_path)
    engine = engine_of("openvino", load_checkpoint(tmp_path), precision="bf16")
    alone, together = (captions(engine, 24, batch, 3) for batch in (1, 8))
    (tmp_path / "model.safetensors").unlink()
    assert len(set(alone)) > 12
    assert sum(one == other for one, other in zip(alone, together, strict=True)) >= 23
