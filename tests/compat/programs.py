"""Programs as tutorials for BLIP write them. `blip` is what they import: transformers, or openblip.compat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

Texts = tuple[list[list[int]], list[str]]
"""Rows of ids, and their texts."""


def caption(blip: Any, folder: Path, photo: Path) -> list[str]:
    processor = blip.BlipProcessor.from_pretrained(folder)
    model = blip.BlipForConditionalGeneration.from_pretrained(folder)
    raw_image = Image.open(photo).convert("RGB")

    # conditional image captioning
    text = "a picture of"
    inputs = processor(raw_image, text, return_tensors="pt")
    out = model.generate(**inputs)
    conditional = processor.decode(out[0], skip_special_tokens=True)

    # unconditional image captioning
    inputs = processor(raw_image, return_tensors="pt")
    out = model.generate(**inputs)
    return [conditional, processor.decode(out[0], skip_special_tokens=True)]


def caption_with_beams(
    blip: Any, folder: Path, photos: list[Path], **arguments: Any
) -> tuple[list[list[int]], list[str]]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = blip.AutoProcessor.from_pretrained(folder)
    model = blip.BlipForConditionalGeneration.from_pretrained(folder, torch_dtype=torch.float32).to(device)
    model.eval()
    images = [Image.open(photo) for photo in photos]
    inputs = processor(images=images, return_tensors="pt").to(device, torch.float32)
    with torch.no_grad():
        generated_ids = model.generate(**inputs, **arguments)
    texts = processor.batch_decode(generated_ids, skip_special_tokens=True)
    return generated_ids.tolist(), [text.strip() for text in texts]


def caption_a_batch_with_a_prompt(
    blip: Any, folder: Path, photos: list[Path], prompt: str
) -> tuple[list[list[int]], list[str]]:
    processor = blip.BlipProcessor.from_pretrained(folder)
    model = blip.BlipForConditionalGeneration.from_pretrained(folder)
    images = [Image.open(photo).convert("RGB") for photo in photos]
    inputs = processor(images, [prompt] * len(images), return_tensors="pt", padding=True)
    out = model.generate(**inputs, max_new_tokens=12, num_beams=2, repetition_penalty=1.3)
    return out.tolist(), processor.batch_decode(out, skip_special_tokens=True)


def sample(blip: Any, folder: Path, photo: Path) -> Any:
    processor = blip.BlipProcessor.from_pretrained(folder)
    model = blip.BlipForConditionalGeneration.from_pretrained(folder)
    inputs = processor(images=Image.open(photo), return_tensors="pt")
    torch.manual_seed(42)
    return model.generate(
        pixel_values=inputs.pixel_values, do_sample=True, top_p=0.9, temperature=0.8, max_length=16, min_length=8,
        num_return_sequences=5,
    )  # fmt: skip


def answer(blip: Any, folder: Path, photo: Path, questions: list[str]) -> list[tuple[list[int], str]]:
    processor = blip.BlipProcessor.from_pretrained(folder)
    model = blip.BlipForQuestionAnswering.from_pretrained(folder)
    raw_image = Image.open(photo).convert("RGB")
    answers = []
    for question in questions:
        inputs = processor(raw_image, question, return_tensors="pt")
        out = model.generate(**inputs)
        answers.append((out[0].tolist(), processor.decode(out[0], skip_special_tokens=True)))
    return answers


def match(blip: Any, folder: Path, photo: Path, question: str) -> tuple[Any, Any, Any]:
    processor = blip.BlipProcessor.from_pretrained(folder)
    model = blip.BlipForImageTextRetrieval.from_pretrained(folder)
    raw_image = Image.open(photo).convert("RGB")
    inputs = processor(raw_image, question, return_tensors="pt")
    with torch.no_grad():
        itm_scores = model(**inputs)[0]
        cosine_score = model(**inputs, use_itm_head=False)[0]
    return itm_scores, cosine_score, torch.nn.functional.softmax(itm_scores, dim=1)


def rank_texts(blip: Any, folder: Path, photos: list[Path], texts: list[str]) -> tuple[Any, Any]:
    processor = blip.BlipProcessor.from_pretrained(folder)
    model = blip.BlipForImageTextRetrieval.from_pretrained(folder).eval()
    images = [Image.open(photo).convert("RGB") for photo in photos]
    inputs = processor(images=images, text=texts, padding=True, truncation=True, max_length=35, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).itm_score, model(**inputs, use_itm_head=False).itm_score
