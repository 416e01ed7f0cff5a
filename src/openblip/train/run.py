"""What every training run does, whatever it learns: steps, progress lines, saves, stopping and exact resume. One
process, or one a rank under torchrun.

Knows no data and no losses: a run that has them is a subclass (`loop.Trainer`, `finetune.Finetuner`).
"""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from openblip.checkpoint import VOCABULARY, save_checkpoint
from openblip.config import ModelConfig
from openblip.datasets.examples import Picture, fingerprint
from openblip.errors import TrainingError
from openblip.train import ranks
from openblip.train.config import OptimiserConfig, RunConfig
from openblip.train.losses import Losses, Objective
from openblip.train.optimiser import rate_at
from openblip.train.progress import Meter, Progress, StopRequest, say
from openblip.train.settings import differences

RESUME = "resume.pt"


class Batch(Protocol):
    """One rank's share of a step, or of a part of it."""

    def to(self, device: torch.device) -> Any:
        """The same batch on another device."""
        ...


class Run:
    """One rank of a run. A subclass sets the attributes that have no value here and says what a batch is.

    may_change: settings that a resumed run may have otherwise: they say where and how fast, not what is computed.
    setting: how messages name a setting of the optimiser.
    """

    may_change: Collection[str] = ()
    setting = "optimiser."
    objective: Objective
    optimiser: torch.optim.Optimizer
    model_config: ModelConfig
    vocabulary: Path
    pictures: Sequence[Picture]

    def __init__(self, config: RunConfig, steps: OptimiserConfig) -> None:
        """steps: how long, in what batches and how fast is learned."""
        self.run_config, self.steps, self.output = config, steps, Path(config.output)
        self.device = ranks.choose_device(config.device)
        self.rank, self.ranks = ranks.join(self.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.progress = Progress()
        self.log: list[dict[str, float]] = []

    # ----------------------------------------------------------------------------------------- what a subclass says

    @property
    def batches_an_epoch(self) -> int:
        """Batches of an epoch and rank, those included that do not fill a step."""
        raise NotImplementedError

    def batches(self) -> Iterator[Batch]:
        """The batches of the epoch in hand, from where the progress stands."""
        raise NotImplementedError

    def losses(self, stepper: nn.Module, batch: Any, place: int) -> Losses:
        """Forward. place: counts the batches of the whole run."""
        raise NotImplementedError

    def begin(self) -> None:
        """Before the first step of a run that is not resumed."""

    def begin_epoch(self) -> None:
        """Before the epoch in hand, or the rest of it."""

    def end_epoch(self) -> None:
        """Once the progress stands behind an epoch: saves."""
        self.save()

    def state(self) -> dict[str, Any]:
        """What else a resumed run must know."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""

    def describe(self, folder: Path) -> None:
        """Write into a checkpoint folder what else belongs there."""

    # ------------------------------------------------------------------------------------------------------ the run

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.batches_an_epoch // self.steps.accumulate

    @property
    def epochs(self) -> int:
        """Of the whole run."""
        return self.steps.epochs

    def check_steps(self) -> None:
        """Raise TrainingError where an epoch holds no step."""
        if not self.steps_an_epoch:
            raise TrainingError(
                f"an epoch of {self.batches_an_epoch} batches holds no step of {self.setting}accumulate = "
                f"{self.steps.accumulate}: lower it or {self.setting}batch"
            )

    def run(self) -> None:
        """Train to the end, saving as it goes."""
        if self.progress == Progress():
            self.begin()
        stepper = self.stepper()
        # Around all epochs: what is asked between two of them must not be lost, nor break into a save.
        with StopRequest() as stop:
            while self.progress.epoch < self.epochs:
                self.begin_epoch()
                self._epoch(stepper, stop)
                self.progress = Progress(self.progress.epoch + 1, 0, self.progress.step)
                self.end_epoch()

    def stepper(self) -> nn.Module:
        """What is called for the losses. Made late: it makes all ranks start from the weights of the first."""
        return DistributedDataParallel(self.objective, broadcast_buffers=False) if self.ranks > 1 else self.objective

    def train_mode(self) -> None:
        """Dropout on, but for the average."""
        self.objective.train()
        self.objective.averaged.eval()

    def rate(self) -> float:
        """The learning rate's share of its peak at the step in hand."""
        return rate_at(self.progress.step, self.steps, self.steps_an_epoch * self.epochs)

    def decay(self) -> float:
        """Of the average: early on it follows the model closely, or it would hold random weights for hundreds of
        steps."""
        return (1 + self.progress.step) / (10 + self.progress.step)

    def _epoch(self, stepper: nn.Module, stop: StopRequest) -> None:
        config = self.run_config
        accumulate, whole = self.steps.accumulate, self.steps_an_epoch * self.steps.accumulate
        meter = Meter(config.log_steps, self.steps.batch * self.ranks, self.progress.step)
        saved_at = time.monotonic()
        self.train_mode()
        for batch in self.batches():
            if self.progress.batch >= whole:
                break
            meter.add(self.one_batch(batch, stepper))
            self.progress.batch += 1
            if self.progress.batch % accumulate:
                continue
            self._step()
            if self.rank == 0 and (line := meter.line(self.progress, self.epochs, self.steps_an_epoch)):
                say(line)
                self.note(meter.last)
            stopping = ranks.any_rank(stop.asked, self.device)
            if stopping or time.monotonic() - saved_at > config.save_minutes * 60:
                self.save_midway()
                saved_at = time.monotonic()
            if stopping:
                say(f"saved at step {self.progress.step}: --resume goes on from there")
                raise KeyboardInterrupt

    def note(self, figures: dict[str, float]) -> None:
        """Keep the figures of a progress line."""
        self.log.append(figures)

    def one_batch(self, batch: Batch, stepper: nn.Module | None = None) -> dict[str, float]:
        """Forward and backward of one batch. stepper: as `stepper` gives it; None: this process alone."""
        stepper = stepper or self.objective
        place = self.progress.epoch * self.batches_an_epoch + self.progress.batch
        # Dropout and negatives follow from the place in the run alone, so that a resumed run repeats them.
        torch.manual_seed(mix(self.run_config.seed, place, self.rank))
        accumulate = self.steps.accumulate
        ends_step = (self.progress.batch + 1) % accumulate == 0
        # Ranks exchange gradients once a step, not once a batch.
        alone = stepper.no_sync() if isinstance(stepper, DistributedDataParallel) and not ends_step else nullcontext()
        with alone:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run_config.bfloat16):
                losses = self.losses(stepper, batch.to(self.device), place)
            self._check_finite("loss", losses.total)
            (losses.total / accumulate).backward()
        return {name: value.item() for name, value in losses.parts.items()}

    def _step(self) -> None:
        """One optimiser step, and the averaged model's."""
        scale = self.rate()
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        self._check_finite("gradient", self.clip_gradient())
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if "embed" in self.objective.model.config.tasks:
            with torch.no_grad():
                self.objective.model.itc.temperature.clamp_(0.01, 0.5)
        self.objective.update_average(self.decay())
        self.progress.step += 1

    def clip_gradient(self) -> Tensor:
        """Shorten the gradient to the largest norm allowed. Returns the norm that it had."""
        return nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.steps.clip_norm)

    def _check_finite(self, name: str, value: Tensor) -> None:
        if not math.isfinite(number := value.item()):
            raise TrainingError(
                f"the {name} became {number} at step {self.progress.step}: lower {self.setting}learning_rate"
            )

    # --------------------------------------------------------------------------------------------- saves and resume

    def save_midway(self) -> None:
        """Save within an epoch."""
        self.save()

    def save(self, *, checkpoint: bool = True) -> None:
        """Write the resumable state and, unless it is not wanted, the averaged model as a checkpoint folder; each file
        is replaced at once. All ranks must come here."""
        state = {
            **self.learned(),
            "progress": vars(self.progress),
            "ranks": self.ranks,
            "pictures": fingerprint(self.pictures),
            "vocabulary": self.vocabulary.read_text(encoding="utf-8"),
            "config": json.dumps(self.run_config.to_dict()),
            **self.state(),
        }
        tensors = self.averaged_tensors() if checkpoint else {}
        if self.rank:
            return
        try:
            torch.save(state, self.output / (RESUME + ".part"))
            (self.output / "log.json.part").write_text(json.dumps(self.log) + "\n", encoding="utf-8")
            part = self._write_part(tensors) if checkpoint else None
            # The checkpoint first: whoever is killed in between learns the same again and writes it again.
            if part is not None:
                replace_folder(part, self.output / "checkpoint")
            (self.output / "log.json.part").replace(self.output / "log.json")
            (self.output / (RESUME + ".part")).replace(self.output / RESUME)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch's own file errors are RuntimeErrors
            reason = " ".join(str(error).split())
            raise TrainingError(f"cannot save to {self.output}: {reason}: make room, then --resume") from error

    def _write_part(self, tensors: dict[str, Any]) -> Path:
        part = self.output / "checkpoint.part"
        save_checkpoint(part, self.model_config, tensors, self.vocabulary)
        self.describe(part)
        return part

    def learned(self) -> dict[str, Any]:
        """The weights and the optimiser's state, as `torch.save` takes them."""
        return {"objective": self.objective.state_dict(), "optimiser": self.optimiser.state_dict()}

    def set_learned(self, state: dict[str, Any]) -> None:
        """The inverse of `learned`."""
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])

    def averaged_tensors(self) -> dict[str, Any]:
        """The averaged model in float32, as `save_checkpoint` takes it."""
        return {name: value.float().cpu().numpy() for name, value in self.objective.averaged.state_dict().items()}

    def restore(self) -> None:
        """Go on from the last save. Raises TrainingError where the run would not be the one that was saved."""
        path = self.output / RESUME
        if not path.exists():
            raise TrainingError(f"{path} does not exist: start without --resume")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self._check_same_run(state)
            self.progress = Progress(**state["progress"])
            self.set_state(state)
            self.set_learned(state)
            log = json.loads((self.output / "log.json").read_text(encoding="utf-8"))
            self.log = [line for line in log if line["step"] <= self.progress.step]
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise TrainingError(f"cannot resume from {path}: {reason}: start anew in another output folder") from error

    def _check_same_run(self, state: dict[str, Any]) -> None:
        if state["ranks"] != self.ranks:
            raise TrainingError(
                f"the run had {state['ranks']} processes, now there are {self.ranks}: resume with as many"
            )
        changed = differences(json.loads(state["config"]), self.run_config.to_dict(), self.may_change)
        if changed:
            raise TrainingError(
                f"the config is not the run's: {'; '.join(changed)}: put it back, or start from the run's checkpoint "
                "in another output folder"
            )
        if state.get("pictures", now := fingerprint(self.pictures)) != now:
            raise TrainingError("the data no longer hold the run's pictures and texts: resume with those")
        if state.get("vocabulary", now := self.vocabulary.read_text(encoding="utf-8")) != now:
            raise TrainingError(f"{self.vocabulary} is not the run's: copy {self.output}/checkpoint/{VOCABULARY} there")


def replace_folder(part: Path, folder: Path) -> None:
    """Put the files of one folder in the place of another's, each at once; the first folder is gone afterwards."""
    folder.mkdir(exist_ok=True)
    for file in part.iterdir():
        file.replace(folder / file.name)
    part.rmdir()


def mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence([number % 2**32 for number in numbers]).generate_state(1, np.uint32)[0])
