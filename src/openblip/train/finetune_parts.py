"""The parts of a fine-tuning run, each made from the settings: batches, the prepared model, its objective, and the
cache of what is frozen. Knows no steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from openblip.config import ModelConfig
from openblip.datasets.examples import Picture, fingerprint
from openblip.engines.torch.model import BlipModel
from openblip.text import Tokenizer
from openblip.train import ranks
from openblip.train.answering import AnswerObjective
from openblip.train.config import BACKBONE_STRIDE
from openblip.train.data import PretrainData
from openblip.train.finetune_config import FinetuneConfig
from openblip.train.objectives import PretrainObjective
from openblip.train.question_data import QuestionData
from openblip.train.self_critical import SelfCritic
from openblip.train.start import Start
from openblip.train.views import FrozenFeatures, PictureCache

BACKBONE_LAYERS = 52


def make_data(
    config: FinetuneConfig,
    pictures: Sequence[Picture],
    tokenizer: Tokenizer,
    model: ModelConfig,
    *,
    batch: int,
    texts: int,
    rank: int,
    ranks: int,
) -> PretrainData | QuestionData:
    """The batches of one rank. texts: captions or questions of a picture a step."""
    vision = model.vision
    canvas = vision.image_size + (BACKBONE_STRIDE if config.augment else 0)
    data = config.data_config(canvas if config.views else 0)
    data = replace(data, max_text_tokens=min(data.max_text_tokens, model.text.max_positions))
    common: Any = {
        "batch": batch, "seed": config.seed, "rank": rank, "ranks": ranks, "plain": not config.augment,
        "mirror": config.mirror,
    }  # fmt: skip
    arguments: Any = (pictures, tokenizer, vision, data)
    if config.task == "vqa":
        return QuestionData(*arguments, questions=texts, **common)
    fewest = 2 if config.task == "retrieval" else 1
    return PretrainData(*arguments, captions_per_image=texts, fewest=fewest, prompt=config.prompt, **common)


def prepared(model: BlipModel, device: torch.device, *, recompute: bool) -> BlipModel:
    """The model on its device, in the layout that torch's convolutions are fast in. recompute: as in
    `model.run_block`."""
    model = model.to(device)
    model.vision = model.vision.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.vision.recompute = model.text.recompute = recompute
    if "answer" in model.config.tasks:
        model.answer.recompute = recompute
    return model


def make_objective(
    config: FinetuneConfig, model: BlipModel, pictures: Sequence[Picture], tokenizer: Tokenizer, texts: int
) -> PretrainObjective | AnswerObjective:
    """What the task minimises. texts: as in `make_data`."""
    if config.task == "vqa":
        return AnswerObjective(model, config.label_smoothing)
    queue = min(config.queue, len(pictures) * 2 // 3) if config.task == "retrieval" else 0
    critic = None
    if config.self_critical:
        critic = SelfCritic([picture.captions for picture in pictures], tokenizer, config.proposals)
    return PretrainObjective(model, config.objective_config(texts), queue, critic)


def make_cache(config: FinetuneConfig, start: Start, data: PretrainData | QuestionData) -> PictureCache | None:
    """Where the output of what is frozen is kept, if it is to be: of the whole image encoder, or of its backbone."""
    if not config.views:
        return None
    vision, pictures = start.model.config.vision, len(data.pictures)
    settings = (
        start.checkpoint.revision, config.seed, config.bfloat16, config.augment, config.mirror, config.crop_area,
        config.colour_jitter, vision.image_size, fingerprint(data.pictures),
    )  # fmt: skip
    made_from = hashlib.sha256(repr(settings).encode()).hexdigest()
    with ranks.first_rank_first():
        folder = Path(config.output) / "features"
        if "vision" in config.frozen:
            shape = (config.views, pictures, vision.tokens, vision.width)
            return PictureCache(folder, "states", shape, made_from)
        return FrozenFeatures(folder, data.data, pictures, vision, BACKBONE_LAYERS, made_from)
