"""A checkpoint folder, written and read: strict both ways."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.checkpoint import load_checkpoint, open_checkpoint, save_checkpoint
from openblip.config import ModelConfig, tensor_shapes
from openblip.errors import CheckpointError
from openblip.weights import StoredTensors, read_tensors, write_tensors
from tiny import VISION_KINDS, VisionKind, random_tensors, tiny_config, write_vocabulary


def saved(folder: Path, kind: VisionKind = "vit", *, bfloat16: bool = False) -> Path:
    config = tiny_config(kind)
    folder.mkdir(exist_ok=True)
    save_checkpoint(folder / "model", config, random_tensors(config), write_vocabulary(folder), bfloat16=bfloat16)
    return folder / "model"


@pytest.mark.parametrize("kind", VISION_KINDS)
def test_what_is_saved_is_loaded(tmp_path: Path, kind: VisionKind) -> None:
    folder = saved(tmp_path, kind)
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.name, checkpoint.config) == ("model", tiny_config(kind))
    assert load_checkpoint(folder, "other").name == "other"
    expected = random_tensors(checkpoint.config)
    assert checkpoint.tensors.keys() == expected.keys()
    assert all(np.array_equal(checkpoint.tensors[name], value) for name, value in expected.items())
    assert checkpoint.vocabulary.read_text() == (tmp_path / "vocab.txt").read_text()
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"] == {
        "height": checkpoint.config.vision.image_size,
        "width": checkpoint.config.vision.image_size,
    }


def test_the_revision_follows_the_weights(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b", bfloat16=True)
    assert load_checkpoint(first).revision != load_checkpoint(second).revision
    assert len(load_checkpoint(first).revision) == 12


def test_bfloat16_halves_the_file_and_rounds(tmp_path: Path) -> None:
    wide, narrow = saved(tmp_path / "a"), saved(tmp_path / "b", bfloat16=True)
    assert (narrow / "model.safetensors").stat().st_size < 0.6 * (wide / "model.safetensors").stat().st_size
    expected = load_checkpoint(wide).tensors
    for name, value in load_checkpoint(narrow).tensors.items():
        assert np.allclose(value, expected[name], rtol=2**-8, atol=0), name


@given(st.floats(min_value=2.0**-100, max_value=2.0**126, width=32))
def test_bfloat16_is_the_nearest(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.getbasetemp() / "one.safetensors"
    write_tensors(path, {"x": np.float32([value])}, bfloat16=True)
    got = read_tensors(path)["x"]
    bits = int(got.view(np.uint32)[0])
    assert bits % 2**16 == 0
    below, above = (np.uint32([bits + step]).view(np.float32)[0] for step in (-(2**16), 2**16))
    near = [abs(float(other) - value) for other in (below, above) if np.isfinite(other)]
    assert abs(float(got[0]) - value) <= min(near)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("itm.bias"), r"missing itm\.bias \[2\]"),
        (lambda tensors: tensors.update(extra=np.zeros(3)), r"surplus extra \[3\]"),
        (lambda tensors: tensors.update({"itm.bias": np.zeros(3)}), r"misshapen itm\.bias: \[3\] where .* \[2\]"),
        (lambda tensors: tensors.update({"itm.bias": np.array([0, np.nan])}), r"not finite itm\.bias"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: object, message: str) -> None:
    folder = saved(tmp_path)
    tensors = dict(load_checkpoint(folder).tensors)
    change(tensors)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path / "other", tiny_config(), tensors, folder / "vocab.txt")
    assert not (tmp_path / "other").exists()
    write_tensors(folder / "model.safetensors", tensors, bfloat16=False)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "cannot read .*config.json"),
        ("config.json", b"{", "cannot read .*config.json"),
        ("config.json", b'{"model_type": "bert"}', "no config of BLIP .* 'bert'"),
        ("config.json", b'{"model_type": "blip"}', "is for none"),
        ("config.json", b"[]", "holds a list, not settings by name"),
        ("config.json", b'{"model_type": "openblip"}', "not an openblip config"),
        ("vocab.txt", None, "has neither vocab.txt nor tokenizer.json"),
        ("model.safetensors", None, "cannot read .*model.safetensors"),
        ("model.safetensors", b"\0" * 40, "cannot read .*model.safetensors"),
    ],
)
def test_broken_files_are_one_clear_line(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    folder = saved(tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_other_number_types_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"half": np.ones(2, np.float16), "double": np.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="double is stored as F64"):
        read_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("kind", VISION_KINDS)
def test_the_config_survives_json(kind: VisionKind) -> None:
    config = tiny_config(kind)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(CheckpointError, match="unknown keys"):
        ModelConfig.from_dict({**config.to_dict(), "size": 3})
    assert len(tensor_shapes(config)) == len(random_tensors(config))


def test_tensors_are_let_go_of_and_read_again(tmp_path: Path) -> None:
    inner = StoredTensors(lambda: {"x": np.ones(2, np.float32)})
    outer = StoredTensors(lambda: {"x": inner["x"] * 2}, inner)
    assert outer["x"].tolist() == [2, 2]
    outer.release()
    assert (inner._held, outer._held) == (None, None)
    assert list(outer) == ["x"]


def test_a_file_that_is_replaced_before_it_is_read(tmp_path: Path) -> None:
    config = tiny_config("vit")
    save_checkpoint(tmp_path / "model", config, random_tensors(config), write_vocabulary(tmp_path))
    opened = open_checkpoint(tmp_path / "model")
    save_checkpoint(tmp_path / "model", config, random_tensors(config, 1), write_vocabulary(tmp_path))
    with pytest.raises(CheckpointError, match="was replaced since the model was loaded: load it again"):
        opened.tensors.hold()
