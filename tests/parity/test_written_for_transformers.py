"""What we write for transformers is loaded by transformers itself, from the processor to the last weight, and gives
there what it gives here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose
from PIL import Image

from openblip import Blip, GenerateOptions
from openblip.checkpoint import load_checkpoint, save_checkpoint
from openblip.config import TASKS, Task
from openblip.convert import Written, convert
from openblip.image import preprocess
from published_folders import config_for
from tiny import random_tensors, write_vocabulary

pytestmark = pytest.mark.parity

CLASSES = {
    ("caption",): "BlipForConditionalGeneration",
    ("match", "embed"): "BlipForImageTextRetrieval",
    ("answer",): "BlipForQuestionAnswering",
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ours that does everything, its text encoder as wide as its image encoder, as in every ViT-B."""
    folder = tmp_path_factory.mktemp("ours")
    config = replace(config_for(("caption",)), tasks=TASKS)
    config = replace(config, text=replace(config.text, width=config.vision.width, heads=2))
    save_checkpoint(folder / "model", config, random_tensors(config), write_vocabulary(folder))
    return folder / "model"


@pytest.fixture(scope="module")
def written(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Task, ...], Written]:
    folders = convert(load_checkpoint(ours), tmp_path_factory.mktemp("theirs"), "transformers")
    return {each.tasks: each for each in folders}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((60, 40), Image.Resampling.NEAREST)


def theirs(folder: Path, tasks: tuple[Task, ...]) -> tuple[Any, Any]:
    """Model and processor as transformers loads them."""
    model, report = getattr(transformers, CLASSES[tasks]).from_pretrained(folder, output_loading_info=True)
    assert {name: list(found) for name, found in report.items() if found} == {}
    return model.eval(), transformers.AutoProcessor.from_pretrained(folder, backend="pil")


def test_a_folder_for_each_task(written: dict[tuple[Task, ...], Written]) -> None:
    assert {tasks: each.path.name for tasks, each in written.items()} == {
        ("caption",): "caption",
        ("match", "embed"): "match",
        ("answer",): "answer",
    }


@pytest.mark.parametrize("tasks", CLASSES, ids="+".join)
def test_loaded_back_the_tensors_are_equal(
    ours: Path, written: dict[tuple[Task, ...], Written], tasks: tuple[Task, ...]
) -> None:
    before, after = load_checkpoint(ours), load_checkpoint(written[tasks].path)
    assert after.config == replace(before.config, tasks=tasks)
    for name, tensor in after.tensors.items():
        assert np.array_equal(tensor, before.tensors[name]), name


@pytest.mark.parametrize("prompt", ["", "a picture of"])
@torch.no_grad()
def test_captions(written: dict[tuple[Task, ...], Written], photo: Image.Image, prompt: str) -> None:
    folder = written[("caption",)].path
    model, processor = theirs(folder, ("caption",))
    inputs = processor(images=photo, text=prompt or None, return_tensors="pt")
    found = Blip.load(folder, engine="torch", device="cpu").caption(
        photo, prompt, GenerateOptions(num_beams=3, max_length=12, min_length=0)
    )[0]
    [tokens] = model.generate(**inputs, num_beams=3, do_sample=False, max_length=12, min_length=0).tolist()
    assert processor.decode(tokens, skip_special_tokens=True) == found.text
    pieces = processor.tokenizer.convert_ids_to_tokens(tokens)
    assert tuple(pieces[-len(found.tokens) :]) == found.tokens


@torch.no_grad()
def test_probabilities_of_tokens(written: dict[tuple[Task, ...], Written], photo: Image.Image) -> None:
    folder = written[("caption",)].path
    model, processor = theirs(folder, ("caption",))
    inputs = processor(images=photo, return_tensors="pt")
    greedy = GenerateOptions(num_beams=1, max_length=12, min_length=0)
    [found] = Blip.load(folder, engine="openvino", precision="f32").caption(photo, options=greedy)
    output = model.generate(
        **inputs, do_sample=False, max_length=12, min_length=0, return_dict_in_generate=True, output_scores=True
    )
    chosen = output.sequences[0, 1 : 1 + len(output.scores)]
    expected = [float(each.softmax(-1)[0, token]) for each, token in zip(output.scores, chosen, strict=True)]
    assert_allclose(found.token_probabilities, expected, atol=1e-4)


@torch.no_grad()
def test_matches(written: dict[tuple[Task, ...], Written], photo: Image.Image) -> None:
    folder = written[("match", "embed")].path
    model, processor = theirs(folder, ("match", "embed"))
    texts = ["a dog on the grass", "two birds"]
    inputs = processor(images=[photo] * 2, text=texts, padding=True, return_tensors="pt")
    blip = Blip.load(folder, engine="openvino", precision="f32")
    rows = blip.tokenizer.encode_unimodal(texts, 32)  # [CLS] in front, as transformers has it
    assert inputs["input_ids"].tolist() == rows.tokens.tolist()
    states = blip.engine.encode_images(np.repeat(inputs["pixel_values"].numpy()[:1], 2, axis=0))
    itm = blip.engine.match(states, np.arange(2), rows.tokens, rows.lengths)
    assert_allclose(itm, model(**inputs, use_itm_head=True).itm_score.numpy(), atol=1e-4)
    itc = blip.embed_images(photo) @ blip.embed_texts(texts).T
    assert_allclose(itc, model(**inputs, use_itm_head=False).itm_score.numpy()[:1], atol=1e-4)


@torch.no_grad()
def test_answers(written: dict[tuple[Task, ...], Written], photo: Image.Image) -> None:
    folder = written[("answer",)].path
    model, processor = theirs(folder, ("answer",))
    inputs = processor(images=photo, text="is the dog young", return_tensors="pt")
    assert inputs["input_ids"][0, 0] == processor.tokenizer.cls_token_id
    inputs["input_ids"][0, 0] = processor.tokenizer.convert_tokens_to_ids("[ENC]")  # as BLIP was trained
    [tokens] = model.generate(**inputs, num_beams=3, do_sample=False, max_length=10, min_length=1).tolist()
    found = Blip.load(folder, engine="torch", device="cpu").answer(photo, "is the dog young")[0]
    assert processor.decode(tokens, skip_special_tokens=True) == found.text


def test_pixels(written: dict[tuple[Task, ...], Written], photo: Image.Image) -> None:
    folder = written[("caption",)].path
    _, processor = theirs(folder, ("caption",))
    expected = processor(images=photo, return_tensors="pt")["pixel_values"].numpy()
    found = preprocess(photo, load_checkpoint(folder).config.vision)
    assert_allclose(found, expected[0], atol=1e-5)


def test_half_the_size_in_bfloat16(ours: Path, tmp_path: Path) -> None:
    [half] = convert(load_checkpoint(ours), tmp_path / "half", "transformers", part="caption", bfloat16=True)
    [whole] = convert(load_checkpoint(ours), tmp_path / "whole", "transformers", part="caption")
    model, _ = theirs(half.path, ("caption",))
    assert model.dtype == torch.bfloat16
    sizes = [(each.path / "model.safetensors").stat().st_size for each in (half, whole)]
    assert sizes[0] < 0.55 * sizes[1]
