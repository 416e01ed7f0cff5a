"""`openblip match`, `answer` and `train`, in this process with a tiny random model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from openblip import cli
from openblip.pipeline import Blip


def test_match(openblip: Any, album: Path, blip: Blip) -> None:
    texts = ["a dog on the grass", "a train", "two birds at sea"]
    expected = blip.match("photo0.jpg", texts)
    best_first = sorted(expected, key=lambda match: -match.probability)
    code, lines, errors = openblip("match", "photo0.jpg", *texts)
    assert (code, errors) == (0, [])
    assert [line.split(" ", 2)[2] for line in lines] == [match.text for match in best_first]
    assert [float(line.split(" ")[0]) for line in lines] == pytest.approx([m.probability for m in best_first], abs=1e-4)
    record = json.loads(openblip("match --json", "photo0.jpg", *texts)[1][0])
    assert record["source"] == "photo0.jpg"
    assert [match["text"] for match in record["matches"]] == [match.text for match in best_first]
    code, lines, errors = openblip("match", "missing.jpg", "a dog")
    assert (code, lines, len(errors)) == (1, [], 1)


def test_answer(openblip: Any, album: Path, blip: Blip) -> None:
    questions = ["is the dog young", "a red hat"]
    expected = blip.answer("photo0.jpg", questions)
    code, lines, errors = openblip("answer", "photo0.jpg", *questions)
    assert (code, errors) == (0, [])
    assert lines == [f"{answer.probability:.4f} {answer.question} {answer.text}" for answer in expected]
    record = json.loads(openblip("answer --json --answer dog --answer cat", "photo0.jpg", questions[0])[1][0])
    [answer] = record["answers"]
    assert {answer["text"], answer["others"][0][0]} == {"dog", "cat"}
    code, lines, errors = openblip("answer", "missing.jpg", "a dog")
    assert (code, lines, len(errors)) == (1, [], 1)


def test_pretrain_is_handed_its_config(
    album: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from openblip.train import loop

    calls: list[tuple[Path, bool]] = []
    monkeypatch.setattr(loop, "run_pretrain", lambda config, *, resume: calls.append((config, resume)))
    assert cli.run(["train", "pretrain", "--config", "mini.toml"]) == 0
    assert cli.run(["train", "pretrain", "--config", "mini.toml", "--resume"]) == 0
    assert calls == [(Path("mini.toml"), False), (Path("mini.toml"), True)]
    assert cli.run(["train", "pretrain"]) == 2


def test_pretrain_without_torch_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "openblip.train.loop", raising=False)
    assert cli.run(["train", "pretrain", "--config", "mini.toml"]) == 1
    assert "pip install openblip[train]" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["train"], ["eval"]])
def test_a_group_without_a_command_shows_its_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Usage: openblip")
    assert "Commands:" in lines
