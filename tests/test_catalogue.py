"""`openblip models`: what is bundled, cached and known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from openblip import cli
from openblip.catalogue import KNOWN, list_models
from openblip.config import SETS, parameters
from published_folders import transformers_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of huggingface_hub with a BLIP, a member of a set, something else and something half there."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder, _ = transformers_folder(tmp_path / "theirs", ("caption",))
    for repository in ("someone/my--blip", "Salesforce/blip-vqa-base", "other/bert", "half/blip"):
        where = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        shutil.copytree(folder, where / "snapshots" / ("a" * 40))
        (where / "refs").mkdir()
        (where / "refs" / "main").write_text("a" * 40)
    (tmp_path / "hub/models--other--bert/snapshots" / ("a" * 40) / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "hub/models--half--blip/snapshots" / ("a" * 40) / "model.safetensors").unlink()
    return tmp_path / "hub"


def test_what_there_is(cache: Path, mini: Path) -> None:
    entries = {entry.name: entry for entry in list_models()}
    members = [name for members in SETS.values() for name in dict.fromkeys(members.values())]
    assert list(entries) == ["mini", *members, "someone/my--blip"]
    assert (entries["mini"].where, entries["mini"].path) == ("bundled", mini)
    blip = entries["someone/my--blip"]
    assert (blip.where, blip.tasks, blip.set) == ("cached", ("caption",), None)
    assert blip.path is not None
    assert blip.disk_bytes == sum(file.stat().st_size for file in blip.path.iterdir())
    vqa, captioner = entries["Salesforce/blip-vqa-base"], entries["Salesforce/blip-image-captioning-base"]
    assert (vqa.where, vqa.set) == ("cached", "base")
    assert (captioner.where, captioner.path, captioner.disk_bytes) == ("not here", None, None)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("Salesforce/blip-image-captioning-base", 224),  # figures of the paper
        ("Salesforce/blip-vqa-base", 361.5),
        ("Salesforce/blip-image-captioning-large", 446),
    ],
)
def test_sizes_of_the_published_ones(name: str, millions: float) -> None:
    assert parameters(KNOWN[name]) / 1e6 == pytest.approx(millions, abs=0.6)
    assert {name for members in SETS.values() for name in members.values()} == set(KNOWN)


def test_the_command(cache: Path, mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "set", "does", "where", "on", "disk", "memory", "f32", "/", "bf16", "/", "int8"]
    assert len(rows) == len(list_models())
    assert next(row for row in rows if row.startswith("Salesforce/blip-image-captioning-base ")).endswith(
        "not here  -        1.6 / 1.3 / 0.7 GB"
    )
    assert cli.run(["models", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)["models"]
    assert [record["name"] for record in records] == [entry.name for entry in list_models()]
    [record] = [record for record in records if record["name"] == "someone/my--blip"]
    assert record["tasks"] == ["caption"]
    assert record["path"].startswith(str(cache))
    assert record["memory_bytes"]["int8"] == 3 * record["parameters"]
