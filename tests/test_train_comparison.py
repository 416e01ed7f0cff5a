"""The comparison of BLIP with other systems: a tiny run of all three, its table, and the table in the documentation."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import comparison
from openblip.train.config import OptimiserConfig
from training import training_config, write_shard

PAGE = Path(__file__).resolve().parent.parent / "docs" / "comparison.md"


def test_a_tiny_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shard = write_shard(tmp_path)
    config = training_config(shard, tmp_path, "mobilenet_v2")
    optimiser = OptimiserConfig(epochs=2, batch=6, warm_up_steps=2, learning_rate=1e-3, frozen_layers=21)
    config = replace(config, optimiser=optimiser, data=replace(config.data, cached_views=1, canvas=64))
    monkeypatch.setattr(comparison, "read_config", lambda path: config)
    vqa = tmp_path / "vqa.json"
    vqa.write_text(json.dumps({"accuracy": 0.25, "prior": 0.125}), encoding="utf-8")
    command = ["comparison", "--config", "tiny.toml", "--dev", str(shard), "--output", str(tmp_path / "runs")]
    command += ["--results", str(tmp_path / "results.json"), "--seeds", "0", "1", "--vqa", str(vqa)]
    monkeypatch.setattr(sys, "argv", command)
    assert comparison.main() == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert printed.strip() == comparison.table(result)
    runs = {(run["system"], run["seed"]): run for run in result["runs"]}
    assert len(runs) == 6
    for seed in (0, 1):
        assert runs["dual-encoder", seed]["captions"] is None
        assert runs["show-and-tell", seed]["retrieval"] is None
        assert runs["dual-encoder", seed]["retrieval"]["itm"] is None
        assert runs["blip", seed]["retrieval"]["itm"]["images"] == 12
        assert runs["blip", seed]["captions"]["images"] == 12
    assert runs["dual-encoder", 0]["parameters"] < runs["blip", 0]["parameters"]
    cells = {line.split(" | ")[0]: line.strip("| ").split(" | ")[1:] for line in printed.splitlines()[2:]}
    ciders = [runs["show-and-tell", seed]["captions"]["cider"] for seed in (0, 1)]
    expected = f"{sum(ciders) / 2:.3f} ({min(ciders):.3f} to {max(ciders):.3f})"
    assert cells["| captions: CIDEr-D"][1:] == ["cannot", expected]
    assert cells["| retrieval: text to image R@1, ITC"][2] == "cannot"
    assert cells["| retrieval: image to text R@1, best 16 by ITM"][1:] == ["cannot", "cannot"]
    assert cells["| answers: VQA accuracy, after fine-tuning"] == ["0.250 (prior 0.125)", "cannot", "cannot"]

    def trained_again(*arguments: Any) -> None:
        raise AssertionError("what was measured is not done again")

    monkeypatch.setattr(comparison, "_train", trained_again)
    assert comparison.main() == 0
    assert capsys.readouterr().out == printed


def test_the_table_of_the_page_is_what_was_measured() -> None:
    result = json.loads(comparison.RESULTS.read_text("utf-8")) if comparison.RESULTS.exists() else None
    found = re.search(r"-m benchmarks\.comparison -->\n\n(.*?)\n\n<!-- end", PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    assert found[1] == comparison.table(result)


def test_what_was_not_measured_is_said_and_what_cannot_be_done_too() -> None:
    lines = comparison.table(None).splitlines()
    assert sum(line.count(comparison.NOT_YET) for line in lines) == 4 * 2 + 3 * 2 + 2 * 1 + 2 * 3 + 1
    assert sum(line.count(comparison.CANNOT) for line in lines) == 4 + 3 + 2 * 2 + 2
