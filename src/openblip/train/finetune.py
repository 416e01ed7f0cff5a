"""Fine-tuning for captions, questions or retrieval: a checkpoint and one's own data -> a checkpoint for that task.

What it learns is in `objectives` and `answering`, from what in `finetune_data`, from where in `start`; how a run goes
is in `run`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openblip.checkpoint import VOCABULARY, load_checkpoint
from openblip.convert import convert
from openblip.datasets.examples import fingerprint
from openblip.engines.torch.model import BlipModel, Residual
from openblip.errors import CheckpointError, OptionError, TrainingError
from openblip.text import write_vocabulary
from openblip.train import ranks
from openblip.train.answering import AnswerBatch, AnswerObjective
from openblip.train.board import Board
from openblip.train.caches import fill_view
from openblip.train.dev import METRICS, Judge, Score
from openblip.train.finetune_config import TAUGHT, FinetuneConfig, peak_rate
from openblip.train.finetune_data import Sets, read_sets, texts_a_picture
from openblip.train.finetune_parts import BACKBONE_LAYERS, make_cache, make_data, make_objective, prepared
from openblip.train.losses import ENCODED, Losses
from openblip.train.objectives import PretrainBatch, PretrainObjective
from openblip.train.optimiser import make_optimiser, rate_at
from openblip.train.progress import say
from openblip.train.run import RESUME, Run, mix
from openblip.train.start import Start, freeze, open_start, start_model
from openblip.train.views import FrozenFeatures

CRITICAL_LM_WEIGHT = 0.1
CHECKPOINT, TRANSFORMERS = RESULTS = ("checkpoint", "transformers")
"""Folders of the output: what a new run does not write over."""


def run_finetune(config: FinetuneConfig, *, resume: bool = False) -> Path:
    """Fine-tune; returns the folder of the checkpoint.

    resume: go on from the output folder's last save; the losses are those of an uninterrupted run.
    Raises OptionError, DataError, ModelNotFound, CheckpointError or TrainingError, each with its remedy.
    """
    if not resume:
        for name in (RESUME, *RESULTS):
            if (Path(config.output) / name).exists():
                remedy = "give --resume to go on, or another --output" if name == RESUME else "give another --output"
                raise TrainingError(f"{config.output} holds a run's {name} already: {remedy}")
    if resume and not (Path(config.output) / RESUME).exists():
        raise TrainingError(f"{Path(config.output) / RESUME} does not exist: start without --resume")
    try:
        start = open_finetune(config)
        sets = read_sets(config, start.model.config.vision.image_size, decode=not resume or config.skip_broken)
        sets.check(skip_broken=config.skip_broken)
        finetuner = _class_of(config)(config, start, sets)
        if resume:
            finetuner.restore()
        finetuner.run()
        return finetuner.finish()
    finally:
        ranks.leave()


def _class_of(config: FinetuneConfig) -> type[Finetuner]:
    if not config.shard:
        return Finetuner
    from openblip.train.sharding import ShardedFinetuner

    return ShardedFinetuner


def open_finetune(config: FinetuneConfig) -> Start:
    """The model to start from. Raises what `start` raises, and OptionError where its captions cannot be so long."""
    ranks.join(ranks.choose_device(config.device))
    taught = TAUGHT[config.task]
    checkpoint = open_start(config.model, taught[0], config.image_size)
    start = start_model(checkpoint, taught, dropout=config.dropout, seed=config.seed, keep_tasks=config.keep_tasks)
    freeze(start.model, config.frozen)
    room = start.model.config.text.max_positions - len(start.tokenizer.caption_prompt(config.prompt)) + 1
    if config.task == "caption" and config.dev_max_length > room:
        raise OptionError(f"dev_max_length = {config.dev_max_length} is more than this model has positions: {room}")
    return start


class Finetuner(Run):
    """Holds everything that a run needs; `run` does it. best: the highest dev score so far, and the epoch that it came
    after; waited: epochs since."""

    may_change = frozenset(
        {
            "output", "device", "threads", "save_minutes", "log_steps", "model", "data", "dev", "images", "dev_images",
            "workers", "samples", "tensorboard", "skip_broken",
        }
    )  # fmt: skip
    setting = ""
    objective: PretrainObjective | AnswerObjective

    def __init__(self, config: FinetuneConfig, start: Start, sets: Sets) -> None:
        super().__init__(config, config.steps_config())
        self.config, self.start, self.pictures, self.dev = config, start, sets.train, sets.dev
        self.doubts = sets.doubts()
        self.tokenizer, self.model_config = start.tokenizer, start.model.config
        self.vocabulary = self._write_vocabulary()
        batch = min(config.batch, len(sets.train) // self.ranks)
        self.texts = texts_a_picture(config, sets.train)
        rate = config.learning_rate or peak_rate(config.task, self.model_config.text.width)
        self.steps = replace(self.steps, batch=max(1, batch), learning_rate=rate)
        self.data = make_data(
            config, sets.train, self.tokenizer, self.model_config, batch=self.steps.batch, texts=self.texts,
            rank=self.rank, ranks=self.ranks,
        )  # fmt: skip
        self.check_steps()
        warm_up = round(config.warm_up * self.steps_an_epoch * config.epochs)
        self.steps = replace(self.steps, warm_up_steps=warm_up)

        model = prepared(start.model, self.device, recompute=config.gradient_checkpointing)
        self.objective = self.placed(make_objective(config, model, sets.train, self.tokenizer, self.texts))
        self.optimiser = make_optimiser(model, self.steps, config.layer_decay)
        self.cache = make_cache(config, start, self.data)
        self.judge = Judge(
            config.task, self.tokenizer, config.prompt, samples=config.samples, rerank=config.dev_rerank,
            tokens=config.dev_max_length,
        )  # fmt: skip
        self.board = Board(self.output / "tensorboard", wanted=False)
        self.best: float | None = None
        self.best_epoch, self.waited, self.critical_since = 0, 0, -1

    def placed(self, objective: PretrainObjective | AnswerObjective) -> PretrainObjective | AnswerObjective:
        """The objective on its device."""
        return objective.to(self.device)

    # ------------------------------------------------------------------------------------------- what a batch is

    @property
    def batches_an_epoch(self) -> int:
        """Batches of an epoch and rank."""
        return self.data.batches

    def batches(self) -> Iterator[PretrainBatch] | Iterator[AnswerBatch]:
        """The batches of the epoch in hand, from where the progress stands."""
        return self.data.epoch(self.progress.epoch, self.progress.batch, self.cache, self.start_layer)

    @property
    def start_layer(self) -> int:
        """What of the image encoder the cache stands for."""
        if self.cache is None:
            return 0
        return BACKBONE_LAYERS if isinstance(self.cache, FrozenFeatures) else ENCODED

    def losses(self, stepper: nn.Module, batch: PretrainBatch | AnswerBatch, place: int) -> Losses:
        """Forward. The contrast's soft targets are ramped up over the first epoch."""
        alpha = self.config.alpha * min(1.0, place / self.batches_an_epoch)
        losses: Losses = stepper(batch, alpha, mix(self.config.seed, place, -1))
        return losses

    # ------------------------------------------------------------------------------------------------- the run

    def begin(self) -> None:
        """What the model is worth before it learns."""
        for line in (*self.start.lines(), *self.doubts):
            self.tell(line)
        if self.dev and (score := self._measured()) is not None:
            self._note_score(score, "before the first step")

    def begin_epoch(self) -> None:
        """The stage, and the cached view, of the epoch in hand."""
        self._open_board()
        if self.config.self_critical and self.progress.epoch >= self.config.epochs and self.critical_since < 0:
            self._load_best()
            self._go_critical(self.progress.step)
            self.waited = 0
            self.tell(f"self-critical training from the checkpoint of epoch {self.best_epoch}")
        self._fill_cache()

    def end_epoch(self) -> None:
        """Measure, keep the best, and stop where nothing gets better."""
        epoch, score = self.progress.epoch, self._measured()
        better = score is None or self.best is None or score > self.best
        self.waited = 0 if better else self.waited + 1
        if better:
            self.best, self.best_epoch = score, epoch
        if score is not None:
            self._note_score(score, f"after epoch {epoch}" + (", the best so far" if better else ""))
        if self.config.patience and self.waited >= self.config.patience:
            self.tell(f"no better for {self.waited} epochs: the best was epoch {self.best_epoch}")
            # The self-critical epochs, where there are any, come next.
            self.progress.epoch = self.config.epochs if self.critical_since < 0 else self.epochs
            self.waited = 0
        self.save(checkpoint=better)

    def finish(self) -> Path:
        """Say what came of it, and write the checkpoint once more as transformers reads it. Returns its folder."""
        self.board.close()
        folder = self.output / CHECKPOINT
        if self.rank == 0:
            if self.best is not None:
                say(f"best: {METRICS[self.config.task]} {self.best:.3f} after epoch {self.best_epoch}, in {folder}")
            self._write_for_transformers(folder)
        ranks.wait_for_all()
        return folder

    def rate(self) -> float:
        """Each stage has its own warm-up and decay."""
        if self.critical_since < 0:
            return rate_at(self.progress.step, self.steps, self.steps_an_epoch * self.config.epochs)
        steps = self.steps_an_epoch * self.config.self_critical
        shorter = replace(self.steps, warm_up_steps=round(self.config.warm_up * steps))
        return self.config.self_critical_rate * rate_at(self.progress.step - self.critical_since, shorter, steps)

    def decay(self) -> float:
        """Of the averaged model."""
        return min(self.config.ema, super().decay())

    def train_mode(self) -> None:
        """Dropout on, but for what is frozen as a whole."""
        super().train_mode()
        if "vision" in self.config.frozen:
            self.objective.model.vision.eval()

    def note(self, figures: dict[str, float]) -> None:
        """Keep the figures of a progress line."""
        super().note(figures)
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        step = int(figures["step"])
        self.board.figures({**{f"train/{name}": value for name, value in figures.items()}, "train/rate": rate}, step)

    def save_midway(self) -> None:
        """Save within an epoch: the checkpoint is that of a whole one."""
        self.save(checkpoint=False)
        self.board.flush()

    def state(self) -> dict[str, Any]:
        """What else a resumed run must know."""
        return {
            "best": self.best, "best_epoch": self.best_epoch, "waited": self.waited,
            "critical_since": self.critical_since, "dev": fingerprint(self.dev),
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        if state["dev"] != fingerprint(self.dev):
            raise TrainingError("the dev data no longer hold the run's pictures and texts: resume with those")
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        if state["critical_since"] >= 0:
            self._go_critical(state["critical_since"])

    def describe(self, folder: Path) -> None:
        """training.json: where the checkpoint came from."""
        checkpoint = self.start.checkpoint
        values = {
            "task": self.config.task,
            "start": {"name": checkpoint.name, "revision": checkpoint.revision},
            "prompt": self.config.prompt,
            "epoch": self.progress.epoch,
            "dev": None if self.best is None else {METRICS[self.config.task]: self.best, "pictures": len(self.dev)},
            "pictures": len(self.pictures),
            "settings": asdict(self.config),
        }
        (folder / "training.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    # ------------------------------------------------------------------------------------------------- its parts

    def _write_vocabulary(self) -> Path:
        path = self.output / VOCABULARY
        with ranks.first_rank_first():
            try:
                self.output.mkdir(parents=True, exist_ok=True)
                if self.rank == 0:
                    write_vocabulary(self.start.checkpoint.vocabulary, path)
            except OSError as error:
                raise TrainingError(
                    f"cannot write to output = {self.output}: {error.strerror}: name another"
                ) from error
        return path

    def _fill_cache(self) -> None:
        if self.cache is None:
            return
        view, encoder = self.progress.epoch % self.config.views, self.objective.model.vision
        vision = self.cache.canvas if isinstance(self.cache, FrozenFeatures) else self.model_config.vision

        def compute(pixels: Tensor) -> Tensor:
            return encoder.backbone.run(pixels) if isinstance(self.cache, FrozenFeatures) else encoder(pixels)

        encoder.eval()
        fill_view(
            self.cache, view, lambda chosen: self.data.views(chosen, vision, view), len(self.pictures), compute,
            self.device, bfloat16=self.config.bfloat16, what="frozen image encoder's output",
        )  # fmt: skip

    def _measured(self) -> float | None:
        """The dev score of the averaged model, equal on all ranks; and some of what it says, shown."""
        model, score = self.averaged_model(), None
        if self.rank == 0 and self.dev:
            score = self.judge.score(model, self.dev)
            self._show(score)
        elif self.rank == 0:
            self._show(Score("", 0.0, self.judge.show(model, self.pictures)))
        if not self.dev:
            return None
        return ranks.gather_objects(None if score is None else score.value)[0]

    def _show(self, score: Score) -> None:
        for shown in score.shown:
            say(shown.line())
        lines = "\n".join(shown.line() for shown in score.shown)
        self.board.text("samples", lines, self.progress.step)

    def tell(self, line: str) -> None:
        """Say it once, whatever the number of processes."""
        if self.rank == 0:
            say(line)

    def _note_score(self, value: float, when: str) -> None:
        name = METRICS[self.config.task]
        if self.rank == 0:
            say(f"{name} {value:.3f} on {len(self.dev)} dev pictures {when}")
            self.board.figures({f"dev/{name}": value}, self.progress.step)
            self.log.append({"step": self.progress.step, name: value})

    def averaged_model(self) -> BlipModel:
        """The averaged model, whole on this rank."""
        return self.objective.averaged

    def _load_best(self) -> None:
        """Go on from the best checkpoint."""
        ranks.wait_for_all()
        tensors = load_checkpoint(self.output / CHECKPOINT).tensors.hold()
        state = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
        self.objective.model.load_state_dict(state)
        self.objective.averaged.load_state_dict(state)

    def _go_critical(self, step: int) -> None:
        """From this step on the model learns from what its own captions earn, without dropout."""
        assert isinstance(self.objective, PretrainObjective)
        self.critical_since = step
        self.objective.config = replace(self.objective.config, lm_weight=CRITICAL_LM_WEIGHT, cider_weight=1.0)
        for module in self.objective.model.modules():
            if isinstance(module, Residual):
                module.dropout = module.drop_path = 0.0
        self.optimiser = make_optimiser(self.objective.model, self.steps, self.config.layer_decay)

    def _open_board(self) -> None:
        if self.rank == 0 and not self.board.open and self.config.tensorboard:
            self.board = Board(self.output / "tensorboard", wanted=True, step=self.progress.step)

    def _write_for_transformers(self, folder: Path) -> None:
        target = self.output / TRANSFORMERS
        if self.model_config.vision.kind != "vit":
            return
        shutil.rmtree(target, ignore_errors=True)  # of this run, before it was resumed
        try:
            for written in convert(load_checkpoint(folder, self.config.task), target, "transformers"):
                say(f"for transformers: {written.path}")
        except CheckpointError as error:
            say(f"not written for transformers: {error}")
