"""The pre-training run: config -> data, model, optimiser, steps, checkpoints. One process, or one a rank under
torchrun."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from openblip.bulk.shards import find_shards
from openblip.checkpoint import VOCABULARY, load_checkpoint, save_checkpoint
from openblip.config import ModelConfig, mobilenet_v2_layers
from openblip.engines.torch.model import BlipModel
from openblip.errors import CheckpointError, TrainingError
from openblip.text import Tokenizer
from openblip.train import ranks
from openblip.train.config import PretrainConfig, differences, read_config
from openblip.train.data import (
    FrozenFeatures,
    Picture,
    PretrainData,
    Views,
    fingerprint,
    index_shards,
    make_tokenizer,
    read_texts,
    read_views,
)
from openblip.train.objectives import PretrainBatch, PretrainObjective
from openblip.train.optimiser import make_optimiser, rate_at
from openblip.train.progress import Meter, Progress, StopRequest, say
from openblip.train.self_critical import SelfCritic
from openblip.weights import read_tensors

RESUME = "resume.pt"
# What a resumed run may change: it says where and how fast, not what is computed.
MAY_CHANGE = frozenset(
    {
        "output", "device", "threads", "save_minutes", "log_steps", "backbone", "start",
        "data.shards", "data.text", "data.vocabulary", "data.workers",
    }
)  # fmt: skip


def run_pretrain(config_path: Path, *, resume: bool = False) -> Path:
    """Train as a TOML file says; returns the folder of the trained checkpoint.

    resume: go on from the output folder's last checkpoint; the losses are those of an uninterrupted run.
    Raises OptionError, DataError, CheckpointError or TrainingError, each with its remedy.
    """
    config = read_config(config_path)
    if not resume and (Path(config.output) / RESUME).exists():
        raise TrainingError(f"{config.output} holds a run already: give --resume to go on, or another output folder")
    trainer = Trainer(config)
    if resume:
        trainer.restore()
    try:
        trainer.run()
    finally:
        ranks.leave()
    return trainer.output / "checkpoint"


class Trainer:
    """Holds everything that a run needs; `run` does it."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config, self.output = config, Path(config.output)
        self.device = ranks.choose_device(config.device)
        self.rank, self.ranks = ranks.join(self.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        pictures = index_shards([shard for source in config.data.shards for shard in find_shards(source)])
        self.texts = [caption for picture in pictures for caption in picture.captions]
        self.texts += read_texts([Path(path) for path in config.data.text])
        tokenizer, self.vocabulary = self._tokenizer()
        self.model_config = _with_vocabulary(config.model, tokenizer)
        torch.manual_seed(config.seed)
        model = self._model().to(self.device)
        # Channels last: the layout that torch's convolutions are fast in.
        model.vision = model.vision.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        queue = min(config.objective.queue, len(pictures) * 2 // 3)
        critic = None
        if config.objective.cider_weight:
            critic = SelfCritic([picture.captions for picture in pictures], tokenizer, config.objective.proposals)
        self.objective = PretrainObjective(model, config.objective, queue, critic).to(self.device)
        self.optimiser = make_optimiser(model, config.optimiser)
        self.data = PretrainData(
            pictures, tokenizer, self.model_config.vision, config.data,
            batch=config.optimiser.batch, captions_per_image=config.objective.captions_per_image,
            seed=config.seed, rank=self.rank, ranks=self.ranks,
        )  # fmt: skip
        if not self.steps_an_epoch:
            raise TrainingError(
                f"an epoch of {self.data.batches} batches holds no step of optimiser.accumulate = "
                f"{config.optimiser.accumulate}: lower it or optimiser.batch"
            )
        self.features = self._features(pictures)
        self.progress = Progress()
        self.log: list[dict[str, float]] = []

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.data.batches // self.config.optimiser.accumulate

    def run(self) -> None:
        """Train to the end, saving as it goes."""
        if self.progress == Progress():
            self._text_warm_up()
        stepper: nn.Module = self.objective
        if self.ranks > 1:
            # Only now: it makes all ranks start from the weights of the first.
            stepper = DistributedDataParallel(self.objective, broadcast_buffers=False)
        # Around all epochs: what is asked between two of them must not be lost, nor break into a save.
        with StopRequest() as stop:
            while self.progress.epoch < self.config.optimiser.epochs:
                self._fill_features(self.progress.epoch)
                self._epoch(stepper, stop)
                self.progress = Progress(self.progress.epoch + 1, 0, self.progress.step)
                self.save()

    def _epoch(self, stepper: nn.Module, stop: StopRequest) -> None:
        optimiser, accumulate = self.config.optimiser, self.config.optimiser.accumulate
        whole = self.steps_an_epoch * accumulate
        frozen = optimiser.frozen_layers if self.features else 0
        meter = Meter(self.config.log_steps, self.data.batch * self.ranks, self.progress.step)
        saved_at = time.monotonic()
        stepper.train()
        self.objective.averaged.eval()
        batches = self.data.epoch(self.progress.epoch, self.progress.batch, self.features, frozen)
        for batch in batches:
            if self.progress.batch >= whole:
                break
            self._batch(stepper, batch, meter)
            self.progress.batch += 1
            if self.progress.batch % accumulate:
                continue
            self._step()
            if self.rank == 0 and (line := meter.line(self.progress, optimiser.epochs, self.steps_an_epoch)):
                say(line)
                self.log.append(meter.last)
            stopping = ranks.any_rank(stop.asked, self.device)
            if stopping or time.monotonic() - saved_at > self.config.save_minutes * 60:
                self.save()
                saved_at = time.monotonic()
            if stopping:
                say(f"saved at step {self.progress.step}: --resume goes on from there")
                raise KeyboardInterrupt

    def _text_warm_up(self) -> None:
        """Teach the decoder to write captions before it sees a picture (cross-attention left out); every rank does the
        same."""
        config = self.config.optimiser
        rows = config.batch * self.config.objective.captions_per_image
        optimiser, step = make_optimiser(self.objective.model, config), 0
        self.objective.train()
        for epoch in range(config.text_warm_up_epochs):
            for tokens, lengths in self.data.text_batches(self.texts, epoch, rows):
                torch.manual_seed(_mix(self.config.seed, step, -2))
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
                    loss = self.objective.text_loss(tokens.to(self.device), lengths.to(self.device))
                for group in optimiser.param_groups:
                    group["lr"] = group["peak"] * min(1.0, (step + 1) / max(1, config.warm_up_steps))
                loss.backward()
                nn.utils.clip_grad_norm_(self.objective.model.parameters(), config.clip_norm)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                step += 1
                if self.rank == 0 and step % self.config.log_steps == 0:
                    say(f"text warm-up step {step} lm {loss.item():.3f}")
        if config.encoder_from_decoder:
            self.objective.model.start_encoder_from_decoder()
        self.objective.update_average(0.0)

    def _batch(self, stepper: nn.Module, batch: PretrainBatch, meter: Meter) -> None:
        """Forward and backward of one batch."""
        place = self.progress.epoch * self.data.batches + self.progress.batch
        # Dropout and negatives follow from the place in the run alone, so that a resumed run repeats them.
        torch.manual_seed(_mix(self.config.seed, place, self.rank))
        ramp = self.config.objective.alpha_ramp_epochs * self.data.batches
        alpha = self.config.objective.alpha * min(1.0, place / ramp if ramp else 1.0)
        self.objective.queue_open = self.progress.epoch >= self.config.objective.queue_start_epoch
        accumulate = self.config.optimiser.accumulate
        ends_step = (self.progress.batch + 1) % accumulate == 0
        # Ranks exchange gradients once a step, not once a batch.
        alone = stepper.no_sync() if isinstance(stepper, DistributedDataParallel) and not ends_step else nullcontext()
        with alone:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
                losses = stepper(batch.to(self.device), alpha, _mix(self.config.seed, place, -1))
            self._check_finite("loss", losses.total)
            (losses.total / accumulate).backward()
        meter.add({name: value.item() for name, value in losses.parts.items()})

    def _step(self) -> None:
        """One optimiser step, and the averaged model's."""
        config, step = self.config.optimiser, self.progress.step
        scale = rate_at(step, config, self.steps_an_epoch * config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        norm = nn.utils.clip_grad_norm_(self.objective.model.parameters(), config.clip_norm)
        self._check_finite("gradient", norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.objective.model.itc.temperature.clamp_(0.01, 0.5)
        # Early on the average follows the model closely, or it would hold random weights for hundreds of steps.
        self.objective.update_average(min(self.config.objective.momentum, (1 + step) / (10 + step)))
        self.progress.step += 1

    def _check_finite(self, name: str, value: Tensor) -> None:
        if not math.isfinite(number := value.item()):
            raise TrainingError(
                f"the {name} became {number} at step {self.progress.step}: lower optimiser.learning_rate"
            )

    def save(self) -> None:
        """Write the resumable state and the averaged model as a checkpoint folder, each replaced at once."""
        if self.rank:
            return
        state = {
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": vars(self.progress),
            "ranks": self.ranks,
            "pictures": fingerprint(self.data.pictures),
            "vocabulary": self.vocabulary.read_text(encoding="utf-8"),
            "config": json.dumps(self.config.to_dict()),
        }
        tensors = {name: value.float().cpu().numpy() for name, value in self.objective.averaged.state_dict().items()}
        part, checkpoint = self.output / "checkpoint.part", self.output / "checkpoint"
        try:
            torch.save(state, self.output / (RESUME + ".part"))
            save_checkpoint(part, self.model_config, tensors, self.vocabulary)
            (part / "log.json").write_text(json.dumps(self.log) + "\n", encoding="utf-8")
            checkpoint.mkdir(exist_ok=True)
            (self.output / (RESUME + ".part")).replace(self.output / RESUME)
            (part / "log.json").replace(self.output / "log.json")
            for file in part.iterdir():
                file.replace(checkpoint / file.name)
            part.rmdir()
        except (OSError, RuntimeError, SafetensorError) as error:  # torch's own file errors are RuntimeErrors
            reason = " ".join(str(error).split())
            raise TrainingError(f"cannot save to {self.output}: {reason}: make room, then --resume") from error

    def restore(self) -> None:
        """Go on from the last save. Raises TrainingError where the run would not be the one that was saved."""
        path = self.output / RESUME
        if not path.exists():
            raise TrainingError(f"{path} does not exist: start without --resume")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self._check_same_run(state)
            self.objective.load_state_dict(state["objective"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.progress = Progress(**state["progress"])
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
        changed = differences(json.loads(state["config"]), self.config.to_dict(), MAY_CHANGE)
        if changed:
            raise TrainingError(
                f"the config is not the run's: {'; '.join(changed)}: put it back, or start = the run's checkpoint "
                "in another output folder"
            )
        if state.get("pictures", now := fingerprint(self.data.pictures)) != now:
            raise TrainingError("data.shards no longer hold the run's pictures and captions: resume with those")
        if state.get("vocabulary", now := self.vocabulary.read_text(encoding="utf-8")) != now:
            raise TrainingError(f"{self.vocabulary} is not the run's: copy {self.output}/checkpoint/{VOCABULARY} there")

    def _tokenizer(self) -> tuple[Tokenizer, Path]:
        """The vocabulary of the config or of the start checkpoint, or one learned and kept in the output folder."""
        config, learned = self.config, self.output / VOCABULARY
        given = Path(config.data.vocabulary) if config.data.vocabulary else None
        if config.start:
            given = Path(config.start) / VOCABULARY
        with ranks.first_rank_first():
            try:
                self.output.mkdir(parents=True, exist_ok=True)
                if given is None and self.rank == 0 and not (self.output / RESUME).exists():
                    learned.unlink(missing_ok=True)  # of a run that never came to its first save
                return make_tokenizer(given, config.data.vocabulary_size, self.texts, learned)
            except OSError as error:
                raise TrainingError(
                    f"cannot write to output = {self.output}: {error.strerror}: name another"
                ) from error

    def _model(self) -> BlipModel:
        optimiser = self.config.optimiser
        model = BlipModel(self.model_config, optimiser.dropout, optimiser.drop_path, optimiser.token_dropout)
        model.initialise()
        if self.config.start:
            start = load_checkpoint(Path(self.config.start))
            if changed := differences(start.config.to_dict(), self.model_config.to_dict()):
                raise TrainingError(f"start = {self.config.start} has other sizes than [model]: {'; '.join(changed)}")
            model.load_state_dict(_as_torch(start.tensors.hold()))
        elif self.config.backbone:
            _load_backbone(model, Path(self.config.backbone))
        for layer in range(optimiser.frozen_layers):
            model.vision.backbone[str(layer)].requires_grad_(False)
        return model

    def _features(self, pictures: list[Picture]) -> FrozenFeatures | None:
        data, vision, frozen = self.config.data, self.model_config.vision, self.config.optimiser.frozen_layers
        if not data.cached_views:
            return None
        settings = (self.config.seed, self.config.bfloat16, data.crop_area, data.colour_jitter, vision.mean, vision.std)
        digest = hashlib.sha256(repr((settings, fingerprint(pictures))).encode())
        for layer in range(frozen):
            for value in self.objective.model.vision.backbone[str(layer)].parameters():
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        with ranks.first_rank_first():
            folder = self.output / "features"
            return FrozenFeatures(folder, data, len(pictures), vision, frozen, digest.hexdigest())

    @torch.no_grad()
    def _fill_features(self, epoch: int) -> None:
        """Compute the frozen layers' output of this epoch's view where it is not cached yet, each rank its share."""
        view = epoch % self.config.data.cached_views if self.features else 0
        if self.features is None or view in self.features.done:
            return
        pictures, started = len(self.data.pictures), time.monotonic()
        start, stop = (pictures * rank // self.ranks for rank in (self.rank, self.rank + 1))
        chosen = range(start, stop)
        views = Views(self.data.pictures, chosen, self.features.canvas, self.config.data, self.config.seed, view)
        backbone = self.objective.model.vision.backbone
        for pixels in read_views(views, 64):
            pixels = pixels.to(self.device, memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
                features = backbone.run(pixels, 0, self.config.optimiser.frozen_layers)
            self.features.write(view, start, features)
            start += len(pixels)
        self.features.flush()
        ranks.wait_for_all()
        self.features.mark(view, keep=self.rank == 0)
        if self.rank == 0:
            say(f"view {view} of the frozen features: {pictures} pictures in {time.monotonic() - started:.0f} s")


def _with_vocabulary(config: ModelConfig, tokenizer: Tokenizer) -> ModelConfig:
    """The config with the tokenizer's size and special ids."""
    text = replace(
        config.text, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id, cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id, dec_id=tokenizer.dec_id, enc_id=tokenizer.enc_id,
    )  # fmt: skip
    return replace(config, text=text)


def _load_backbone(model: BlipModel, path: Path) -> None:
    tensors = _as_torch(read_tensors(path))
    for layer in mobilenet_v2_layers():
        own = model.vision.backbone[str(layer.index)].state_dict()
        for part, value in own.items():
            name = f"layers.{layer.index}.{part}"
            if name not in tensors or tensors[name].shape != value.shape:
                found = f"has the shape {list(tensors[name].shape)}" if name in tensors else "is not there"
                raise CheckpointError(
                    f"backbone = {path} is not MobileNetV2 with its batch norm folded in: {name} {found}, "
                    f"wanted {list(value.shape)}"
                )
            value.copy_(tensors[name])


def _as_torch(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence([number % 2**32 for number in numbers]).generate_state(1, np.uint32)[0])
