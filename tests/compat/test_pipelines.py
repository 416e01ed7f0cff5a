"""pipeline("image-to-text") and pipeline("visual-question-answering"), whose like transformers 5 no longer has: what
4.53 gave is in tests/data/transformers_goldens.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from openblip import compat
from openblip.errors import ImageError, InputError, OptionError

CAPTIONER, ANSWERER = "BlipForConditionalGeneration", "BlipForQuestionAnswering"


@pytest.fixture(scope="module")
def captioner(folders: dict[str, Path]) -> Any:
    return compat.pipeline("image-to-text", model=str(folders[CAPTIONER]), device=-1)


@pytest.fixture(scope="module")
def oracle(folders: dict[str, Path]) -> Any:
    return compat.pipeline("visual-question-answering", folders[ANSWERER], device="cpu", torch_dtype="float32")


def test_captions(folders: dict[str, Path], captioner: Any, photos: list[Path]) -> None:
    processor = compat.BlipProcessor.from_pretrained(folders[CAPTIONER])
    model = compat.BlipForConditionalGeneration.from_pretrained(folders[CAPTIONER])
    expected = [
        processor.decode(model.generate(**processor(str(photo), return_tensors="np"), max_length=40)[0], True)
        for photo in photos
    ]
    assert captioner(str(photos[0])) == [{"generated_text": expected[0]}]
    images = [Image.open(photo) for photo in photos]
    assert captioner(images, batch_size=2) == [[{"generated_text": text}] for text in expected]
    assert captioner(images[:1]) == [[{"generated_text": expected[0]}]]


def test_arguments(captioner: Any, photos: list[Path]) -> None:
    [short] = captioner(photos[0], prompt="a dog", max_new_tokens=3)
    assert short["generated_text"].startswith("a dog ")
    several = captioner(
        [photos[0], photos[1]], generate_kwargs={"num_beams": 3, "num_return_sequences": 2}, batch_size=2
    )
    assert [len(each) for each in several] == [2, 2]
    with pytest.raises(OptionError, match="max_new_tokens is given twice"):
        captioner(photos[0], max_new_tokens=3, generate_kwargs={"max_new_tokens": 3})
    with pytest.raises(OptionError, match="pipeline takes no stop"):
        captioner(photos[0], stop="x")
    with pytest.raises(ImageError, match=r"nowhere\.jpg does not exist"):
        captioner("nowhere.jpg")


def test_answers(oracle: Any, photos: list[Path]) -> None:
    questions = ["is the dog young?", "red hat"]
    [one] = oracle(image=str(photos[0]), question=questions[0], top_k=1)
    [two] = oracle({"image": str(photos[0]), "question": questions[1]})
    assert one["answer"] != two["answer"]
    assert oracle(str(photos[0]), questions) == [[one], [two]]
    crossed = oracle(image=[str(photos[1]), str(photos[0])], question=questions)
    assert [crossed[1], crossed[3]] == [[one], [two]]
    assert oracle([{"image": photos[0], "question": questions[0]}]) == [[one]]
    with pytest.raises(InputError, match="give image and question"):
        oracle([str(photos[0])])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "image-to-text"}, "pipeline needs a model"),
        ({"task": "text-generation", "model": "mini"}, r"pipeline\('text-generation'\) is not offered: give 'image"),
        ({"task": "image-to-text", "model": 3}, "name or folder of a model, not a int"),
        ({"task": "image-to-text", "model": "mini", "framework": "pt"}, "pipeline takes no framework"),
    ],
    ids=str,
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        compat.pipeline(**arguments)
