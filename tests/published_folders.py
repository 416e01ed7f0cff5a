"""Folders as transformers writes them, with tiny random weights. Knows no test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from openblip.config import ModelConfig, Task
from openblip.convert import to_published
from openblip.weights import write_tensors
from tiny import random_tensors, tiny_config, write_vocabulary

ARCHITECTURES = {
    ("caption",): "BlipForConditionalGeneration",
    ("match", "embed"): "BlipForImageTextRetrieval",
    ("answer",): "BlipForQuestionAnswering",
}


def config_for(tasks: tuple[Task, ...]) -> ModelConfig:
    """A tiny ViT with heads of 64, as every published BLIP has, for the sizes that are read off the tensors."""
    tiny = tiny_config("vit")
    vision = replace(tiny.vision, width=128, heads=2)
    return replace(tiny, vision=vision, text=replace(tiny.text, width=64, heads=1), tasks=tasks)


def transformers_folder(folder: Path, tasks: tuple[Task, ...]) -> tuple[Path, ModelConfig]:
    """A folder as transformers writes it, in float32."""
    config = config_for(tasks)
    vision, text = config.vision, config.text
    folder.mkdir()
    values = {
        "model_type": "blip",
        "architectures": [ARCHITECTURES[tasks]],
        "image_text_hidden_size": config.projection,
        "vision_config": {
            "hidden_size": vision.width, "num_hidden_layers": vision.layers, "num_attention_heads": vision.heads,
            "intermediate_size": vision.mlp_width, "image_size": vision.image_size, "patch_size": vision.patch_size,
            "layer_norm_eps": vision.layer_norm_eps,
        },
        "text_config": {
            "hidden_size": text.width, "num_hidden_layers": text.layers, "num_attention_heads": text.heads,
            "intermediate_size": text.mlp_width, "vocab_size": text.vocab_size,
            "max_position_embeddings": text.max_positions,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(values))
    preprocessor = {"image_mean": vision.mean, "image_std": vision.std, "size": {"height": 24, "width": 24}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    write_vocabulary(folder)
    tensors = to_published(random_tensors(config), config, "transformers")
    write_tensors(folder / "model.safetensors", tensors, bfloat16=False)
    return folder, config
