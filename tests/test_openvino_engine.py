"""The OpenVINO engine: the engine contract in float32, then what is its own: precisions, threads, the compile cache."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from numpy.testing import assert_allclose

from engine_contract import EngineContract, Make, random_texts, tiny_model
from openblip.config import TASKS
from openblip.engine import Engine, Floats
from openblip.engines import load_engine
from openblip.engines.openvino import decode as decoding
from openblip.engines.openvino import engine as running
from openblip.engines.openvino import states
from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.errors import OptionError
from tiny import VISION_KINDS, VisionKind, random_pixels, random_tensors, tiny_config


class TestContract(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return lambda kind: load_engine("openvino", *tiny_model(kind), precision="f32", threads=1)


def _some_logits(engine: Engine) -> Floats:
    """Logits [2, 2, V] a few steps into a decode."""
    images = engine.encode_images(random_pixels(engine.config, 2))
    prompts, lengths = random_texts(engine.config, engine.config.text.dec_id, [3, 1])
    decode, _ = engine.decode(images, prompts, lengths, 2, 8)
    decode.step(np.array([[7, 8], [9, 10]]), np.zeros((2, 2), np.int64))
    return decode.step(np.array([[11, 12], [13, 14]]), np.array([[1, 0], [0, 0]]))


@pytest.mark.parametrize("kind", VISION_KINDS)
@pytest.mark.parametrize("precision", ["default", "int8"])
def test_lower_precisions_stay_close(kind: VisionKind, precision: str) -> None:
    """Eight significant bits of weights or activations: 0.4% a product, summed over layers some percent of the
    spread."""
    config, tensors = tiny_model(kind)
    exact = OpenVinoEngine(config, tensors, "f32", threads=1)
    rough = OpenVinoEngine(config, tensors, None if precision == "default" else precision, threads=1)
    expected, found = _some_logits(exact), _some_logits(rough)
    error = np.abs(found - expected).std() / expected.std()
    assert error < 0.05
    if rough.precision != "f32":
        assert error > 1e-5, "the lower precision was not used"
    pixels = random_pixels(config, 3)
    cosines = (exact.encode_images(pixels).embedding * rough.encode_images(pixels).embedding).sum(axis=1)
    assert cosines.min() > 0.999
    picture, (tokens, lengths) = np.array([0, 1, 2]), random_texts(config, config.text.enc_id, [4, 7, 5])
    assert_allclose(
        rough.match(rough.encode_images(pixels), picture, tokens, lengths),
        exact.match(exact.encode_images(pixels), picture, tokens, lengths),
        rtol=0.0,
        atol=0.2,
    )


def test_int8_stores_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny matrices are below the size that is worth it; with that bound lowered the weights must change, a
    little."""
    config, tensors = tiny_model("vit")
    exact = _some_logits(OpenVinoEngine(config, tensors, "f32", threads=1))
    monkeypatch.setattr("openblip.engines.openvino.graph._BIG_MATRIX", 1)
    for module in ("compile", "engine"):
        monkeypatch.setattr(f"openblip.engines.openvino.{module}.has_bfloat16", lambda: False)
    rough = _some_logits(OpenVinoEngine(config, tensors, "int8", threads=1))
    error = np.abs(rough - exact).std() / exact.std()
    assert 1e-3 < error < 0.05


def test_where_8_bits_would_be_unpacked_only_decoders_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    config, tensors = tiny_model("vit")
    pixels = random_pixels(config, 2)
    exact = OpenVinoEngine(config, tensors, "f32", threads=1)
    monkeypatch.setattr("openblip.engines.openvino.graph._BIG_MATRIX", 1)
    for module in ("compile", "engine"):
        monkeypatch.setattr(f"openblip.engines.openvino.{module}.has_bfloat16", lambda: False)
        monkeypatch.setattr(f"openblip.engines.openvino.{module}.rounds_activations", lambda: False)
    rough = OpenVinoEngine(config, tensors, "int8", threads=1)
    assert_allclose(rough.encode_images(pixels).states, exact.encode_images(pixels).states, rtol=0.0, atol=1e-5)
    assert np.abs(_some_logits(rough) - _some_logits(exact)).std() > 1e-3


def test_logits_are_not_rounded_to_bfloat16() -> None:
    for precision in (None, "int8"):
        logits = _some_logits(OpenVinoEngine(*tiny_model("vit"), precision, threads=1))
        low_bits = np.ascontiguousarray(logits).view(np.uint32) & 0xFFFF
        assert (low_bits != 0).mean() > 0.9


@pytest.mark.parametrize("precision", ["f16", "fp16", "float16"])
def test_f16_is_refused_with_the_reason(precision: str) -> None:
    with pytest.raises(OptionError, match="wrong numbers"):
        OpenVinoEngine(*tiny_model("vit"), precision)


def test_bad_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="'int4'"):
        OpenVinoEngine(*tiny_model("vit"), "int4")
    with pytest.raises(OptionError, match="threads=0"):
        OpenVinoEngine(*tiny_model("vit"), "f32", threads=0)
    with pytest.raises(OptionError, match="lanes=0"):
        load_engine("openvino", *tiny_model("vit"), lanes=0)
    with pytest.raises(OptionError, match="device='cuda'"):
        load_engine("openvino", *tiny_model("vit"), device="cuda")
    with pytest.raises(OptionError, match="'onnx'"):
        load_engine("onnx", *tiny_model("vit"))
    monkeypatch.setattr("openblip.engines.openvino.compile.has_bfloat16", lambda: False)
    with pytest.raises(OptionError, match="bf16"):
        OpenVinoEngine(*tiny_model("vit"), "bf16")
    assert OpenVinoEngine(*tiny_model("vit")).precision == "f32"


