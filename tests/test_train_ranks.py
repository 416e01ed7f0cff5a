"""Two gloo processes against one: the gradients of the joint batch, and a whole run that stays in step."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from openblip.errors import TrainingError
from openblip.train import ranks
from openblip.train.config import ObjectiveConfig, OptimiserConfig
from openblip.train.loop import Trainer
from openblip.train.objectives import PretrainBatch
from tiny import tiny_config
from training import objective_for, random_batch, training_config, write_shard


def _gradients(rank: int, ranks: int, folder: Path) -> None:
    """One rank of the gloo test: its share of the joint batch, its averaged gradients written by rank 0."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    config, settings = tiny_config("vit"), ObjectiveConfig(captions_per_image=2)
    objective = objective_for(config, settings, 6).train()
    objective.queue_ids.copy_(torch.tensor([50, 51, 52, -1, -1, 53]))
    joint = random_batch(config, 6, 2)
    joint.ids[4] = joint.ids[1]  # one picture twice, on different ranks
    share = slice(rank * 6 // ranks, (rank + 1) * 6 // ranks)
    texts = slice(share.start * 2, share.stop * 2)
    width = int(joint.lengths[texts].max())  # ranks pad to their own longest text
    own = PretrainBatch(joint.pixels[share], joint.ids[share], joint.tokens[texts, :width], joint.lengths[texts])
    module = torch.nn.parallel.DistributedDataParallel(objective, broadcast_buffers=False) if ranks > 1 else objective
    module(own, 0.3, 11).total.backward()
    if rank == 0:
        gradients = {name: value.grad for name, value in objective.model.named_parameters()}
        torch.save({"gradients": gradients, "queue": objective.text_queue}, folder / f"ranks-{ranks}.pt")
    if ranks > 1:
        dist.destroy_process_group()


def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    for count in (1, 2):
        torch.multiprocessing.spawn(_gradients, args=(count, tmp_path), nprocs=count)
    one, two = (torch.load(tmp_path / f"ranks-{count}.pt", weights_only=True) for count in (1, 2))
    assert torch.allclose(one["queue"], two["queue"], atol=1e-6)
    largest = max(gradient.abs().max().item() for gradient in one["gradients"].values())
    assert largest > 1e-2
    for name, gradient in one["gradients"].items():
        assert torch.allclose(gradient, two["gradients"][name], atol=1e-5 * largest, rtol=1e-4), name


def _run(rank: int, folder: Path) -> None:
    """One rank of two runs with a cached view that is met again in the second epoch, and two batches a step: a whole
    one, and one that is interrupted on rank 1 alone and resumed."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    optimiser = OptimiserConfig(
        epochs=2, batch=1, accumulate=2, warm_up_steps=2, frozen_layers=21, text_warm_up_epochs=1
    )

    def trainer(name: str) -> Trainer:
        config = training_config(folder / "train-0000.tar", folder / name, "mobilenet_v2", optimiser=optimiser)
        # No vocabulary is given: one rank learns it and the other must find it whole.
        return Trainer(replace(config, data=replace(config.data, vocabulary="", cached_views=1, canvas=96)))

    whole, interrupted = trainer("whole"), trainer("interrupted")
    whole.run()
    original = interrupted._step

    def stop_after_four() -> None:
        original()
        if rank == 1 and interrupted.progress.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    interrupted._step = stop_after_four  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    ranks.wait_for_all()
    resumed = trainer("interrupted")
    resumed.restore()
    assert resumed.progress.step == 4
    resumed.run()
    states = {"whole": whole.objective.state_dict(), "resumed": resumed.objective.state_dict()}
    torch.save(states, folder / f"rank-{rank}.pt")
    ranks.leave()


def test_two_processes_stay_in_step_stop_together_and_resume(tmp_path: Path) -> None:
    write_shard(tmp_path)
    torch.multiprocessing.spawn(_run, args=(tmp_path,), nprocs=2)
    one, two = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in one["whole"].items():
        for other in (one["resumed"], two["whole"], two["resumed"]):
            assert torch.equal(value, other[name]), name


def test_a_run_of_two_processes_is_not_resumed_by_one(tmp_path: Path) -> None:
    shard = write_shard(tmp_path)
    trainer = Trainer(training_config(shard, tmp_path))
    trainer.ranks = 2
    trainer.save()
    with pytest.raises(TrainingError, match="had 2 processes, now there are 1"):
        Trainer(training_config(shard, tmp_path)).restore()


def test_more_processes_than_gpus_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks.choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ranks.choose_device("auto") == torch.device("cpu")
    with pytest.raises(TrainingError, match="sees no GPU"):
        ranks.choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(TrainingError, match="process 3 of this machine finds 2 GPUs"):
        ranks.choose_device("auto")
