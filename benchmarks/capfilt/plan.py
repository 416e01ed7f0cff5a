"""The runs of the experiment: what each is called, where it lies, and its TOML. Knows no tensor.

Sizes are small, so that a run takes minutes on two cores: the frozen part of the backbone is cached, and what learns
has a few million weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARMS = ("none", "filter", "captioner", "both")
TITLES = {"none": "no bootstrapping", "filter": "filter", "captioner": "captioner", "both": "captioner + filter"}
QUEUE_START_STEPS, ALPHA_RAMP_STEPS = 120, 240
SPARES = (0.03, 0.06, 0.12, 0.25, 1.0)
"""What share of its pictures an arm may go without to make the steps equal: the first that does."""


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    work: where everything is written. data: the data folder with flickr8k. clean: pictures kept clean, for captioner
    and filter alone. share: of the others that are made noisy. texts: a picture. seed: of the noise and the shared
    models; seeds: of the arms. steps: of an arm's training, about; batch: pictures a step. tune_epochs: of captioner
    and filter on the clean pictures. keep: share of the web texts that the filter keeps; the threshold that this comes
    to judges the synthetic ones too. The paper's 0.5 is too much for a filter that saw so little: two of three pairs
    that it learned from did not match.
    """

    work: Path
    data: Path
    clean: int = 1000
    share: float = 0.6
    texts: int = 1
    seed: int = 2022
    seeds: tuple[int, ...] = (0, 1)
    steps: int = 600
    batch: int = 64
    tune_epochs: int = 8
    keep: float = 0.45
    threads: int = 0
    bfloat16: bool = True

    @property
    def noisy_shards(self) -> Path:
        """Where the noisy set lies."""
        return self.work / "noisy"

    @property
    def clean_shard(self) -> Path:
        """The clean pictures."""
        return self.work / "clean" / "clean-0000.tar"

    @property
    def vocabulary(self) -> Path:
        """One for all runs."""
        return self.work / "vocab.txt"

    @property
    def dev(self) -> Path:
        """The pictures that nobody learns from."""
        return self.data / "flickr8k" / "dev-0000.tar"

    def run(self, name: str) -> Path:
        """The output folder of a training run."""
        return self.work / "runs" / name

    def bootstrapped(self, arm: str) -> Path:
        """What `openblip capfilt` made for an arm."""
        return self.work / "capfilt" / arm

    def arm_shard(self, arm: str) -> Path:
        """What an arm learns from."""
        return self.work / "arms" / f"{arm}.tar"


@dataclass(frozen=True, slots=True)
class Steps:
    """How an arm comes to the common number of steps: so many epochs over so many of its pictures."""

    pictures: int
    epochs: int

    def batches(self, batch: int) -> int:
        """Of an epoch."""
        return self.pictures // batch


def equal_steps(pictures: Sequence[int], batch: int, about: int) -> tuple[int, list[Steps]]:
    """A number of steps within a tenth of `about` that every arm can take exactly, each in whole epochs over nearly all
    of its pictures, and how. Raises ValueError where an arm has less than a batch."""
    if min(pictures) < batch:
        raise ValueError(f"an arm has {min(pictures)} pictures, fewer than a batch of {batch}")
    for spare in SPARES:
        for away in range(about // 10 + 1):
            for steps in (about + away, about - away):
                found = [plan for count in pictures if (plan := _epochs(count, batch, steps, spare))]
                if len(found) == len(pictures):
                    return steps, found
    raise ValueError(f"steps={about} is out of range: give 1 or more")


def pretrain_toml(
    experiment: Experiment, output: Path, shards: Sequence[Path], epochs: int, batches: int, seed: int
) -> str:
    """A run from the ImageNet backbone with all three losses: the text decoder reads captions first, then the encoder
    takes over its self-attention, as in mini's first runs. batches: an epoch; what is set in epochs comes out equal in
    steps."""
    values = _common(experiment, output, shards, seed)
    values["backbone"] = str(experiment.data / "mobilenet_v2_imagenet.safetensors")
    values["data"] |= {
        "text": [str(experiment.data / "text" / "coco-val2017-captions.jsonl")],
        "vocabulary": str(experiment.vocabulary), "cached_views": 2, "canvas": 256,
    }  # fmt: skip
    values["optimiser"] |= {
        "epochs": epochs, "learning_rate": 7e-4, "warm_up_steps": 60, "text_warm_up_epochs": 1,
        "encoder_from_decoder": True,
    }  # fmt: skip
    values["objective"] = {
        "queue": 1024, "queue_start_epoch": round(QUEUE_START_STEPS / batches),
        "alpha_ramp_epochs": ALPHA_RAMP_STEPS / batches, "captions_per_image": 1,
    }  # fmt: skip
    return to_toml(values)


def tune_toml(experiment: Experiment, output: Path, start: Path, *, captioner: bool) -> str:
    """Captioner (LM alone) or filter (ITC and ITM alone) from the model that was pre-trained on the noisy set."""
    values = _common(experiment, output, [experiment.clean_shard], experiment.seed)
    values["start"] = str(start)
    values["data"] |= {"cached_views": 3, "canvas": 256}
    values["optimiser"] |= {"epochs": experiment.tune_epochs, "learning_rate": 2e-4, "warm_up_steps": 10}
    weights = {"lm_weight": 1.0, "itc_weight": 0.0, "itm_weight": 0.0}
    if not captioner:
        weights = {"lm_weight": 0.0, "itc_weight": 1.0, "itm_weight": 1.0}
    values["objective"] = {"queue": 0, "alpha_ramp_epochs": 0.0, "captions_per_image": 2, **weights}
    return to_toml(values)


def to_toml(values: dict[str, Any], prefix: str = "") -> str:
    """Tables of plain values as TOML. JSON writes texts, numbers, truth values and lists of them as TOML does."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if not isinstance(value, dict)]
    for name, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{prefix}{name}]", to_toml(table, f"{prefix}{name}.").rstrip()]
    return "\n".join(lines) + "\n"


def _epochs(pictures: int, batch: int, steps: int, spare: float) -> Steps | None:
    """Whole epochs that come to so many steps, over as many pictures as can be."""
    most = pictures // batch
    for batches in range(most, max(0, int(most * (1 - spare)) - 1), -1):
        if steps % batches == 0:
            return Steps(pictures if batches == most else batches * batch, steps // batches)
    return None


def _common(experiment: Experiment, output: Path, shards: Sequence[Path], seed: int) -> dict[str, Any]:
    return {
        "output": str(output),
        "seed": seed,
        "device": "cpu",
        "bfloat16": experiment.bfloat16,
        "threads": experiment.threads,
        "data": {"shards": [str(shard) for shard in shards], "crop_area": 0.7, "max_text_tokens": 22},
        "optimiser": {
            "batch": experiment.batch, "frozen_layers": 48, "backbone_rate": 0.15, "dropout": 0.1,
        },
        "model": {
            "projection": 128,
            "vision": {
                "kind": "mobilenet_v2", "image_size": 224, "width": 192, "layers": 1, "heads": 4, "mlp_width": 768,
                "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            },
            "text": {"width": 192, "layers": 3, "heads": 4, "mlp_width": 768, "max_positions": 32},
        },
    }  # fmt: skip
