"""Engines side by side: the engine contract, calls from several threads, and which engine does what."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from engine_contract import CLOSE, EngineContract, Make, random_texts, tiny_model
from openblip.engine import Engine, Floats, ImageStates, Ints
from openblip.engines import load_engine
from openblip.engines.lanes import Lanes
from openblip.engines.openvino.engine import OpenVinoEngine
from tiny import random_pixels


class TestContract(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return lambda kind: load_engine("openvino", *tiny_model(kind), precision="f32", threads=2, lanes=2)


class Noting(OpenVinoEngine):
    """Notes its calls."""

    def __init__(self, name: str, notes: list[str]) -> None:
        super().__init__(*tiny_model("vit"), "f32", threads=1)
        self.name, self.notes = name, notes

    def embed_images(self, images: ImageStates) -> Floats:
        self.notes.append(self.name)
        return super().embed_images(images)

    def decode(self, states: Any, prompts: Ints, lengths: Ints, beams: int, max_length: int) -> Any:
        self.notes.append(self.name)
        return super().decode(states, prompts, lengths, beams, max_length)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def lanes(notes: list[str]) -> Lanes:
    return Lanes(Noting("wide", notes), [Noting("first", notes), Noting("second", notes)])


def begin(engine: Engine, images: ImageStates) -> Any:
    prompts, lengths = random_texts(engine.config, engine.config.text.dec_id, [2] * len(images))
    return engine.decode(images, prompts, lengths, 2, 8)[0]


def test_one_call_after_the_other_has_all_threads(lanes: Lanes, notes: list[str]) -> None:
    images = lanes.encode_images(random_pixels(lanes.config, 2))
    for _ in range(3):
        begin(lanes, images)
        lanes.embed_images(images)
    assert notes == ["wide"] * 6


def test_what_comes_beside_a_decode_is_done_by_others(lanes: Lanes, notes: list[str]) -> None:
    images = lanes.encode_images(random_pixels(lanes.config, 2))
    decodes = [begin(lanes, images) for _ in range(4)]
    assert notes == ["wide", "second", "first", "wide"]  # the fourth has no lane of its own
    del decodes[1]
    lanes.embed_images(images)
    assert notes[4:] == ["second"]
    decodes.clear()
    lanes.embed_images(images)
    assert notes[5:] == ["wide"]


def test_a_call_that_fails_gives_its_lane_back(lanes: Lanes, notes: list[str]) -> None:
    images = lanes.encode_images(random_pixels(lanes.config, 1))
    for _ in range(5):
        with pytest.raises(Exception, match="max_length"):
            lanes.decode(images, np.full((1, 4), lanes.config.text.dec_id), np.array([4]), 1, 10_000)
    notes.clear()
    lanes.embed_images(images)
    assert notes == ["wide"]


def test_threads_get_what_one_engine_gives_them() -> None:
    alone = load_engine("openvino", *tiny_model("vit"), precision="f32", threads=1)
    shared = load_engine("openvino", *tiny_model("vit"), precision="f32", threads=2, lanes=2)
    assert isinstance(shared, Lanes)
    assert (shared.lanes, shared.precision) == (2, "f32")

    def logits(engine: Engine, seed: int) -> Floats:
        config = engine.config
        images = engine.encode_images(random_pixels(config, 3, seed))
        prompts, lengths = random_texts(config, config.text.dec_id, [3, 1, 2], seed)
        decode, _ = engine.decode(images, prompts, lengths, 2, 8)
        tokens, parents = np.array([[7, 8], [9, 10], [11, 12]]), np.array([[0, 1], [1, 1], [0, 0]])
        steps = [np.asarray(decode.step(tokens + step, parents)).copy() for step in range(3)]
        texts = random_texts(config, config.text.enc_id, [4, 2, 3], seed)
        matches = engine.match(images, np.array([0, 1, 2]), *texts)
        return np.concatenate([np.ravel(each) for each in (*steps, matches, engine.embed_images(images))])

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: logits(shared, seed), range(24)))
    for seed, found in enumerate(together):
        assert_allclose(found, logits(alone, seed), **CLOSE)


def test_there_are_no_more_lanes_than_threads_and_none_of_a_large_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def lanes(threads: int, lanes: int) -> int:
        return load_engine("openvino", *tiny_model("vit"), precision="f32", threads=threads, lanes=lanes).lanes

    assert [lanes(1, 4), lanes(2, 4), lanes(4, 2), lanes(2, 1)] == [1, 2, 2, 1]
    monkeypatch.setattr("openblip.engines.is_large", lambda config: True)
    assert lanes(2, 2) == 1
