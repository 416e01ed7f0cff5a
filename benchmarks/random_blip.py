"""Published-size BLIP models with random weights: the same sums as the real ones, where those cannot be fetched.

Weights drawn as transformers initialises them make every logit almost equal. Here they are scaled so that each layer
passes on what it is given and outputs differ between pictures and texts. Needs transformers and torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

Kind = Literal["BlipForConditionalGeneration", "BlipForQuestionAnswering", "BlipForImageTextRetrieval"]
Size = Literal["tiny", "base", "large"]
"""ViT-B/16 or ViT-L/16, as published; "tiny" is for tests of what uses the models."""

PAD, UNK, CLS, SEP, FIRST_WORD = 0, 100, 101, 102, 1000  # BERT's own numbers
WORDS = 30522
DEC, ENC = WORDS, WORDS + 1

_BRANCH_ENDS = ("output.dense.weight", "self_attn.projection.weight", "mlp.fc2.weight")
"""Written smaller, or what the picture adds in twelve layers drowns the words and a caption repeats one token."""
_SHARP = ("query.weight", "key.weight")
"""Written larger, so that attention chooses among tokens instead of averaging them."""


def random_blip(kind: Kind, *, image_size: int = 384, size: Size = "base", seed: int = 0) -> Any:
    """A model of transformers in evaluation mode. Questions are answered by a ViT-B at most, as no larger one was
    published for them."""
    vision: dict[str, Any] = {"image_size": image_size, "patch_size": 16}
    text: dict[str, Any] = {
        "vocab_size": WORDS + 2, "encoder_hidden_size": 768, "num_attention_heads": 12,
        "bos_token_id": DEC, "sep_token_id": SEP, "eos_token_id": SEP, "pad_token_id": PAD,
    }  # fmt: skip
    if size == "large" and kind != "BlipForQuestionAnswering":
        vision |= {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        text["encoder_hidden_size"] = 1024
    if size == "tiny":
        small = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        vision |= small
        text |= {**small, "encoder_hidden_size": 48}
    config = transformers.BlipConfig(vision_config=vision, text_config=text, image_text_hidden_size=256)
    with torch.device("meta"):
        model = getattr(transformers, kind)(config)
    model = model.to_empty(device="cpu").eval()
    scale_weights(model, seed)
    model.tie_weights()
    _fill_buffers(model)
    return model


@torch.no_grad()
def scale_weights(model: torch.nn.Module, seed: int) -> None:
    """Draw all weights anew, so that every layer passes on about as much as it is given."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower() and name.endswith("weight"):
            parameter.normal_(1, 0.1, generator=generator)
        elif parameter.ndim < 2:
            parameter.normal_(0, 0.01 if name.endswith("predictions.bias") else 0.1, generator=generator)
        elif "embedding" in name:
            parameter.normal_(0, 0.1, generator=generator)
        else:
            gain = 0.3 if name.endswith(_BRANCH_ENDS) else 3.0 if name.endswith(_SHARP) else 1.5
            parameter.normal_(0, gain / parameter[0].numel() ** 0.5, generator=generator)


def save(model: Any, folder: Path) -> None:
    """Write what `openblip` and transformers load: config, safetensors and a vocabulary of made-up words."""
    model.save_pretrained(folder)
    special = {PAD: "[PAD]", UNK: "[UNK]", CLS: "[CLS]", SEP: "[SEP]"}
    words = [special.get(index, f"word{index}") for index in range(WORDS)]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    size = model.config.vision_config.image_size
    preprocessor = {"image_processor_type": "BlipImageProcessor", "size": {"height": size, "width": size}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")


def _fill_buffers(model: torch.nn.Module) -> None:
    """Position numbers, which a model without weights left unwritten."""
    for name, buffer in model.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
