"""A small training run for tests: its shard, its config, a random batch. Knows no test."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openblip.config import ModelConfig
from openblip.engines.torch.model import BlipModel
from openblip.train.config import DataConfig, ObjectiveConfig, OptimiserConfig, PretrainConfig
from openblip.train.objectives import PretrainBatch, PretrainObjective
from tiny import TINY_VOCABULARY, VisionKind, random_tensors, tiny_config

COLOURS = ("red", "green", "blue", "yellow", "white", "black")


def write_shard(folder: Path) -> Path:
    """Twelve noisy pictures with two captions each."""
    path = folder / "train-0000.tar"
    with tarfile.open(path, "w") as tar:
        for index in range(12):
            colour = COLOURS[index % len(COLOURS)]
            picture = io.BytesIO()
            Image.effect_noise((40, 30), 60).convert("RGB").point(lambda value: value // 2).save(picture, "PNG")
            shape = "cat" if index < 6 else "dog"
            captions = [f"A {colour} {shape} sits .", f"the {shape} is {colour} and young"]
            for suffix, data in (("png", picture.getvalue()), ("json", json.dumps({"captions": captions}).encode())):
                member = tarfile.TarInfo(f"photo_{index:02d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def training_config(shard: Path, output: Path, kind: VisionKind = "vit", **changes: object) -> PretrainConfig:
    vocabulary = output / "vocabulary.txt"
    output.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("\n".join(TINY_VOCABULARY) + "\n", encoding="utf-8")
    config = PretrainConfig(
        output=str(output / "run"), device="cpu", bfloat16=False, save_minutes=1e9, log_steps=1, threads=1,
        data=DataConfig(shards=(str(shard),), vocabulary=str(vocabulary), max_text_tokens=12),
        optimiser=OptimiserConfig(epochs=2, batch=4, warm_up_steps=2, learning_rate=1e-3),
        objective=ObjectiveConfig(queue=6, captions_per_image=2),
        model=tiny_config(kind),
    )  # fmt: skip
    return replace(config, **changes)  # type: ignore[arg-type]


def toml(config: PretrainConfig, epochs: int) -> str:
    """A run of the tiny ViT as a file, two batches of six a step."""
    return f"""
        output = "{config.output}"
        device = "cpu"
        bfloat16 = false
        log_steps = 1
        threads = 1
        [data]
        shards = {json.dumps(config.data.shards)}
        vocabulary = "{config.data.vocabulary}"
        [optimiser]
        epochs = {epochs}
        batch = 6
        accumulate = 2
        warm_up_steps = 5
        learning_rate = 3e-3
        dropout = 0
        [objective]
        queue = 6
        [model]
        projection = 24
        [model.vision]
        image_size = 24
        patch_size = 8
        width = 32
        layers = 2
        heads = 2
        mlp_width = 80
        [model.text]
        width = 48
        layers = 2
        heads = 4
        mlp_width = 96
        max_positions = 32
        """


def random_batch(config: ModelConfig, images: int, captions: int, seed: int = 0) -> PretrainBatch:
    random = np.random.default_rng(seed)
    size = config.vision.image_size
    lengths = random.integers(3, 9, images * captions)
    tokens = random.integers(6, config.text.vocab_size, (images * captions, 9))
    for row, length in enumerate(lengths):
        tokens[row, length - 1 :] = [config.text.sep_id] + [config.text.pad_id] * (9 - length)
    pixels = random.standard_normal((images, 3, size, size)).astype(np.float32)
    return PretrainBatch(torch.tensor(pixels), torch.arange(images), torch.tensor(tokens), torch.tensor(lengths))


def objective_for(config: ModelConfig, settings: ObjectiveConfig, queue: int, seed: int = 0) -> PretrainObjective:
    model = BlipModel(config)
    model.load_state_dict({name: torch.tensor(value) for name, value in random_tensors(config, seed).items()})
    with torch.no_grad():
        model.itc.temperature.fill_(0.07)
    torch.manual_seed(seed)
    return PretrainObjective(model, settings, queue)
