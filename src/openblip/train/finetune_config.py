"""The typed settings of a fine-tuning run: the options of `openblip train caption | vqa | retrieval`, or one TOML file.
Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from openblip.config import Task
from openblip.datasets.columns import Columns
from openblip.errors import OptionError
from openblip.train.config import BACKBONE_STRIDE, DataConfig, ObjectiveConfig, OptimiserConfig, RunConfig
from openblip.train.settings import MANY, build, read_toml, within

Kind = Literal["caption", "vqa", "retrieval"]
TAUGHT: dict[str, tuple[Task, ...]] = {"caption": ("caption",), "vqa": ("answer",), "retrieval": ("match", "embed")}
"""What each kind of fine-tuning teaches, and so what its result can do."""
FROZEN = ("none", "backbone", "vision", "text")
MOST_TEXTS = 5


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """One fine-tuning run; docs/fine-tuning.md says why the defaults are what they are.

    task: "caption", "vqa" or "retrieval". model: what --model takes: a name, a folder or a .pth. image_size: side of
    the pictures in pixels; 0 keeps the checkpoint's. keep_tasks: the result keeps what else the checkpoint can do,
    whose own weights do not learn.

    data, images, *_column: as in `read_pictures`. dev, dev_images: the same for pictures that are not learned
    from, by which the best epoch is chosen; dev_share: share of the data that is set aside for that instead.
    dev_limit: at most so many of them are looked at. dev_rerank: pairs of a query that ITM re-ranks there;
    dev_max_length: tokens of a caption, those of the prompt not counted.
    skip_broken: go on without entries that cannot be used.

    prompt: what stands before every caption, and is not learned. max_text_tokens: longer texts are cut.
    texts_per_image: captions or questions of a picture a step; 0: as many as the pictures have on average, at most 5.
    augment: random crops, flips and changes of colour; crop_area, colour_jitter: as in `DataConfig`. mirror: False
    for pictures that must not be mirrored. views: 0 looks at every picture anew each epoch; n > 0 keeps what the frozen
    part of the image encoder makes of n views of it.

    learning_rate: of the topmost layers and heads; 0: by task and width, see `peak_rate`. layer_decay: what each layer
    below learns more slowly by. backbone_rate: the convolutional backbone's further share. warm_up: share of the steps.
    freeze: parts that do not learn: "backbone", "vision" (backbone included), "text". gradient_checkpointing: blocks
    are computed twice instead of kept. ema: of the averaged model, which is what is measured and saved; 0: the model
    itself. patience: epochs without a better dev score after which learning ends; 0: never.

    self_critical: further epochs of self-critical training on CIDEr-D (captions alone). proposals: captions of its own
    a picture there; self_critical_rate: share of the learning rate.

    queue, alpha: of the contrast, as in `ObjectiveConfig`. shard: parameters are spread over the processes (FSDP2).
    samples: captions or answers shown after each epoch. tensorboard: also write the figures for TensorBoard.

    Raises OptionError on a value outside its range, or values that exclude each other.
    """

    output: str = "runs/finetune"
    task: str = "caption"
    model: str = ""
    image_size: int = 0
    keep_tasks: bool = False
    data: tuple[str, ...] = ()
    images: str = ""
    image_column: str = ""
    caption_column: str = ""
    question_column: str = ""
    answer_column: str = ""
    dev: tuple[str, ...] = ()
    dev_images: str = ""
    dev_share: float = 0.0
    dev_limit: int = 1000
    dev_rerank: int = 16
    dev_max_length: int = 20
    skip_broken: bool = False
    prompt: str = ""
    max_text_tokens: int = 40
    texts_per_image: int = 0
    augment: bool = True
    mirror: bool = True
    crop_area: float = 0.5
    colour_jitter: float = 0.3
    views: int = 0
    workers: int = 0
    epochs: int = 10
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 0.0
    layer_decay: float = 0.9
    backbone_rate: float = 0.1
    warm_up: float = 0.1
    final_share: float = 0.0
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    dropout: float = 0.1
    word_dropout: float = 0.0
    label_smoothing: float = 0.1
    freeze: tuple[str, ...] = ()
    gradient_checkpointing: bool = False
    ema: float = 0.995
    patience: int = 3
    self_critical: int = 0
    self_critical_rate: float = 0.2
    proposals: int = 5
    queue: int = 57600
    alpha: float = 0.4
    shard: bool = False
    samples: int = 3
    tensorboard: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in TAUGHT:
            raise OptionError(f"task = {self.task!r} is unknown: give one of {', '.join(TAUGHT)}")
        limits = {
            "image_size": (0, 10**5), "dev_share": (0.0, 0.9), "dev_limit": (1, MANY), "dev_rerank": (0, MANY),
            "dev_max_length": (5, 512),
            "max_text_tokens": (3, 512), "texts_per_image": (0, 1000), "crop_area": (0.01, 1.0),
            "colour_jitter": (0.0, 1.0), "views": (0, 1000), "workers": (0, 1024), "epochs": (1, MANY),
            "batch": (1, MANY), "accumulate": (1, MANY), "learning_rate": (0.0, 10.0), "layer_decay": (0.01, 1.0),
            "backbone_rate": (0.0, 100.0), "warm_up": (0.0, 1.0), "final_share": (0.0, 1.0),
            "weight_decay": (0.0, 10.0), "clip_norm": (1e-6, 1e9), "dropout": (0.0, 0.99), "word_dropout": (0.0, 0.99),
            "label_smoothing": (0.0, 0.99), "ema": (0.0, 0.99999), "patience": (0, MANY), "self_critical": (0, MANY),
            "self_critical_rate": (0.0, 10.0), "proposals": (2, 64), "queue": (0, MANY), "alpha": (0.0, 1.0),
            "samples": (0, 1000),
        }  # fmt: skip
        within(self, "", limits)
        if unknown := [name for name in self.freeze if name not in FROZEN]:
            raise OptionError(f"freeze = {unknown[0]!r} is unknown: give one of {', '.join(FROZEN)}")
        self._check_together()

    def _check_together(self) -> None:
        """Settings that exclude each other."""
        if self.dev and self.dev_share:
            raise OptionError("dev and dev_share exclude each other: leave one out")
        if self.task != "caption" and (self.self_critical or self.prompt):
            name = "self_critical" if self.self_critical else "prompt"
            raise OptionError(f"{name} is for captions, not for {self.task}: leave it out")
        if self.prompt and self.self_critical:
            raise OptionError("prompt and self_critical exclude each other: its captions start without one")
        if self.task == "retrieval" and self.batch < 2:
            raise OptionError("batch = 1 has no wrong pairs to learn from: give 2 or more")
        if self.views and not {"backbone", "vision"} & set(self.frozen):
            raise OptionError("views keeps what a frozen image encoder makes: add freeze vision, or leave it out")
        if self.shard and (self.self_critical or self.views):
            name = "self_critical" if self.self_critical else "views"
            raise OptionError(f"shard and {name} exclude each other: leave one out")

    @property
    def frozen(self) -> tuple[str, ...]:
        """The parts that do not learn; "none" among them takes back what else was named."""
        return () if "none" in self.freeze else self.freeze

    @property
    def columns(self) -> Columns:
        """What the columns of tables are called."""
        return Columns(self.image_column, self.caption_column, self.question_column, self.answer_column)

    def data_config(self, canvas: int) -> DataConfig:
        """As views of pictures are told. canvas: side in pixels of kept views."""
        return DataConfig(
            cached_views=self.views, canvas=canvas // BACKBONE_STRIDE * BACKBONE_STRIDE, crop_area=self.crop_area,
            colour_jitter=self.colour_jitter, max_text_tokens=self.max_text_tokens, workers=self.workers,
        )  # fmt: skip

    def steps_config(self) -> OptimiserConfig:
        """As the loop and the optimiser are told; its warm_up_steps follow from the data."""
        return OptimiserConfig(
            epochs=self.epochs + self.self_critical, batch=self.batch, accumulate=self.accumulate,
            learning_rate=self.learning_rate, backbone_rate=self.backbone_rate, final_share=self.final_share,
            weight_decay=self.weight_decay, clip_norm=self.clip_norm, dropout=self.dropout, betas=(0.9, 0.98),
        )  # fmt: skip

    def objective_config(self, texts_per_image: int) -> ObjectiveConfig:
        """As `PretrainObjective` is told: captions are its LM loss alone, retrieval its ITC and ITM."""
        retrieval = 1.0 if self.task == "retrieval" else 0.0
        return ObjectiveConfig(
            queue=self.queue, momentum=self.ema, alpha=self.alpha, label_smoothing=self.label_smoothing,
            captions_per_image=texts_per_image, word_dropout=self.word_dropout, itc_weight=retrieval,
            itm_weight=retrieval, lm_weight=1.0 - retrieval, proposals=self.proposals,
        )  # fmt: skip


def peak_rate(task: str, width: int) -> float:
    """The learning rate that is taken where none is given.

    That of the paper's code for a text transformer 768 wide (1e-5; for questions 2e-5), more for narrower ones, whose
    steps are shorter: in proportion to the square of the width.
    """
    return (2e-5 if task == "vqa" else 1e-5) * (768 / width) ** 2


def read_finetune_config(path: Path | None, task: Kind, given: Mapping[str, Any]) -> FinetuneConfig:
    """The settings of a TOML file, where there is one, overruled by those that are given.

    Raises OptionError that names an unknown key, a wrong type or value, or a file for another task.
    """
    values = read_toml(path) if path else {}
    if values.get("task", task) != task:
        raise OptionError(f"{path} is for task = {values['task']!r}: run 'openblip train {values['task']}'")
    known = {entry.name for entry in fields(FinetuneConfig)}
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    together = {"task": task, "output": f"runs/{task}", **values}
    together |= {name: value for name, value in options.items() if name in known}
    config: FinetuneConfig = build(FinetuneConfig, together, f"the config {path}" if path else "the options")
    return config
