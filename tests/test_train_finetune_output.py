"""What a fine-tuning run of a ViT leaves for transformers: it loads there and says the same."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from finetuning import asked_folder, captioned_folder, settings, tiny_checkpoint
from openblip import Blip
from openblip.image import load_image, preprocess
from openblip.train.finetune import run_finetune
from openblip.types import GenerateOptions


def run(task: str, folder: Path, *, equal_widths: bool = True, **changes: Any) -> tuple[Path, Path]:
    """Trains long enough to say different things of different pictures; returns the run's folder and a picture."""
    data = asked_folder(folder / "data") if task == "vqa" else captioned_folder(folder / "data")
    start = tiny_checkpoint(folder, equal_widths=equal_widths)
    config = settings(
        task, data, start, folder / "run", epochs=25, learning_rate=5e-3, dropout=0.0, ema=0.5, layer_decay=1.0,
        **changes,
    )  # fmt: skip
    run_finetune(config)
    return folder / "run", sorted(data.glob("*.png"))[2]


def pixels_of(blip: Blip, task: Any, picture: Path) -> torch.Tensor:
    return torch.from_numpy(preprocess(load_image(picture), blip.part(task).config.vision))[None]


def test_captions_are_the_same_token_by_token(tmp_path: Path) -> None:
    output, picture = run("caption", tmp_path, prompt="a picture of ")
    blip = Blip.load(output / "checkpoint", engine="torch")
    theirs = transformers.BlipForConditionalGeneration.from_pretrained(output / "transformers").eval()
    processor = transformers.BlipProcessor.from_pretrained(output / "transformers")
    options = GenerateOptions(num_beams=1, max_length=16, min_length=4)
    [ours] = blip.caption(picture, "a picture of ", options)
    tokenizer = blip.part("caption").tokenizer
    prompt = torch.tensor([[*tokenizer.caption_prompt("a picture of "), tokenizer.sep_id]])
    with torch.no_grad():
        pixels = pixels_of(blip, "caption", picture)
        got = theirs.generate(pixels, prompt, max_length=16, min_length=4, num_beams=1, do_sample=False)[0].tolist()
    assert processor.decode(got, skip_special_tokens=True) == ours.text
    assert tokenizer.pieces(got[prompt.shape[1] - 1 :])[: len(ours.tokens)] == list(ours.tokens)
    assert len(ours.tokens) > 2


def test_answers_are_the_same(tmp_path: Path) -> None:
    output, picture = run("vqa", tmp_path)
    blip = Blip.load(output / "checkpoint", engine="torch", special_tokens="transformers")
    theirs = transformers.BlipForQuestionAnswering.from_pretrained(output / "transformers").eval()
    processor = transformers.BlipProcessor.from_pretrained(output / "transformers")
    options = GenerateOptions(num_beams=1, max_length=10, min_length=0)
    found = set()
    asked = ("is the picture red?", "a picture of")
    for question, photo in product(asked, sorted(picture.parent.glob("*.png"))[:3]):
        tokens = processor(text=question, return_tensors="pt")
        with torch.no_grad():
            got = theirs.generate(
                tokens["input_ids"], pixels_of(blip, "answer", photo), attention_mask=tokens["attention_mask"],
                max_length=10, min_length=0, num_beams=1, do_sample=False,
            )[0]  # fmt: skip
        [ours] = blip.answer(photo, question, options)
        assert processor.decode(got, skip_special_tokens=True) == ours.text
        found.add(ours.text)
    assert len(found) > 2


def test_what_transformers_cannot_hold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, picture = run("vqa", tmp_path, equal_widths=False)
    assert "not written for transformers: vqa cannot be written" in capsys.readouterr().err
    assert not (output / "transformers").exists()
    assert Blip.load(output / "checkpoint", engine="torch").answer(picture, "a picture of")[0].text


def test_matches_are_the_same(tmp_path: Path) -> None:
    output, picture = run("retrieval", tmp_path)
    blip = Blip.load(output / "checkpoint", engine="torch", special_tokens="transformers")
    theirs = transformers.BlipForImageTextRetrieval.from_pretrained(output / "transformers").eval()
    processor = transformers.BlipProcessor.from_pretrained(output / "transformers")
    texts = ["a blue dog sits on the grass", "the cat is red and young"]
    with torch.no_grad():
        tokens = processor(text=texts, return_tensors="pt", padding=True)
        pixels = pixels_of(blip, "match", picture).expand(2, -1, -1, -1)
        scores = theirs(tokens["input_ids"], pixels, attention_mask=tokens["attention_mask"]).itm_score.softmax(-1)[
            :, 1
        ]
    ours = blip.match(picture, texts)
    assert np.allclose([match.probability for match in ours], scores.numpy(), atol=1e-4)
    assert ours[0].probability != pytest.approx(ours[1].probability, abs=1e-3)
