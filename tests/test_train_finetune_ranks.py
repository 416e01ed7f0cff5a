"""Fine-tuning on two gloo processes equals one: whole models on each (DDP), and models cut among them (FSDP2)."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from finetuning import asked_folder, captioned_folder, settings, tiny_checkpoint
from openblip.checkpoint import load_checkpoint
from openblip.errors import OptionError, TrainingError
from openblip.train import ranks
from openblip.train.finetune import _class_of, open_finetune
from openblip.train.finetune_config import FinetuneConfig
from openblip.train.finetune_data import read_sets


def prepare(folder: Path, task: str) -> None:
    for name, seed in (("data", 0), ("dev", 1)):
        (asked_folder if task == "vqa" else captioned_folder)(folder / name, seed=seed)
    tiny_checkpoint(folder)


def config_of(folder: Path, name: str, task: str, processes: int, **changes: Any) -> FinetuneConfig:
    """The same joint batches, whatever the number of processes. The rate is small: AdamW takes a step of full length
    where a gradient is nothing but rounding."""
    return settings(
        task, folder / "data", folder / "start", folder / name, dev=(str(folder / "dev"),), batch=4 // processes,
        dropout=0.0, learning_rate=1e-4, **{"epochs": 2, **changes},
    )  # fmt: skip


def run(config: FinetuneConfig, *, resume: bool = False, stop_at: int = -1) -> Any:
    start = open_finetune(config)
    finetuner = _class_of(config)(config, start, read_sets(config, 24))
    if resume:
        finetuner.restore()
    original = finetuner._step

    def step() -> None:
        original()
        if finetuner.progress.step == stop_at and finetuner.rank == finetuner.ranks - 1:
            os.kill(os.getpid(), signal.SIGINT)

    finetuner._step = step  # type: ignore[method-assign]
    if stop_at < 0:
        finetuner.run()
    else:
        with pytest.raises(KeyboardInterrupt):
            finetuner.run()
    ranks.wait_for_all()
    return finetuner


def _rank(rank: int, folder: Path, task: str, shard: bool) -> None:
    """One rank of two: a whole run, and one that is interrupted on the last rank alone and resumed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{shard}", rank=rank, world_size=2)
    name = "shard" if shard else "ddp"
    config = config_of(folder, name, task, 2, shard=shard)
    finetuner = run(config)
    torch.save({"log": finetuner.log, "best": finetuner.best}, folder / f"{name}-{rank}.pt")
    other = replace(config, output=str(folder / f"{name}-resumed"))
    run(other, stop_at=4)
    resumed = run(other, resume=True)
    torch.save({"log": resumed.log, "best": resumed.best}, folder / f"{name}-resumed-{rank}.pt")
    ranks.leave()


@pytest.mark.parametrize("task", ["caption", "vqa", "retrieval"])
@pytest.mark.parametrize("shard", [False, True], ids=["whole", "cut"])
def test_two_processes_equal_one_and_resume(tmp_path: Path, task: str, shard: bool) -> None:
    prepare(tmp_path, task)
    one = run(config_of(tmp_path, "one", task, 1))
    torch.multiprocessing.spawn(_rank, args=(tmp_path, task, shard), nprocs=2)
    name = "shard" if shard else "ddp"
    told = {part: torch.load(tmp_path / f"{name}{part}-0.pt", weights_only=True) for part in ("", "-resumed")}
    other = torch.load(tmp_path / f"{name}-1.pt", weights_only=True)
    assert other["best"] == told[""]["best"] == told["-resumed"]["best"]
    assert told[""]["best"] == pytest.approx(one.best, abs=1e-6)
    # The figures of the lines are those of the first rank's share; the weights are everybody's.
    weights = {
        run_name: load_checkpoint(tmp_path / run_name / "checkpoint").tensors
        for run_name in ("one", name, f"{name}-resumed")
    }
    start = load_checkpoint(tmp_path / "start").tensors
    moved = 0.0
    for tensor, value in weights["one"].items():
        assert (weights[name][tensor] == weights[f"{name}-resumed"][tensor]).all(), tensor
        assert abs(weights[name][tensor] - value).max() < 5e-5, tensor
        if tensor in start:
            moved = max(moved, float(abs(value - start[tensor]).max()))
    assert moved > 2e-4


def test_cutting_needs_several_processes(tmp_path: Path) -> None:
    prepare(tmp_path, "caption")
    with pytest.raises(TrainingError, match="start them with torchrun"):
        run(config_of(tmp_path, "one", "caption", 1, shard=True))
    with pytest.raises(OptionError, match="shard and views exclude each other"):
        FinetuneConfig(shard=True, views=1, freeze=("vision",))
