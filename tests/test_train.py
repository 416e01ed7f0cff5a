"""The training loop: exact resume, saving, what is refused; its data, optimiser and progress line."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openblip.checkpoint import load_checkpoint
from openblip.config import mobilenet_v2_layers
from openblip.engines.torch.model import BlipModel
from openblip.errors import CheckpointError, DataError, TrainingError
from openblip.train import progress
from openblip.train.config import DataConfig, OptimiserConfig
from openblip.train.data import FrozenFeatures, Picture, Views, augment, index_shards, read_texts, read_views
from openblip.train.loop import Trainer, run_pretrain
from openblip.train.optimiser import make_optimiser, rate_at
from openblip.train.progress import Meter, Progress
from openblip.weights import write_tensors
from tiny import TINY_VOCABULARY, VisionKind, tiny_config
from training import toml, training_config, write_shard


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("shards"))


@pytest.mark.parametrize("kind", ["vit", "mobilenet_v2"])
def test_a_resumed_run_repeats_the_losses_of_an_uninterrupted_one(
    shard: Path, tmp_path: Path, kind: VisionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = {} if kind == "vit" else {"frozen_layers": 21}
    changes = {
        "optimiser": OptimiserConfig(epochs=2, batch=4, warm_up_steps=2, drop_path=0.2, text_warm_up_epochs=1, **frozen)
    }
    if kind == "mobilenet_v2":
        data = training_config(shard, tmp_path).data
        changes["data"] = replace(data, cached_views=2, canvas=96)  # type: ignore[assignment]
    whole = Trainer(training_config(shard, tmp_path / "a", kind, **changes))
    whole.run()

    interrupted = Trainer(training_config(shard, tmp_path / "b", kind, **changes))
    original = interrupted._step

    def stop_after_four() -> None:
        original()
        if interrupted.progress.step == 4:
            interrupted.save()
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "_step", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    resumed = Trainer(training_config(shard, tmp_path / "b", kind, **changes))
    resumed.restore()
    assert resumed.progress.step == 4
    resumed.run()
    names = ("step", "itc", "itm", "lm")
    expected = [[line[name] for name in names] for line in whole.log][4:]
    assert len(expected) == 2
    assert [[line[name] for name in names] for line in resumed.log][-2:] == expected
    for name, value in whole.objective.state_dict().items():
        assert torch.equal(value, resumed.objective.state_dict()[name]), name


def test_training_learns_and_writes_a_checkpoint_that_loads(shard: Path, tmp_path: Path) -> None:
    optimiser = OptimiserConfig(epochs=30, batch=6, accumulate=2, warm_up_steps=5, learning_rate=3e-3, dropout=0.0)
    config = training_config(shard, tmp_path, optimiser=optimiser)
    path = tmp_path / "config.toml"
    path.write_text(toml(config, epochs=30), encoding="utf-8")
    folder = run_pretrain(path)
    log = json.loads((folder.parent / "log.json").read_text())
    assert log[-1]["lm"] < 0.75 * log[0]["lm"]
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config.text.vocab_size == len(TINY_VOCABULARY)
    with pytest.raises(TrainingError, match="--resume"):
        run_pretrain(path)


def test_frozen_layers_do_not_move_and_the_backbone_learns_slowly() -> None:
    model = BlipModel(tiny_config("mobilenet_v2"))
    for layer in range(21):
        model.vision.backbone[str(layer)].requires_grad_(False)
    optimiser = make_optimiser(model, OptimiserConfig(learning_rate=1.0, backbone_rate=0.1))
    rates = {id(parameter): group["peak"] for group in optimiser.param_groups for parameter in group["params"]}
    names = dict(model.named_parameters())
    assert id(names["vision.backbone.20.weight"]) not in rates
    assert rates[id(names["vision.backbone.21.weight"])] == 0.1
    assert rates[id(names["text.tokens.weight"])] == 1.0
    decays = {id(parameter): group["weight_decay"] for group in optimiser.param_groups for parameter in group["params"]}
    assert decays[id(names["text.norm.weight"])] == decays[id(names["itc.temperature"])] == 0


def test_learning_rate_warms_up_and_decays_to_its_floor() -> None:
    config = OptimiserConfig(warm_up_steps=10, final_share=0.1)
    rates = [rate_at(step, config, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1
    assert rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_a_picture_whose_caption_tells_left_from_right_is_not_mirrored() -> None:
    assert Picture(Path("x"), 0, 0, ("a dog runs to the left",)).sided
    assert Picture(Path("x"), 0, 0, ("a dog", "the right-hand man")).sided
    assert Picture(Path("x"), 0, 0, ("on the left, a dog",)).sided
    assert not Picture(Path("x"), 0, 0, ("a bright leftover lunch",)).sided
    image = Image.new("L", (64, 64)).convert("RGB")
    image.paste((255, 255, 255), (0, 0, 32, 64))
    config = DataConfig(crop_area=0.9, colour_jitter=0.1)

    def left_is_brighter(seed: int, may_mirror: bool) -> bool:
        pixels = np.asarray(augment(image, np.random.default_rng(seed), config, may_mirror=may_mirror), dtype=float)
        half = pixels.shape[1] // 2
        return bool(pixels[:, :half].mean() > pixels[:, half:].mean())

    assert all(left_is_brighter(seed, False) for seed in range(30))
    assert 5 < sum(left_is_brighter(seed, True) for seed in range(30)) < 25


def test_cached_features_equal_the_backbone_on_the_same_window(tmp_path: Path) -> None:
    config = tiny_config("mobilenet_v2").vision
    features = FrozenFeatures(tmp_path, DataConfig(cached_views=1, canvas=64), 2, config, 21)
    model = BlipModel(tiny_config("mobilenet_v2"))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.vision.backbone.run(pixels, 0, 21)
    features.write(0, 0, expected)
    features.mark(0)
    reopened = FrozenFeatures(tmp_path, DataConfig(cached_views=1, canvas=64), 2, config, 21)
    assert reopened.done == {0}
    got = reopened.read(0, np.array([1, 0]), np.random.default_rng(0)).float()
    assert torch.allclose(got, expected[[1, 0]].bfloat16().float())


def test_data_errors_are_clear(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"not a tar" * 100)
    with pytest.raises(DataError, match=r"broken\.tar"):
        index_shards([broken])
    with pytest.raises(DataError, match=r"data\.shards is empty"):
        index_shards([])
    with pytest.raises(DataError, match="no shards at"):
        Trainer(replace(training_config(tmp_path / "none-*.tar", tmp_path), optimiser=OptimiserConfig(epochs=1)))


def test_resume_without_a_run_is_an_error(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="without --resume"):
        Trainer(training_config(shard, tmp_path)).restore()


def test_a_resumed_run_must_be_the_same_run(shard: Path, tmp_path: Path) -> None:
    config = training_config(shard, tmp_path)
    Trainer(config).save()
    Trainer(replace(config, log_steps=7, save_minutes=1.0)).restore()
    with pytest.raises(TrainingError, match=r"optimiser\.batch was 4, is 3"):
        Trainer(replace(config, optimiser=replace(config.optimiser, batch=3))).restore()
    vocabulary = Path(config.data.vocabulary)
    vocabulary.write_text("\n".join((*TINY_VOCABULARY[:-2], *TINY_VOCABULARY[:-3:-1])) + "\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"vocabulary\.txt is not the run's"):
        Trainer(config).restore()
    resume = tmp_path / "run" / "resume.pt"
    resume.write_bytes(resume.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="cannot resume from") as caught:
        Trainer(config).restore()
    assert "\n" not in str(caught.value)


def test_ctrl_c_ends_the_step_saves_and_says_so_in_one_line(shard: Path, tmp_path: Path) -> None:
    config = training_config(shard, tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(toml(config, epochs=100_000), encoding="utf-8")
    command = [sys.executable, "-m", "openblip", "train", "pretrain", "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch "):
                break
        process.send_signal(signal.SIGINT)
        lines = list(filter(None, process.stderr.read().splitlines()))  # click ends the line of the ^C
        assert process.wait(60) == 130
    assert lines[-1] == "openblip: error: interrupted"
    [saved] = [line for line in lines if line.startswith("saved at step ")]
    state = torch.load(Path(config.output) / "resume.pt", weights_only=True)
    assert saved == f"saved at step {state['progress']['step']}: --resume goes on from there"
    assert state["progress"]["step"] > 0


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(shard: Path, tmp_path: Path) -> None:
    trainer = Trainer(training_config(shard, tmp_path))
    with torch.no_grad():
        trainer.objective.model.itm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss became nan at step 0: lower optimiser\.learning_rate"):
        trainer.run()
    assert not (tmp_path / "run" / "resume.pt").exists()


def test_an_epoch_without_a_whole_step_is_an_error(shard: Path, tmp_path: Path) -> None:
    optimiser = OptimiserConfig(epochs=1, batch=4, accumulate=4)
    with pytest.raises(TrainingError, match="holds no step"):
        Trainer(training_config(shard, tmp_path, optimiser=optimiser))
    with pytest.raises(DataError, match="raise the batch"):
        Trainer(training_config(shard, tmp_path, optimiser=replace(optimiser, batch=1)))


def test_a_run_starts_from_a_checkpoint_of_its_sizes_and_vocabulary(shard: Path, tmp_path: Path) -> None:
    first = Trainer(training_config(shard, tmp_path / "a"))
    first.save()
    config = training_config(shard, tmp_path / "b")
    data = replace(config.data, vocabulary="")
    config = replace(config, start=str(tmp_path / "a" / "run" / "checkpoint"), data=data)
    second = Trainer(config)
    assert second.vocabulary.read_text().split() == list(TINY_VOCABULARY)
    for name, value in first.objective.averaged.state_dict().items():
        assert torch.equal(value, second.objective.model.state_dict()[name]), name
    other = replace(config.model, projection=12)
    with pytest.raises(TrainingError, match=r"other sizes .* projection was 24, is 12"):
        Trainer(replace(config, model=other))


def test_backbone_files_are_checked(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    random = np.random.default_rng(0)
    tensors = {}
    for layer in mobilenet_v2_layers():
        shape = (layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel)
        tensors[f"layers.{layer.index}.weight"] = random.standard_normal(shape, dtype=np.float32)
        tensors[f"layers.{layer.index}.bias"] = random.standard_normal(layer.outputs, dtype=np.float32)
    config = training_config(shard, tmp_path, "mobilenet_v2", backbone=str(path))
    with pytest.raises(CheckpointError, match="cannot read"):
        Trainer(config)
    write_tensors(path, tensors, bfloat16=False)
    got = Trainer(config).objective.model.vision.backbone["51"].weight.detach().numpy()
    assert np.array_equal(got, tensors["layers.51.weight"])
    write_tensors(path, {**tensors, "layers.7.bias": np.zeros(3, np.float32)}, bfloat16=False)
    with pytest.raises(CheckpointError, match=r"layers\.7\.bias has the shape \[3\], wanted"):
        Trainer(config)
    del tensors["layers.3.weight"]
    write_tensors(path, tensors, bfloat16=False)
    with pytest.raises(CheckpointError, match=r"layers\.3\.weight is not there"):
        Trainer(config)


def test_features_made_from_something_else_are_not_used(tmp_path: Path) -> None:
    def opened(made_from: str) -> FrozenFeatures:
        config = tiny_config("mobilenet_v2").vision
        return FrozenFeatures(tmp_path, DataConfig(cached_views=2), 2, config, 21, made_from)

    opened("these weights").mark(1)
    assert opened("these weights").done == {1}
    assert opened("other weights").done == set()
    next(tmp_path.glob("*.done")).write_text("[1")
    assert opened("these weights").done == set()


def test_the_progress_line_counts_only_what_lies_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0.0, 60.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    meter = Meter(steps=20, pictures_a_batch=64, first_step=95)
    for _ in range(5):
        meter.add({"itc": 3.0, "itm": 0.5, "lm": 4.0})
    assert meter.line(Progress(1, 5, 99), 4, 95) == ""
    line = meter.line(Progress(1, 5, 100), 4, 95)
    assert line == "epoch 2/4 step 100 itc 3.000 itm 0.500 lm 4.000 5 pictures/s, 56 min left"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_one_line_that_says_where(tmp_path: Path, workers: int) -> None:
    shard = tmp_path / "train.tar"
    shard.write_bytes(b"\xff\xd8\xff no picture")
    data = DataConfig(workers=workers)
    views = Views([Picture(shard, 0, 10, ("a dog",))], [0], tiny_config("vit").vision, data, 0, 0)
    with pytest.raises(DataError, match=r"train\.tar: the picture at byte 0: .*take it out") as caught:
        list(read_views(views, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["{", "[1]", '{"text": "a dog"}', '{"captions": "a dog"}', '{"captions": [3]}'])
def test_caption_files_are_checked_line_by_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"captions": ["A dog .", "."]}\n\n', encoding="utf-8")
    assert read_texts([path]) == ["a dog"]
    path.write_text('{"captions": ["A dog ."]}\n' + line, encoding="utf-8")
    with pytest.raises(DataError, match=r"captions\.jsonl, line 2"):
        read_texts([path])