def test_threads_may_share_an_engine() -> None:
    engine = OpenVinoEngine(*tiny_model("vit"), "f32", threads=1)
    expected = _some_logits(engine)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: _some_logits(engine), range(12)):
            assert_allclose(found, expected, rtol=0.0, atol=2e-4)


class _Watched:
    """An infer request that refuses to run when an array that it borrows is gone."""

    def __init__(self, request: ov.InferRequest, borrowed: dict[int, weakref.ref[Any]]) -> None:
        self._request, self._borrowed = request, borrowed
        self._bound: dict[int, weakref.ref[Any]] = {}
        self.runs = 0

    def set_input_tensor(self, index: int, tensor: ov.Tensor) -> None:
        self._bound.pop(index, None)
        if id(tensor) in self._borrowed:
            self._bound[index] = self._borrowed.pop(id(tensor))
        self._request.set_input_tensor(index, tensor)

    def infer(self) -> None:
        gone = [index for index, array in self._bound.items() if array() is None]
        assert not gone, f"inputs {gone} point to memory that was given back"
        self.runs += len(self._bound) > 0
        self._request.infer()

    def get_output_tensor(self, index: int) -> ov.Tensor:
        return self._request.get_output_tensor(index)

    @property
    def output_tensors(self) -> list[ov.Tensor]:
        return self._request.output_tensors


@pytest.mark.parametrize("precision", ["f32", "default"])
def test_borrowed_arrays_outlive_the_pass(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matching chosen pictures once handed over copies that were freed before the pass read them."""
    config = replace(tiny_config("vit"), tasks=TASKS)
    engine = OpenVinoEngine(config, random_tensors(config), None if precision == "default" else precision, threads=1)
    borrowed: dict[int, weakref.ref[Any]] = {}
    requests: list[_Watched] = []
    real_tensor, real_request = states.borrowed, engine._compiler.request

    def tensor(array: Any) -> ov.Tensor:
        made = real_tensor(array)
        borrowed[id(made)] = weakref.ref(array)
        return made

    def request(name: Any, write_graph: Any) -> Any:
        requests.append(_Watched(real_request(name, write_graph), borrowed))
        return requests[-1]

    for module in (running, decoding):
        monkeypatch.setattr(module, "borrowed", tensor)
    monkeypatch.setattr(engine._compiler, "request", request)
    text = engine.config.text
    images = engine.encode_images(random_pixels(engine.config, 4))
    engine.match(images, np.array([2, 0, 2, 3]), *random_texts(engine.config, text.enc_id, [4, 6, 3, 9]))
    engine.relevance(images, np.array([2, 0, 2, 3]), *random_texts(engine.config, text.enc_id, [4, 6, 3, 9]), 0)
    questions = engine.encode_questions(
        images, np.array([2, 0, 2, 3]), *random_texts(engine.config, text.enc_id, [4, 6, 3, 9])
    )
    answers, _ = engine.decode(questions, *random_texts(engine.config, text.dec_id, [1, 1, 1, 1]), 2, 30)
    del questions
    answers.step(np.full((4, 2), 7), np.zeros((4, 2), np.int64))
    answers.keep(np.array([3, 1]))
    answers.step(np.full((2, 2), 7), np.zeros((2, 2), np.int64))
    decode, _ = engine.decode(
        images.take(np.array([3, 1, 0])), *random_texts(engine.config, text.dec_id, [3, 1, 4]), 2, 30
    )
    del images
    parents = np.zeros((3, 2), np.int64)
    decode.step(np.full((3, 2), 7), parents)
    decode.keep(np.array([2, 0]))  # the caches shrink
    for _ in range(20):  # and outgrow their slots
        decode.step(np.full((2, 2), 7), parents[:2])
    assert [run.runs for run in requests] == [1, 2, 2, 2, 3, 22]


def test_the_compile_cache_gives_the_same_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, tensors = tiny_model("vit")
    folder = tmp_path / "compiled"

    def engine(revision: str = "one") -> OpenVinoEngine:
        return OpenVinoEngine(config, tensors, "f32", threads=1, cache_dir=folder, revision=revision)

    first = _some_logits(engine())
    written = sorted(folder.iterdir())
    assert [path.name.split("-")[0] for path in written] == ["decoder", "image_encoder"]

    with monkeypatch.context() as patch:
        patch.setattr(ov.Core, "compile_model", None)  # whoever compiles now fails
        assert_allclose(_some_logits(engine()), first, rtol=0.0, atol=2e-4)
        with pytest.raises(TypeError):
            _some_logits(engine("two"))
    whole = {path: path.read_bytes() for path in written}
    for damaged in (lambda data: data[:1000], lambda data: b"", _with_damaged_weights):
        for path in written:
            path.write_bytes(damaged(whole[path]))
        assert_allclose(_some_logits(engine()), first, rtol=0.0, atol=2e-4)
        for path in written:  # names within a graph differ from one compilation to the next
            assert path.stat().st_size == pytest.approx(len(whole[path]), rel=0.01)
    assert sorted(folder.iterdir()) == written


def _with_damaged_weights(data: bytes) -> bytes:
    """OpenVINO reads such a file without complaint."""
    half = len(data) // 2
    return data[:half] + bytes(byte ^ 0xFF for byte in data[half : half + 1000]) + data[half + 1000 :]
