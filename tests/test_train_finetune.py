"""Fine-tuning runs: each task learns, resumes exactly, stops early, and can be looked at first."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finetuning import asked_folder, captioned_folder, finetuner, settings, tiny_checkpoint
from openblip import Blip
from openblip.checkpoint import load_checkpoint
from openblip.datasets.examples import Question
from openblip.errors import DataError, OptionError, TrainingError
from openblip.train.dev import accuracy
from openblip.train.dry_run import dry_run, duration, unknown_words
from openblip.train.finetune import Finetuner, run_finetune
from openblip.train.finetune_config import FinetuneConfig, peak_rate, read_finetune_config
from openblip.train.views import FrozenFeatures

TASKS = {"caption": ("lm", ("caption",)), "vqa": ("answer", ("answer",)), "retrieval": ("itc", ("match", "embed"))}


def data_for(task: str, folder: Path, seed: int = 0) -> Path:
    return asked_folder(folder, seed=seed) if task == "vqa" else captioned_folder(folder, seed=seed)


@pytest.mark.parametrize("task", TASKS)
def test_each_task_learns_and_writes_a_checkpoint_that_loads(task: str, tmp_path: Path) -> None:
    loss, tasks = TASKS[task]
    data, dev = data_for(task, tmp_path / "data"), data_for(task, tmp_path / "dev", seed=1)
    config = settings(
        task, data, tiny_checkpoint(tmp_path), tmp_path / "run", dev=(str(dev),), epochs=25, learning_rate=5e-3,
        dropout=0.0, patience=0, layer_decay=1.0, ema=0.8,
    )  # fmt: skip
    folder = run_finetune(config)
    losses = [line[loss] for line in json.loads((tmp_path / "run" / "log.json").read_text()) if loss in line]
    assert sum(losses[-3:]) / 3 < 0.7 * sum(losses[:3]) / 3
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config.tasks == tasks
    told = json.loads((folder / "training.json").read_text())
    assert told["start"]["name"] == "start"
    assert len(told["start"]["revision"]) == 12
    assert told["settings"]["data"] == [str(data)]
    blip = Blip.load(folder, engine="torch")
    picture = sorted(dev.glob("*.png"))[0]
    if task == "caption":
        assert "red" in blip.caption(picture)[0].text
    elif task == "vqa":
        assert blip.answer(picture, "a picture of")[0].text == "red"
    else:
        texts = [f"a {colour} dog sits on the grass" for colour in ("red", "blue")]
        red, blue = blip.match(picture, texts)
        assert red.similarity > blue.similarity
    with pytest.raises(TrainingError, match="--resume"):
        run_finetune(config)


VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("caption", "vit", {"accumulate": 1, "texts_per_image": 1}),
    ("caption", "vit", {"self_critical": 2, "epochs": 2, "proposals": 2}),
    ("caption", "mobilenet_v2", {"freeze": ("backbone",), "views": 2}),
    ("vqa", "vit", {"freeze": ("vision",), "views": 1, "augment": False}),
    ("retrieval", "vit", {}),
]


@pytest.mark.parametrize(("task", "kind", "changes"), VARIANTS)
def test_a_resumed_run_repeats_an_uninterrupted_one(
    task: str, kind: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, dev = data_for(task, tmp_path / "data"), data_for(task, tmp_path / "dev", seed=1)
    start = tiny_checkpoint(tmp_path, kind=kind)
    config = settings(task, data, start, tmp_path / "a", dev=(str(dev),), **{"epochs": 3, "patience": 0, **changes})
    whole = finetuner(config)
    whole.run()
    other = replace(config, output=str(tmp_path / "b"))
    first = finetuner(other)
    original = first._step
    # In the second epoch, or in the first self-critical one.
    stop_at = 7 if "self_critical" in changes else 4

    def stop_within_an_epoch() -> None:
        original()
        if first.progress.step == stop_at:
            first.save_midway()
            raise KeyboardInterrupt

    monkeypatch.setattr(first, "_step", stop_within_an_epoch)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    resumed = finetuner(other)
    resumed.restore()
    assert resumed.progress.step == stop_at
    resumed.run()
    # The line of the step after which it stopped was not written any more.
    told = [
        [{name: line[name] for name in line if name != "pictures_a_second"} for line in run.log]
        for run in (whole, resumed)
    ]
    assert [line for line in told[0] if line["step"] != stop_at] == told[1]
    assert len(told[1]) > 9
    assert (whole.best, whole.best_epoch) == (resumed.best, resumed.best_epoch)
    for name, value in whole.objective.state_dict().items():
        assert torch.equal(value, resumed.objective.state_dict()[name]), name
    one, two = (load_checkpoint(Path(run.config.output) / "checkpoint").tensors for run in (whole, resumed))
    assert all((one[name] == two[name]).all() for name in one)


def judged(run: Finetuner, monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[int]:
    """The dev scores come from the list; returns the epochs whose checkpoint was saved, as they come."""
    left, saved = iter(scores), list[int]()
    monkeypatch.setattr(run, "_measured", lambda: next(left))
    original = run.save

    def save(*, checkpoint: bool = True) -> None:
        if checkpoint:
            saved.append(run.progress.epoch)
        original(checkpoint=checkpoint)

    monkeypatch.setattr(run, "save", save)
    return saved


def test_learning_stops_when_nothing_gets_better_and_the_best_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, dev = captioned_folder(tmp_path / "data"), captioned_folder(tmp_path / "dev", seed=1)
    config = settings(
        "caption", data, tiny_checkpoint(tmp_path), tmp_path / "run", dev=(str(dev),), epochs=9, patience=2
    )
    run = finetuner(config)
    saved = judged(run, monkeypatch, [0.0, 0.3, 0.5, 0.4, 0.5, 0.9])
    run.run()
    assert saved == [1, 2]
    assert (run.best, run.best_epoch) == (0.5, 2)
    run.finish()
    err = capsys.readouterr().err
    assert "no better for 2 epochs: the best was epoch 2" in err
    assert "best: CIDEr 0.500 after epoch 2" in err
    told = json.loads((tmp_path / "run" / "checkpoint" / "training.json").read_text())
    assert told["epoch"] == 2
    assert told["dev"]["CIDEr"] == 0.5


def test_self_critical_training_goes_on_from_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, dev = captioned_folder(tmp_path / "data"), captioned_folder(tmp_path / "dev", seed=1)
    config = settings(
        "caption", data, tiny_checkpoint(tmp_path), tmp_path / "run", dev=(str(dev),), epochs=9, patience=1,
        self_critical=2, proposals=2, dropout=0.3,
    )  # fmt: skip
    run = finetuner(config)
    judged(run, monkeypatch, [0.0, 0.5, 0.4, 0.3, 0.6])
    seen: list[dict[str, torch.Tensor]] = []
    original = run._go_critical

    def go(step: int) -> None:
        seen.append({name: value.clone() for name, value in run.objective.model.state_dict().items()})
        original(step)

    monkeypatch.setattr(run, "_go_critical", go)
    run.config = replace(config, patience=2)  # the self-critical stage may wait longer
    run.config = config
    run.run()
    assert "self-critical training from the checkpoint of epoch 1" in capsys.readouterr().err
    assert run.critical_since == 6
    assert any("cider" in line for line in run.log)
    assert {module.dropout for module in run.objective.model.modules() if hasattr(module, "drop_path")} == {0.0}


def test_a_dry_run_counts_measures_and_leaves_nothing(tmp_path: Path) -> None:
    data = captioned_folder(tmp_path / "data")
    (data / "photo_000.txt").write_text("a zeppelin " + "on the grass " * 20 + "\n", encoding="utf-8")
    config = settings("caption", data, tiny_checkpoint(tmp_path), tmp_path / "run")
    lines, usable = dry_run(config)
    report = "\n".join(lines)
    assert usable
    assert "data: 12 pictures, 23 captions" in report
    assert "no dev pictures: nothing tells" in report
    assert "1 of 23 are longer than 16 and are cut" in report
    assert "words that the model has no pieces for: 1, 1 times: zeppelin (1)" in report
    assert "4 pictures with 2 texts each, 1 times; 3 an epoch, 6 in all" in report
    assert "the step on the largest batch took" in report
    assert "memory: this process took" in report
    assert not (tmp_path / "run").exists()
    (data / "photo_001.txt").unlink()
    lines, usable = dry_run(config)
    assert not usable
    assert "entries that cannot be used: 1" in lines
    assert dry_run(replace(config, skip_broken=True))[1]


@pytest.mark.parametrize("task", ["vqa", "retrieval"])
def test_a_dry_run_knows_every_task(task: str, tmp_path: Path) -> None:
    config = settings(task, data_for(task, tmp_path / "data"), tiny_checkpoint(tmp_path), tmp_path / "run")
    lines, usable = dry_run(replace(config, dev_share=0.25))
    assert usable
    assert any(line.startswith("dev: 3 pictures") for line in lines)
    assert any(line.startswith("3 dev pictures are few") for line in lines)
    assert duration(30) == "30 seconds"
    assert duration(600) == "10.0 minutes"
    assert duration(36000) == "10.0 hours"


def test_frozen_parts_stay_and_are_computed_once(tmp_path: Path) -> None:
    data, start = captioned_folder(tmp_path / "data"), tiny_checkpoint(tmp_path)
    config = settings("caption", data, start, tmp_path / "run", freeze=("vision",), views=1, augment=False, epochs=3)
    run = finetuner(config)
    assert run.cache is not None
    calls = 0
    original = run.objective.model.vision.forward

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(*arguments)

    run.objective.model.vision.forward = counted  # type: ignore[method-assign]
    run.run()
    assert calls == 1
    before, after = load_checkpoint(start).tensors, load_checkpoint(tmp_path / "run" / "checkpoint").tensors
    for name in after:
        assert (before[name] == after[name]).all() == name.startswith("vision."), name


def test_a_frozen_backbone_is_kept_with_windows(tmp_path: Path) -> None:
    data, start = captioned_folder(tmp_path / "data"), tiny_checkpoint(tmp_path, kind="mobilenet_v2")
    run = finetuner(settings("caption", data, start, tmp_path / "run", freeze=("backbone",), views=2, epochs=1))
    assert isinstance(run.cache, FrozenFeatures)
    assert run.cache.values.shape == (2, 12, 3, 3, 1280)
    run.run()
    assert run.cache.done == {0}
    names = {name for name, value in run.objective.model.named_parameters() if value.grad is not None}
    assert not any(".backbone." in name for name in names)


def test_kept_tasks_are_in_the_result_unharmed(tmp_path: Path) -> None:
    data, start = asked_folder(tmp_path / "data"), tiny_checkpoint(tmp_path)
    config = settings("vqa", data, start, tmp_path / "run", keep_tasks=True, freeze=("vision", "text"), epochs=1)
    folder = run_finetune(config)
    after, before = load_checkpoint(folder), load_checkpoint(start).tensors
    assert after.config.tasks == ("caption", "match", "embed", "answer")
    assert all((after.tensors[name] == before[name]).all() for name in before)


def test_tensorboard_gets_losses_scores_and_samples(tmp_path: Path) -> None:
    data, dev = captioned_folder(tmp_path / "data"), captioned_folder(tmp_path / "dev", seed=1)
    config = settings(
        "caption", data, tiny_checkpoint(tmp_path), tmp_path / "run", dev=(str(dev),), tensorboard=True, samples=2,
        epochs=2,
    )  # fmt: skip
    run_finetune(config)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/lm", "train/rate", "dev/CIDEr"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("train/lm")] == [1, 2, 3, 4, 5, 6]
    assert "samples/text_summary" in tags["tensors"]


def test_samples_are_shown_as_it_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = captioned_folder(tmp_path / "data")
    config = settings("caption", data, tiny_checkpoint(tmp_path), tmp_path / "run", samples=2, epochs=1)
    run_finetune(config)
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  photo_")]
    assert len(shown) == 2
    assert shown[0].endswith("(expected: a red dog sits on the grass)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "captions"}, "task = 'captions' is unknown"),
        ({"epochs": 0}, "epochs = 0 is out of range"),
        ({"freeze": ("image",)}, "freeze = 'image' is unknown: give one of none, backbone"),
        ({"dev": ("a",), "dev_share": 0.1}, "dev and dev_share exclude each other"),
        ({"task": "vqa", "self_critical": 1}, "self_critical is for captions"),
        ({"task": "retrieval", "prompt": "a"}, "prompt is for captions"),
        ({"task": "retrieval", "batch": 1}, "no wrong pairs"),
        ({"views": 1}, "add freeze vision"),
        ({"shard": True, "self_critical": 1}, "exclude each other"),
        ({"ema": 1.0}, "ema = 1.0"),
        ({"device": "tpu"}, "device = 'tpu'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        FinetuneConfig(**changes)


def test_options_overrule_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('data = ["a.csv"]\nepochs = 3\nfreeze = ["vision"]\nlearning_rate = 1\n', encoding="utf-8")
    config = read_finetune_config(path, "vqa", {"epochs": 4})
    assert (config.data, config.epochs, config.learning_rate, config.output) == (("a.csv",), 4, 1.0, "runs/vqa")
    assert config.frozen == ("vision",)
    assert read_finetune_config(path, "vqa", {"freeze": ("none",)}).frozen == ()
    path.write_text('task = "vqa"\n', encoding="utf-8")
    with pytest.raises(OptionError, match="run 'openblip train vqa'"):
        read_finetune_config(path, "caption", {})
    path.write_text("speed = 3\n", encoding="utf-8")
    with pytest.raises(OptionError, match="unknown setting speed"):
        read_finetune_config(path, "caption", {})
    assert peak_rate("caption", 768) == 1e-5
    assert peak_rate("vqa", 384) == pytest.approx(8e-5)


def test_a_resumed_run_must_have_the_same_data(tmp_path: Path) -> None:
    data, dev = captioned_folder(tmp_path / "data"), captioned_folder(tmp_path / "dev", seed=1)
    config = settings("caption", data, tiny_checkpoint(tmp_path), tmp_path / "run", dev=(str(dev),))
    finetuner(config).save()
    finetuner(replace(config, samples=1)).restore()
    with pytest.raises(TrainingError, match=r"label_smoothing was 0\.1, is 0\.2"):
        finetuner(replace(config, label_smoothing=0.2)).restore()
    (dev / "photo_000.txt").write_text("a dog\n")
    with pytest.raises(TrainingError, match="the dev data no longer hold"):
        finetuner(config).restore()
    (data / "photo_000.txt").write_text("a dog\n")
    with pytest.raises(TrainingError, match="the data no longer hold"):
        finetuner(config).restore()
    with pytest.raises(TrainingError, match="without --resume"):
        run_finetune(replace(config, output=str(tmp_path / "none")), resume=True)


def test_too_few_pictures_for_a_batch_make_a_smaller_one(tmp_path: Path) -> None:
    data, start = captioned_folder(tmp_path / "data"), tiny_checkpoint(tmp_path)
    assert finetuner(settings("caption", data, start, tmp_path / "run", batch=64)).steps.batch == 12
    for path in sorted(data.glob("*.txt"))[1:]:
        path.unlink()
        path.with_suffix(".png").unlink()
    with pytest.raises(DataError, match="no wrong pairs"):
        finetuner(settings("retrieval", data, start, tmp_path / "run"))


def test_accuracy_is_by_what_people_agree_on() -> None:
    people = Question("what", (("dog", 0.8), ("cat", 0.2)), 10)
    assert accuracy("A dog.", people) == 1.0
    assert accuracy("cat", people) == pytest.approx(0.6)  # VQA v2: each person's own vote aside
    assert accuracy("bird", people) == 0.0
    weighed = Question("what", (("dog", 0.75), ("cat", 0.25)))
    assert accuracy("dog", weighed) == 1.0
    assert accuracy("cat", weighed) == pytest.approx(1 / 3)
    assert accuracy("dog", Question("what", (("dog", 1.0),), 1)) == 1.0


def test_unknown_words_are_counted(tmp_path: Path) -> None:
    run = finetuner(settings("caption", captioned_folder(tmp_path / "d"), tiny_checkpoint(tmp_path), tmp_path / "r"))
    assert unknown_words(["a dog", "a Zeppelin zeppelin", "xylophone"], run.tokenizer) == {
        "zeppelin": 2,
        "xylophone": 1,
    }


def test_the_command_learns_stops_at_ctrl_c_and_goes_on(tmp_path: Path) -> None:
    data, start = captioned_folder(tmp_path / "data"), tiny_checkpoint(tmp_path)
    command = [
        sys.executable, "-m", "openblip", "train", "caption", "--data", str(data), "--model", str(start), "--output",
        str(tmp_path / "run"), "--epochs", "3000", "--batch", "4", "--device", "cpu", "--threads", "1", "--samples",
        "0", "--no-tensorboard", "--patience", "0", "--log-steps", "1",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                break
        process.send_signal(signal.SIGINT)
        lines = list(filter(None, process.stderr.read().splitlines()))
        assert process.wait(60) == 130
    assert any(line.startswith("saved at step ") for line in lines)
    again = subprocess.run([*command, "--resume", "--epochs", "4"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "epochs was 3000, is 4" in again.stderr


def test_the_command_reports_broken_data_in_lines(tmp_path: Path) -> None:
    data, start = captioned_folder(tmp_path / "data"), tiny_checkpoint(tmp_path)
    (data / "photo_003.png").write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(data / "without.png")
    command = [sys.executable, "-m", "openblip", "train", "caption", "--data", str(data), "--model", str(start)]
    answer = subprocess.run(
        [*command, "--output", str(tmp_path / "run")], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert answer.returncode == 1
    lines = answer.stderr.splitlines()
    without, broken, last = lines
    assert "without.png: there is no without.txt beside it" in without and "photo_003.png" in broken  # noqa: PT018
    assert last.startswith("openblip: error: 2 entries of the data cannot be used")
    dry = subprocess.run([*command, "--dry-run", "--skip-broken"], capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr
    assert "entries that cannot be used: 2" in dry.stdout
