"""torch's files read without torch: equal to what torch reads, and nothing in them is run."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openblip.errors import CheckpointError
from openblip.weights import read_tensors


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_what_torch_saves_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = torch.randn(6, 8)
    tensors = {
        "plain": base,
        "transposed": base.T,
        "slice": base[2:4, 1:7:2],
        "expanded": torch.randn(1, 5).expand(3, 5),
        "shared": base,
        "scalar": torch.tensor(0.07),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(4).half(),
        "bfloat16": torch.randn(4).bfloat16(),
        "double": torch.randn(4).double(),
        "whole": torch.arange(5),
        "flags": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }
    path = save(tmp_path / "model.pth", {"model": tensors, "epoch": 3, "optimizer": {"state": [base * 2]}})
    monkeypatch.setitem(sys.modules, "torch", None)
    found = read_tensors(path)
    monkeypatch.undo()
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = tensor.detach().to(torch.float32).numpy()
        assert (found[name].dtype, found[name].shape) == (np.float32, expected.shape)
        assert np.array_equal(found[name], expected), name


def test_the_state_of_a_module(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    found = read_tensors(save(tmp_path / "pytorch_model.bin", module.state_dict()))
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.to(torch.float32).tolist() for name, value in module.state_dict().items()
    }


class Trap:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("call", [eval, print, exec, __import__, torch.load], ids=lambda call: str(call.__name__))
def test_code_is_not_run(tmp_path: Path, call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "model.pth", {"model": {"x": torch.zeros(1)}, "trap": Trap(call, "print('run')")})
    with pytest.raises(CheckpointError, match=r"holds more than tensors \(it names .*get the weights as safetensors"):
        read_tensors(path)
    assert capsys.readouterr().out == ""


def rewritten(path: Path, data: bytes) -> Path:
    """The same archive with another pickle."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(path.with_suffix(".new"), "w") as target:
        for name in source.namelist():
            target.writestr(name, data if name.endswith("data.pkl") else source.read(name))
    path.with_suffix(".new").replace(path)
    return path


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(0, 9, 1), (5, 4, 1), (0, 4, 3), (-1, 2, 1), (0, 2, -1), (2**40, 1, 1)]
)
def test_tensors_beyond_their_storage(tmp_path: Path, offset: int, size: int, stride: int) -> None:
    path = save(tmp_path / "model.pth", {"x": torch.zeros(8)})

    class Storage:
        pass

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 8) if isinstance(value, Storage) else None

    from io import BytesIO

    from torch._utils import _rebuild_tensor_v2

    stream = BytesIO()
    Pickler(stream, 2).dump({"x": Trap(_rebuild_tensor_v2, Storage(), offset, (size,), (stride,), False, None)})
    with pytest.raises(CheckpointError, match="a tensor reaches beyond its storage"):
        read_tensors(rewritten(path, stream.getvalue()))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a zip file"), (b"PK\x03\x04 and then nothing", "not a zip file"), (b"\x80\x02}q\x00.", "not a zip")],
)
def test_what_is_no_file_of_torch(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"cannot read .*{message}"):
        read_tensors(tmp_path / "model.pth")


@pytest.mark.parametrize("data", [b"", b"\x80", b"nonsense", pickle.dumps([1, 2]), pickle.dumps({"x": "text"})])
def test_broken_pickles(tmp_path: Path, data: bytes) -> None:
    path = rewritten(save(tmp_path / "model.pth", {"x": torch.zeros(8)}), data)
    with pytest.raises(CheckpointError):
        read_tensors(path)


def test_what_is_damaged_never_ends_in_another_error(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pth", {"model": {"weight": torch.randn(4, 4), "bias": torch.zeros(4)}, "epoch": 3})
    with zipfile.ZipFile(path) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            damaged[place] = generator.integers(0, 256)
        try:
            read_tensors(rewritten(path, bytes(damaged)))
        except CheckpointError:
            refused += 1
    assert refused > 200


def test_a_damaged_archive(tmp_path: Path) -> None:
    numbers = torch.randn(64)
    content = bytearray(save(tmp_path / "model.pth", {"x": numbers}).read_bytes())
    content[content.index(numbers.numpy().tobytes()) + 100] ^= 1
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot read"):
        read_tensors(tmp_path / "model.pth")


def test_a_few_numbers_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pth", {"x": torch.zeros(1).expand(2**40)})
    with pytest.raises(CheckpointError, match="a few numbers repeated into a tensor"):
        read_tensors(path)


def test_numbered_tensors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 0, a"):
        read_tensors(save(tmp_path / "optimiser.pth", {0: torch.zeros(3)}))


def test_a_small_file_does_not_unpack_into_a_large_one(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", {"x": torch.zeros(1_000_000)})
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    assert packed.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match="compressed, as torch never does"):
        read_tensors(packed)
