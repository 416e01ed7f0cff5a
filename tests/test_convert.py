"""Checkpoints under other names: what is written, and what is refused. That transformers loads it is shown in
tests/parity/test_written_for_transformers.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openblip import cli
from openblip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from openblip.config import PRETRAINED, TASKS, ModelConfig, Task
from openblip.convert import Part, Target, convert
from openblip.errors import CheckpointError, OptionError
from published_folders import config_for, transformers_folder
from tiny import random_tensors, tiny_config, write_vocabulary


def checkpoint(folder: Path, tasks: tuple[Task, ...] = TASKS) -> Checkpoint:
    config = config_for(tasks)
    folder.mkdir()
    save_checkpoint(folder / "model", config, random_tensors(config), write_vocabulary(folder))
    return load_checkpoint(folder / "model")


def assert_same(found: Checkpoint, expected: Checkpoint, tasks: tuple[Task, ...], without: str = "") -> None:
    assert found.config == replace(expected.config, tasks=tasks)
    assert found.tensors
    for name, tensor in found.tensors.items():
        assert name == without or np.array_equal(tensor, expected.tensors[name]), name


@pytest.mark.parametrize("part", ["caption", "match"])
def test_one_part_of_ours(tmp_path: Path, part: Part) -> None:
    model = checkpoint(tmp_path / "ours")
    [written] = convert(model, tmp_path / "part", "openblip", part=part)
    assert written.path == tmp_path / "part"
    assert_same(load_checkpoint(tmp_path / "part"), model, written.tasks)


def test_a_folder_of_transformers_becomes_ours(tmp_path: Path) -> None:
    folder, _ = transformers_folder(tmp_path / "theirs", ("caption",))
    (folder / "vocab.txt").rename(folder / "was.txt")
    tokens = (folder / "was.txt").read_text().splitlines()
    table = {token: index for index, token in enumerate(tokens)}
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordPiece", "vocab": table}, "added_tokens": []})
    )
    model = load_checkpoint(folder)
    convert(model, tmp_path / "ours", "openblip")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["model_type"] == "openblip"
    assert (tmp_path / "ours" / "vocab.txt").read_text().splitlines() == tokens
    assert_same(load_checkpoint(tmp_path / "ours"), model, ("caption",))


@pytest.mark.parametrize("tasks", [("caption",), ("match", "embed"), ("answer",), PRETRAINED], ids="+".join)
def test_a_pth_and_back(tmp_path: Path, tasks: tuple[Task, ...]) -> None:
    model = checkpoint(tmp_path / "ours", tasks)
    if "embed" not in tasks:
        model = replace(model, config=replace(model.config, projection=256))
    target = tmp_path / "out" / "blip.pth"
    [written] = convert(model, target, "salesforce")
    assert (written.path, written.tasks) == (target, tasks)
    assert_same(load_checkpoint(target), model, tasks)
    held = torch.load(target, weights_only=True)["model"]
    if "caption" in tasks:
        words = held["text_decoder.bert.embeddings.word_embeddings.weight"]
        assert held["text_decoder.cls.predictions.decoder.weight"].data_ptr() == words.data_ptr(), "written twice"


def test_a_model_with_all_tasks_takes_two_pth(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "ours")
    written = convert(model, tmp_path / "out", "salesforce")
    assert [each.path.name for each in written] == ["model.pth", "answer.pth"]
    for each in written:
        found = load_checkpoint(each.path)
        found = replace(found, config=replace(found.config, projection=model.config.projection))
        assert_same(found, model, each.tasks)
    with pytest.raises(OptionError, match=r"takes several files, and .*one\.pth is one: give a folder or a task"):
        convert(model, tmp_path / "one.pth", "salesforce")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: replace(config, vision=replace(config.vision, mean=(0.5, 0.5, 0.5))), r"vision\.mean .* for "),
        (lambda config: replace(config, vision=replace(config.vision, heads=4)), r"vision\.heads 2 for 4"),
        (lambda config: replace(config, text=replace(config.text, layer_norm_eps=1e-5)), r"text\.layer_norm_eps 1e-12"),
    ],
)
def test_what_a_pth_cannot_say_is_refused(
    tmp_path: Path, change: Callable[[ModelConfig], ModelConfig], message: str
) -> None:
    model = checkpoint(tmp_path / "ours", ("match", "embed"))
    with pytest.raises(CheckpointError, match=f"cannot be written for salesforce: its files hold no config.*{message}"):
        convert(replace(model, config=change(model.config)), tmp_path / "out.pth", "salesforce")
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize("to", ["transformers", "salesforce"])
def test_mobilenet_is_ours_alone(tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config("mobilenet_v2")
    save_checkpoint(tmp_path / "model", config, random_tensors(config), write_vocabulary(tmp_path))
    assert cli.run(["convert", str(tmp_path / "model"), str(tmp_path / "out"), "--to", to]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"cannot be written for {to}: its image encoder is mobilenet_v2, and published BLIP has a ViT only" in line


def test_an_answer_decoder_of_another_width(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "ours", ("answer",))
    with pytest.raises(CheckpointError, match="as wide as each other, and these are 128 and 64 wide"):
        convert(model, tmp_path / "out", "transformers")


@pytest.mark.parametrize("to", ["transformers", "salesforce"])
def test_an_answer_decoder_of_fewer_layers(tmp_path: Path, to: Target) -> None:
    model = checkpoint(tmp_path / "ours", ("answer",))
    with pytest.raises(CheckpointError, match=f"cannot be written for {to}: the decoder of its answers has 1 layers"):
        convert(replace(model, config=replace(model.config, answer_layers=1)), tmp_path / "out", to)


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "ours", ("caption",))
    with pytest.raises(OptionError, match="no weights to match and embed, only to caption"):
        convert(model, tmp_path / "out", "openblip", part="match")
    model = replace(checkpoint(tmp_path / "other"), config=replace(model.config, tasks=("match",)))
    with pytest.raises(CheckpointError, match="transformers has no BLIP for match alone"):
        convert(model, tmp_path / "out", "transformers")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(tmp_path / "ours", PRETRAINED)
    source, target = str(tmp_path / "ours" / "model"), str(tmp_path / "out")
    assert cli.run(["convert", source, target, "--to", "transformers"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{target}/caption: caption", f"{target}/match: match, embed"]
    assert captured.err == ""
    assert cli.run(["convert", source, target, "--to", "transformers"]) == 2
    assert f"there is a checkpoint at {target}/caption already" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.run(["convert", source, str(tmp_path / "notes.txt"), "--to", "openblip"]) == 2
    assert "there is a file at" in capsys.readouterr().err
    assert cli.run(["convert", source, str(tmp_path / "notes.txt" / "below"), "--to", "openblip"]) == 1
    assert "below cannot be written: File exists" in capsys.readouterr().err
    assert cli.run(["convert", "base", target, "--to", "openblip"]) == 2
    assert "'base' is a set of checkpoints: say with --task which one" in capsys.readouterr().err


def test_a_tensor_that_is_missing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from openblip.weights import read_tensors, write_tensors

    checkpoint(tmp_path / "ours", ("caption",))
    weights = tmp_path / "ours" / "model" / "model.safetensors"
    tensors = read_tensors(weights)
    del tensors["lm.bias"]
    write_tensors(weights, tensors, bfloat16=False)
    assert cli.run(["convert", str(weights.parent), str(tmp_path / "out"), "--to", "transformers"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "does not fit its config: missing lm.bias" in line


def test_the_vocabulary_of_another_checkpoint_is_not_written_over(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "model", ("caption",))
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nother\n")
    with pytest.raises(OptionError, match=r"another vocabulary at .* already"):
        convert(model, other / "mine.pth", "salesforce")
    assert (other / "vocab.txt").read_text().endswith("other\n")
    assert not (other / "mine.pth").exists()
