"""`openblip verify` with tiny stand-ins for the published checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from openblip import Blip, cli
from openblip.checkpoint import save_checkpoint
from openblip.config import SETS, TASKS, Task
from openblip.errors import ModelNotFound
from openblip.types import GenerateOptions
from openblip.verify import REFERENCES, Reference
from openblip.verify import verify as checks
from published_folders import config_for, transformers_folder
from tiny import random_tensors, write_vocabulary

QUESTION, TEXT = "how many dogs are in the picture?", "A woman and her dog sitting in a beach"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    folder = tmp_path_factory.mktemp("model")
    config = config_for(TASKS)
    save_checkpoint(folder / "tiny", config, random_tensors(config), write_vocabulary(folder))
    return Blip.load(folder / "tiny", precision="f32", threads=1)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.new("RGB", (40, 30), (20, 120, 200)).save(tmp_path / "sea.png")
    return str(tmp_path / "sea.png")


def own_references(blip: Blip, photo: str) -> tuple[Reference, ...]:
    """What the stand-in gives, as if that had been published."""
    greedy = GenerateOptions(num_beams=1, max_length=20, min_length=0)
    [match] = blip.match(photo, TEXT)
    return (
        Reference("caption", "", blip.caption(photo, options=greedy)[0].text),
        Reference("caption", "a picture of", blip.caption(photo, "a picture of", greedy)[0].text),
        Reference("answer", QUESTION, blip.answer(photo, QUESTION, greedy)[0].text),
        Reference("match", TEXT, (match.probability, match.similarity)),
    )


def run(blip: Blip, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and how the model was asked for."""
    asked: dict[str, Any] = {}

    def load(name: str, **settings: Any) -> Blip:
        asked.update(settings, name=name)
        return blip

    monkeypatch.setattr(Blip, "load", load)
    return cli.run(["verify", *arguments]), asked


def test_all_matches(
    blip: Blip, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(REFERENCES, "base", own_references(blip, photo))
    code, asked = run(blip, monkeypatch, "base", "--image", photo)
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert asked == {
        "name": "base", "engine": "openvino", "precision": "f32", "threads": None, "special_tokens": "transformers",
    }  # fmt: skip
    assert [line.split(":")[0] for line in lines] == [
        "caption",
        "caption 'a picture of'",
        f"answer '{QUESTION}'",
        f"ITM of '{TEXT}'",
        f"ITC of '{TEXT}'",
    ]
    assert all(": matches '" in line for line in lines)


def test_scores_are_held_to_a_thousandth(blip: Blip, photo: str) -> None:
    [match] = blip.match(photo, TEXT)
    for change, matched in ((0.0009, True), (0.003, False)):
        reference = Reference("match", TEXT, (match.probability + change, match.similarity))
        itm, itc = checks(blip, photo, [reference])
        assert (itm.matched, itc.matched) == (matched, True)


def test_a_stand_in_matches_nothing_that_was_published(
    blip: Blip, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = run(blip, monkeypatch, "base", "--image", photo)
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert len(lines) == 5
    assert all(": differs: " in line for line in lines)
    assert "instead of 'a woman sitting on the beach with her dog'" in lines[0]
    code, _ = run(blip, monkeypatch, "base", "--image", photo, "--json")
    record = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [check["expected"] for check in record["checks"]] == [
        "a woman sitting on the beach with her dog",
        "a picture of a woman and her dog on the beach",
        "1",
        "0.9971",
        "0.5162",
    ]


def test_a_checkpoint_that_is_not_here_fails_its_lines_alone(
    blip: Blip, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ModelNotFound("it is not here")

    references = own_references(blip, photo)
    monkeypatch.setattr(blip, "answer", missing)
    found = list(checks(blip, photo, references))
    assert [check.matched for check in found] == [True, True, False, True, True]
    assert found[2].found == "it is not here"


def test_a_set_in_the_cache(
    tmp_path: Path, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way: three cached checkpoints, of which one is not there."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    parts: dict[str, tuple[Task, ...]] = {
        SETS["base"]["caption"]: ("caption",),
        SETS["base"]["match"]: ("match", "embed"),
    }
    for repository, tasks in parts.items():
        folder, _ = transformers_folder(tmp_path / "-".join(tasks), tasks)
        where = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        shutil.copytree(folder, where / "snapshots" / ("a" * 40))
        (where / "refs").mkdir()
        (where / "refs" / "main").write_text("a" * 40)
    assert cli.run(["verify", "base", "--image", photo]) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert (len(lines), captured.err) == (5, "")
    assert "run 'openblip pull Salesforce/blip-vqa-base', or 'openblip pull base' for its whole set" in lines[2]
    assert all(": differs: " in line for line in lines)


def test_the_picture_is_asked_for_at_the_hub(
    blip: Blip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _ = run(blip, monkeypatch, "base")
    [line] = capsys.readouterr().err.splitlines()
    assert code == 1
    assert "http://127.0.0.1:9/hf-internal-testing/blip-test-image/resolve/main/demo.jpg cannot be downloaded" in line
    assert line.endswith("or give a copy of the picture with --image")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert run(blip, monkeypatch, "base")[0] == 2
    assert "HF_HUB_OFFLINE is set: give a copy of" in capsys.readouterr().err
