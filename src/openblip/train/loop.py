"""The pre-training run: config -> data, model, optimiser, features, losses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from openblip.bulk.shards import find_shards
from openblip.checkpoint import VOCABULARY, load_checkpoint
from openblip.config import ModelConfig, mobilenet_v2_layers
from openblip.datasets.examples import Picture, fingerprint
from openblip.engines.torch.model import BlipModel
from openblip.errors import CheckpointError, TrainingError
from openblip.text import Tokenizer
from openblip.train import ranks
from openblip.train.caches import fill_view
from openblip.train.config import PretrainConfig, differences, read_config
from openblip.train.data import PretrainData, index_shards, make_tokenizer, read_texts
from openblip.train.losses import Losses
from openblip.train.objectives import PretrainBatch, PretrainObjective
from openblip.train.optimiser import make_optimiser
from openblip.train.progress import say
from openblip.train.run import RESUME, Run, mix
from openblip.train.self_critical import SelfCritic
from openblip.train.views import FrozenFeatures
from openblip.weights import read_tensors


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


class Trainer(Run):
    """Holds everything that a run needs; `run` does it."""

    may_change = frozenset(
        {
            "output", "device", "threads", "save_minutes", "log_steps", "backbone", "start",
            "data.shards", "data.text", "data.vocabulary", "data.workers",
        }
    )  # fmt: skip
    objective: PretrainObjective

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__(config, config.optimiser)
        self.config = config
        pictures = index_shards([shard for source in config.data.shards for shard in find_shards(source)])
        self.pictures = pictures
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
        self.check_steps()
        self.features = self._features(pictures)

    @property
    def batches_an_epoch(self) -> int:
        """Batches of an epoch and rank."""
        return self.data.batches

    def batches(self) -> Iterator[PretrainBatch]:
        """The batches of the epoch in hand, from where the progress stands."""
        frozen = self.config.optimiser.frozen_layers if self.features else 0
        return self.data.epoch(self.progress.epoch, self.progress.batch, self.features, frozen)

    def losses(self, stepper: nn.Module, batch: PretrainBatch, place: int) -> Losses:
        """Forward, as far into the run as `place` says."""
        config = self.config.objective
        ramp = config.alpha_ramp_epochs * self.data.batches
        alpha = config.alpha * min(1.0, place / ramp if ramp else 1.0)
        self.objective.queue_open = self.progress.epoch >= config.queue_start_epoch
        losses: Losses = stepper(batch, alpha, mix(self.config.seed, place, -1))
        return losses

    def begin(self) -> None:
        """The text warm-up."""
        self._text_warm_up()

    def begin_epoch(self) -> None:
        """The features of the epoch's view."""
        self._fill_features(self.progress.epoch)

    def decay(self) -> float:
        """Of the momentum copy."""
        return min(self.config.objective.momentum, super().decay())

    def _text_warm_up(self) -> None:
        """Teach the decoder to write captions before it sees a picture (cross-attention left out); every rank does the
        same."""
        config = self.config.optimiser
        rows = config.batch * self.config.objective.captions_per_image
        optimiser, step = make_optimiser(self.objective.model, config), 0
        self.objective.train()
        for epoch in range(config.text_warm_up_epochs):
            for tokens, lengths in self.data.text_batches(self.texts, epoch, rows):
                torch.manual_seed(mix(self.config.seed, step, -2))
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

    def _fill_features(self, epoch: int) -> None:
        """The features of this epoch's view."""
        if self.features is None:
            return
        canvas, frozen, view = (
            self.features.canvas,
            self.config.optimiser.frozen_layers,
            epoch % len(self.features.values),
        )
        backbone = self.objective.model.vision.backbone
        fill_view(
            self.features, view, lambda chosen: self.data.views(chosen, canvas, view), len(self.pictures),
            lambda pixels: backbone.run(pixels, 0, frozen), self.device, bfloat16=self.config.bfloat16,
            what="frozen features",
        )  # fmt: skip


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
