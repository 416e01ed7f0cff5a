"""benchmarks/: the floor against figures by hand and a counter of operations, the tables of a recorded result, and a
whole run on tiny models."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import bulk, relevance
from benchmarks.floor import Pass, Rates, floor_s, image_keys_values, image_pass, passes
from benchmarks.isa import obeys
from benchmarks.report import markdown, median_s, ratio
from benchmarks.tasks import FIRST, TASKS, agreement, inputs_of
from bulk_photos import write_photos
from noisy import tiny_checkpoint
from openblip import Blip
from openblip.config import ModelConfig, TextConfig, VisionConfig
from openblip.engines.openvino.processor import has_bfloat16

CHECKOUT = Path(__file__).resolve().parent.parent
SMALL = ModelConfig(
    VisionConfig(image_size=32, patch_size=16, width=8, layers=1, heads=2, mlp_width=16),
    TextConfig(vocab_size=10, width=4, layers=1, heads=2, mlp_width=8, max_positions=40),
)


def test_operations_by_hand() -> None:
    # 4 patches of 3 * 16 * 16 values to 8; 5 tokens through 4 * 8 * 8 + 2 * 8 * 16 weights; 5 * 5 scores of 8, twice.
    patch, layer = 3 * 256 * 8, 4 * 64 + 2 * 128
    assert image_pass(SMALL, 2) == Pass(2 * (2 * 4 * patch + 2 * 5 * layer + 4 * 25 * 8), patch + layer)
    assert image_keys_values(SMALL, 1) == Pass(2 * 5 * 64, 64)
    found = passes(SMALL, TASKS["beam3_1"])
    assert len(found) == 2 + 19
    # A layer: 6 * 4 * 4 + 2 * 4 * 8 weights; the head: 4 * 4 + 4 * 10. The first token is fed once, then three beams.
    weights = 160 + 56
    assert found[2] == Pass(2 * weights + 4 * (1 + 5) * 4, weights, 2 * 4 * 5)
    assert found[3] == Pass(3 * (2 * weights + 4 * (2 + 5) * 4), weights, 2 * 4 * (5 + 3 * 1))
    match = passes(SMALL, TASKS["match_64"])
    assert match[2] == Pass(64 * 12 * (2 * 160 + 4 * (12 + 5) * 4), 160, 2 * 4 * 5)
    answer = passes(SMALL, TASKS["questions_8"])
    assert answer[3] == Pass(8 * 8 * 4 * 16, 32)
    assert answer[5] == Pass(8 * (2 * weights + 4 * (2 + 8) * 4), weights, 2 * 4 * (8 * 8 + 8 * 1))


def test_the_floor_takes_the_longer_of_computing_and_reading() -> None:
    task = TASKS["beam3_8"]
    found = passes(SMALL, task)
    operations, weights = sum(each.operations for each in found), sum(each.weights for each in found)
    states = sum(each.states for each in found)
    assert_allclose(floor_s(SMALL, task, "f32", Rates(1e3, 1e12)), operations / 1e3)
    assert_allclose(floor_s(SMALL, task, "f32", Rates(1e12, 1e3)), 4 * (weights + states) / 1e3)
    assert_allclose(floor_s(SMALL, task, "int8", Rates(1e12, 1e3)), (weights + 2 * states) / 1e3)
    assert_allclose(floor_s(SMALL, task, "int8", Rates(1e12, 1e3), state_bytes=4), (weights + 4 * states) / 1e3)


@pytest.mark.parity
def test_operations_are_those_that_transformers_does() -> None:
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes = {**vision, "encoder_hidden_size": 32, "vocab_size": 90, "bos_token_id": 88, "sep_token_id": 3}
    config = transformers.BlipConfig(
        vision_config={**vision, "image_size": 32, "patch_size": 8}, text_config={**sizes, "pad_token_id": 0}
    )
    model = transformers.BlipForImageTextRetrieval(config).eval()
    ours = ModelConfig(
        VisionConfig(image_size=32, patch_size=8, width=32, layers=2, heads=2, mlp_width=64),
        TextConfig(vocab_size=90, width=32, layers=2, heads=2, mlp_width=64),
    )
    counter: Any = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        states = model.vision_model(torch.zeros(1, 3, 32, 32)).last_hidden_state
        seen = counter.get_total_flops()
        model.text_encoder(input_ids=torch.ones(1, 12, dtype=torch.long), encoder_hidden_states=states)
    assert seen == image_pass(ours, 1).operations
    assert counter.get_total_flops() == sum(each.operations for each in passes(ours, FIRST["match"]))


def test_inputs_are_the_same_for_all_and_of_fixed_length() -> None:
    inputs = inputs_of(TASKS["questions_8"], 40)
    assert inputs.pixels.shape == (1, 3, 40, 40)
    assert inputs.tokens.shape == (8, 8)
    assert len({tuple(row) for row in inputs.tokens.tolist()}) == 8
    again = inputs_of(TASKS["beam3_8"], 40)
    np.testing.assert_array_equal(again.pixels[:1], inputs.pixels)
    assert len(np.unique(again.pixels[:, 0, 0, 0])) == 8


def test_agreement_with_the_reference() -> None:
    texts = np.array([[1, 2], [3, 4]])
    assert agreement(TASKS["beam3_8"], texts, texts) == {"same_texts": 1.0}
    assert agreement(TASKS["beam3_8"], texts, np.array([[1, 2], [3, 5]])) == {"same_texts": 0.5}
    assert agreement(TASKS["beam3_8"], texts, texts[:1]) == {"shape_differs": 1.0}
    difference = agreement(TASKS["match_64"], np.zeros((2, 2)), np.array([[0.0, 0.0], [0.0, np.log(3.0)]]))
    assert_allclose(difference["largest_probability_difference"], 0.25)
    assert agreement(TASKS["encode_1"], np.array([0.0, 2.0]), np.array([0.0, 2.0])) == {"relative_error": 0.0}


def test_whether_an_instruction_set_is_obeyed() -> None:
    seen = {"one": "brgemm_avx512_bf16, jit_avx512_f32", "other": "brgemm_avx2_f32, gemm:jit:bf16"}
    assert obeys("native", seen) == {"one": True, "other": True}
    assert obeys("avx512_vnni", seen) == {"one": False, "other": True}
    assert obeys("avx2", seen) == {"one": False, "other": True}


def entry(contender: str, task: str, way: str, *times_s: float, same: float = 1.0) -> dict[str, Any]:
    agrees = {"largest_probability_difference": 0.0} if task == "match_64" else {"same_texts": same}
    return {
        "contender": contender, "task": task, "way": way, "times_s": times_s, "peak_mib": 100.0, "agreement": agrees
    }  # fmt: skip


RUN: dict[str, Any] = {
    "isa": "native",
    "seen": {"torch's kernels": "AVX512"},
    "obeyed": {"torch's kernels": True},
    "rates": {"f32": 1e11, "read": 2e10},
    "floors_s": {"f32": {"beam3_1": 0.2}},
    "loaded": [{"contender": name, "kind": "caption", "loading_s": 1.5, "peak_mib": 900.0, "seen": {}}
               for name in ("transformers-f32", "openblip-f32")],
    "measured": [
        entry("transformers-f32", "beam3_1", "batch", 2.0, 2.4, 9.0),
        entry("openblip-f32", "beam3_1", "batch", 0.4, same=0.0),
        entry("transformers-bf16", "match_64", "calls", 12.0),
        entry("transformers-bf16", "match_64", "repeated", 10.0),
        entry("transformers-bf16", "match_64", "shared", 2.0),
        entry("openblip-f32", "match_64", "shared", 0.5),
    ],
    "failed": [["openblip-bf16", "caption", "no bfloat16 here"]],
}  # fmt: skip
RESULT: dict[str, Any] = {
    "command": "python -m benchmarks.compare", "date": "2026-01-01", "model": "BLIP base, 384 px", "threads": 2,
    "machine": {"cpu": "A CPU", "instructions": ["avx2"], "cores": 2, "memory_gib": 8.0, "load_before": 0.1,
                "python": "3.11.0", "versions": {"torch": "2.0"}},
    "runs": [RUN],
}  # fmt: skip


def test_ratios_of_a_recorded_result() -> None:
    assert median_s(RUN, "transformers-f32", "beam3_1") == 2.4
    assert ratio(RUN, "openblip-f32", "beam3_1", "f32") == pytest.approx(6.0)
    assert ratio(RUN, "openblip-f32", "match_64", "bf16") == pytest.approx(20.0), "the faster plain way counts"
    assert ratio(RUN, "openblip-f32", "match_64", "bf16 used cleverly") == pytest.approx(4.0)
    assert ratio(RUN, "openblip-int8", "beam3_1", "f32") is None


def test_tables_of_a_recorded_result() -> None:
    text = markdown(RESULT)
    assert "| transformers f32 | 2400 | – |" in text
    assert "| transformers bf16, picture encoded once | – | 2000 |" in text
    assert "| **openblip bf16** | – | – |" in text
    assert "openblip bf16, caption: no bfloat16 here" in text
    assert "| beam-3 caption, 1 photo | transformers f32 | 6.0 x | 5 x |" in text
    assert "| 200 ms, 2.0 x |" in text
    assert "| **openblip f32** | – | – | 900 | 1.5 | 0 of 1 |" in text
    assert "python -m benchmarks.compare" in text


def test_plot_of_a_recorded_result(tmp_path: Path) -> None:
    from benchmarks.plot import draw

    draw(RESULT, tmp_path / "made" / "plot.svg")
    drawn = (tmp_path / "made" / "plot.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert "beam-3 caption" in drawn


@pytest.mark.parity
def test_a_whole_run_on_tiny_models(tmp_path: Path) -> None:
    output, plot = tmp_path / "compare.json", tmp_path / "compare.svg"
    command = [
        sys.executable, "-m", "benchmarks.compare", "--quick", "--size", "tiny", "--image-size", "32", "--threads", "2",
        "--tasks", "beam3_1,questions_8", "--contenders", "transformers-f32,openblip-f32,openblip-int8",
        "--work", str(tmp_path / "work"), "--output", str(output), "--plot", str(plot),
    ]  # fmt: skip
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=200)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(output.read_text(encoding="utf-8"))
    [run] = result["runs"]
    assert run["failed"] == []
    ways = {(each["contender"], each["task"], each["way"]) for each in run["measured"]}
    assert ("transformers-f32", "questions_8", "calls") in ways
    assert {each["agreement"]["same_texts"] for each in run["measured"] if "int8" not in each["contender"]} == {1.0}
    assert all(min(each["times_s"]) > 0 and each["peak_mib"] > 1 for each in run["measured"])
    assert run["rates"]["read"] > 1e8
    assert all(run["floors_s"]["f32"][task] > 0 for task in ("beam3_1", "questions_8"))
    assert output.with_suffix(".md").read_text(encoding="utf-8") == markdown(result)
    assert plot.is_file() == (find_spec("matplotlib") is not None)


def test_relevance_is_measured_in_every_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    monkeypatch.setattr("sys.argv", ["relevance", "--model", tiny_checkpoint(tmp_path), "--layer", "0", "--runs", "1"])
    relevance.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[0], row[1]) for row in rows] == [(each, n) for each in ("f32", "bf16", "int8") for n in ("1", "10")]
    assert rows[0][4:] == rows[1][4:] == ["0.0%", "1.0000"]
    assert all(0.1 < float(row[4].rstrip("%")) < 20 and float(row[5]) > 0.9 for row in rows[2:])


def test_unknown_names_are_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "--contenders", "nobody"]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "nobody is unknown" in answer.stderr


def test_a_round_over_many_photos(tmp_path: Path) -> None:
    """Each way captions every photo, and the table holds them against the engine."""
    model = tiny_checkpoint(tmp_path / "model")
    write_photos(tmp_path / "photos", 5)
    ways = bulk._ways(Blip.load(model, precision="f32", threads=1), tmp_path / "photos", tmp_path / "captions.jsonl")
    assert list(ways) == list(bulk.ABOUT)
    rounds = [bulk._round(ways, number, 5) for number in range(2)]
    assert all(figure > 0 for each in rounds for way in each.values() for figure in way.values())
    for each in rounds:
        each["engine"] = {"photos_per_s": 10.0, "cpu_s_a_photo": 0.1}
        each["command"] = {"photos_per_s": 9.5, "cpu_s_a_photo": 0.11}
    described = {"cpu": "none", "cores": 1, "load_before": 0.0}
    table = bulk._table({"photos": 5, "model": "tiny", "rounds": rounds, "machine": described})
    assert "the model loaded | 9.5 | 95% | 110.0 | 110% |" in table
