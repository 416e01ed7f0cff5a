"""Tiny models, pictures and texts that follow from numpy's seeds alone, so that any version of transformers can be
asked about them. Knows neither torch nor transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from openblip.config import ModelConfig, Task, TextConfig, VisionConfig
from openblip.convert import to_published
from tiny import TINY_VOCABULARY, random_pixels, random_tensors, write_vocabulary

GOLDENS = Path(__file__).parent / "data" / "transformers_goldens.json"
KINDS: dict[str, tuple[Task, ...]] = {
    "BlipForConditionalGeneration": ("caption",),
    "BlipForImageTextRetrieval": ("match", "embed"),
    "BlipForQuestionAnswering": ("answer",),
}
PAD, CLS, SEP, DEC = (TINY_VOCABULARY.index(token) for token in ("[PAD]", "[CLS]", "[SEP]", "[DEC]"))
PICTURES = 8
PROMPTS = ("", "a dog runs", "two")
QUESTIONS = ("is the dog young", "a red hat", "the man plays with a ball on the grass", "two", "bird on snow", "is two")
"""About the first pictures, one each."""
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1, "max_length": 20},
    "beams": {"num_beams": 3, "max_length": 20, "min_length": 5},
    "beams that are penalised": {
        "num_beams": 4, "max_length": 16, "repetition_penalty": 1.3, "length_penalty": 2.0,
    },
}  # fmt: skip


def golden_config(kind: str) -> ModelConfig:
    # Up to 4.53 the answer decoder runs only where picture and text are of the same width.
    vision = VisionConfig(image_size=32, patch_size=8, width=48, layers=2, heads=2, mlp_width=96, layer_norm_eps=1e-5)
    text = TextConfig(
        vocab_size=len(TINY_VOCABULARY), width=48, layers=2, heads=4, mlp_width=80, max_positions=300,
        pad_id=PAD, cls_id=CLS, sep_id=SEP, dec_id=DEC, enc_id=DEC + 1,
    )  # fmt: skip
    return ModelConfig(vision, text, projection=24, tasks=KINDS[kind])


def golden_folder(folder: Path, kind: str) -> float:
    """Write a folder as transformers writes it, vocabulary and processor included; returns the sum of all weights'
    magnitudes, which tells whether numpy still draws the same."""
    config = golden_config(kind)
    tensors = random_tensors(config, seed=11)
    for name, tensor in tensors.items():
        # Words and what a layer adds are written small, or the last word drowns all else and a text repeats it.
        if name.endswith(("tokens.weight", "positions.weight")):
            tensor *= 0.2
        elif name.endswith(("attention.out.weight", "mlp.down.weight")):
            tensor /= 3
        elif name in ("lm.bias", "answer_lm.bias"):
            tensor[SEP] += 0.75 if name == "lm.bias" else 0.25  # so that texts end, and at different lengths
    folder.mkdir(parents=True, exist_ok=True)
    published = {
        name: np.ascontiguousarray(value) for name, value in to_published(tensors, config, "transformers").items()
    }
    save_file(published, folder / "model.safetensors", metadata={"format": "pt"})
    write_vocabulary(folder)
    vision, text = config.vision, config.text
    files = {
        "config.json": {
            "model_type": "blip", "architectures": [kind], "image_text_hidden_size": config.projection,
            "vision_config": {
                "hidden_size": vision.width, "num_hidden_layers": vision.layers, "num_attention_heads": vision.heads,
                "intermediate_size": vision.mlp_width, "image_size": vision.image_size,
                "patch_size": vision.patch_size, "layer_norm_eps": vision.layer_norm_eps,
            },
            "text_config": {
                "hidden_size": text.width, "num_hidden_layers": text.layers, "num_attention_heads": text.heads,
                "intermediate_size": text.mlp_width, "vocab_size": text.vocab_size,
                "max_position_embeddings": text.max_positions, "bos_token_id": DEC, "eos_token_id": SEP,
                "sep_token_id": SEP, "pad_token_id": PAD,
            },
        },
        "preprocessor_config.json": {
            "image_processor_type": "BlipImageProcessor", "processor_class": "BlipProcessor",
            "size": {"height": 32, "width": 32}, "image_mean": vision.mean, "image_std": vision.std,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer", "do_lower_case": True, "bos_token": "[DEC]",
            "additional_special_tokens": ["[ENC]"], "mask_token": None,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    }  # fmt: skip
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return float(sum(np.abs(tensor, dtype=np.float64).sum() for tensor in tensors.values()))


def golden_pixels() -> NDArray[np.float32]:
    """[PICTURES, 3, 32, 32]."""
    return random_pixels(golden_config("BlipForConditionalGeneration"), PICTURES, seed=5)


def golden_photo(index: int) -> Image.Image:
    """A photo of its own size, for what takes photos."""
    colours = np.random.default_rng(100 + index).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((40 + 7 * index, 36), Image.Resampling.NEAREST)


def ids_of(text: str) -> list[int]:
    return [TINY_VOCABULARY.index(word) for word in text.split()]


def padded(rows: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask [rows, longest]."""
    ids = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = row
    return ids, (ids != PAD).astype(np.int64)


def cut(tokens: list[int]) -> list[int]:
    """Up to [SEP]."""
    return tokens[: tokens.index(SEP) + 1] if SEP in tokens else tokens
