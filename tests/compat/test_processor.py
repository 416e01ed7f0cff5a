"""The processor against transformers' own of the same folder: pixels, ids, masks and texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from openblip import compat
from openblip.errors import CheckpointError, ImageError, InputError, OptionError
from openblip.pipeline import Blip
from transformers_models import CLS, DEC, SEP

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers warns of its own defaults

TEXTS = ["A dog's ball, isn't it?", "the red hats", "", "unknownword — the cat.", "a man plays " * 20]


@pytest.fixture(scope="module")
def pair(folders: dict[str, Path]) -> tuple[Any, Any]:
    folder = folders["BlipForConditionalGeneration"]
    return transformers.BlipProcessor.from_pretrained(folder), compat.BlipProcessor.from_pretrained(folder)


def same(theirs: Any, ours: Any) -> None:
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert type(ours[name]) is type(value), name
        if isinstance(value, list):
            assert np.array_equal(np.array(ours[name], dtype=object), np.array(value, dtype=object)), name
            continue
        assert ours[name].dtype == value.dtype
        assert ours[name].shape == value.shape
        np.testing.assert_allclose(np.asarray(ours[name]), np.asarray(value), atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["pt", "np"])
def test_pixels(pair: tuple[Any, Any], photos: list[Path], kind: str) -> None:
    theirs, ours = pair
    images = [Image.open(photo) for photo in photos]
    same(theirs(images, return_tensors=kind), ours(images, return_tensors=kind))
    same(theirs(images=images[0], return_tensors=kind), ours(images=images[0], return_tensors=kind))
    array = np.asarray(images[0])
    for given in (array, array.transpose(2, 0, 1), torch.from_numpy(array.transpose(2, 0, 1).copy()), str(photos[0])):
        same(theirs(given, return_tensors=kind), ours(given, return_tensors=kind))
    assert [pixels.shape for pixels in ours(images).pixel_values] == [(3, 32, 32)] * 5


@pytest.mark.parity
def test_a_turned_photo_lies_as_in_transformers(pair: tuple[Any, Any], tmp_path: Path) -> None:
    theirs, ours = pair
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours).resize((40, 30), Image.Resampling.NEAREST).save(tmp_path / "a.png", exif=exif)
    image = Image.open(tmp_path / "a.png").convert("RGB")
    same(theirs(image, return_tensors="np"), ours(image, return_tensors="np"))
    same(theirs(str(tmp_path / "a.png"), return_tensors="np"), ours(str(tmp_path / "a.png"), return_tensors="np"))


@pytest.mark.parity
@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": True, "return_tensors": "pt"},
        {"padding": "longest", "return_tensors": "np"},
        {"padding": "max_length", "max_length": 30, "truncation": True, "return_tensors": "pt"},
        {"padding": "max_length", "truncation": True, "max_length": 12, "return_tensors": "np"},
        {"padding": True, "truncation": True, "max_length": 8, "return_tensors": "np"},
        {"padding": True, "max_length": 8, "return_tensors": "np"},
        {"max_length": 8},
        {"truncation": "longest_first", "max_length": 8},
        {},
    ],
    ids=str,
)
def test_texts(pair: tuple[Any, Any], arguments: dict[str, Any]) -> None:
    theirs, ours = pair
    same(theirs(text=TEXTS, **arguments), ours(text=TEXTS, **arguments))
    same(theirs(text=TEXTS[0], **arguments), ours(text=TEXTS[0], **arguments))
    alone = theirs.tokenizer(TEXTS[1], return_token_type_ids=False, **arguments)
    same(alone, ours.tokenizer(TEXTS[1], **arguments))


@pytest.mark.parity
@pytest.mark.parametrize("skip", [True, False])
def test_ids_to_text(pair: tuple[Any, Any], skip: bool) -> None:
    theirs, ours = pair
    generator = np.random.default_rng(5)
    rows = generator.integers(0, len(ours.tokenizer), (40, 12))
    rows[:, 0] = DEC
    texts = ours.batch_decode(torch.from_numpy(rows), skip_special_tokens=skip)
    assert texts == theirs.batch_decode(rows, skip_special_tokens=skip)
    assert ours.decode(rows[0], skip_special_tokens=skip) == texts[0]
    assert ours.decode(rows[0].tolist(), skip) == texts[0]


def test_inputs_move_and_read_as_attributes(pair: tuple[Any, Any], photos: list[Path]) -> None:
    ours = pair[1]
    inputs = ours(Image.open(photos[0]), "a dog", return_tensors="pt")
    assert inputs.input_ids.tolist()[0][:: len(inputs.input_ids[0]) - 1] == [CLS, SEP]
    assert inputs.to("cpu", torch.float16) is inputs
    assert (inputs.pixel_values.dtype, inputs["input_ids"].dtype) == (torch.float16, torch.int64)
    assert inputs.to(torch.device("cpu"), dtype="bfloat16").pixel_values.dtype == torch.bfloat16
    with pytest.raises(AttributeError, match="these inputs hold pixel_values, input_ids, attention_mask, not labels"):
        _ = inputs.labels
    arrays = ours(Image.open(photos[0]), return_tensors="np").to("cuda", np.float32)
    assert isinstance(arrays.pixel_values, np.ndarray)
    with pytest.raises(OptionError, match=r"dtype=torch\.float64 is not offered"):
        inputs.to(torch.float64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda processor: processor(), InputError, "give images, text or both"),
        (lambda processor: processor([]), InputError, "images is an empty list"),
        (lambda processor: processor(text=["a", "a dog"], return_tensors="np"), InputError, "give padding=True"),
        (lambda processor: processor(text="a", return_tensors="tf"), OptionError, "return_tensors='tf'"),
        (lambda processor: processor(text="a", padding="left"), OptionError, "padding='left' is unknown"),
        (lambda processor: processor(text="a", videos=1), OptionError, "takes no videos"),
        (lambda processor: processor(text=["a", 3]), InputError, "a text must be a string, not int"),
        (lambda processor: processor(np.zeros((4, 4, 3))), ImageError, "an array of float64 is not offered"),
        (lambda processor: processor("nowhere.jpg"), ImageError, "nowhere.jpg does not exist"),
        (lambda processor: processor.decode([[1, 2], [3, 4]]), InputError, "use batch_decode"),
        (lambda processor: processor.decode(["a"]), InputError, "token_ids is no array of numbers"),
        (lambda processor: processor.decode([4], errors="x"), OptionError, "decode takes no errors"),
    ],
)
def test_refusals(pair: tuple[Any, Any], call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(pair[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resample": 2}, "sets resample to 2: only 3 is offered"),
        ({"do_center_crop": True}, "sets do_center_crop to True: only False"),
        ({"rescale_factor": 1.0}, "sets rescale_factor to 1.0"),
        ({"size": {"shortest_edge": 30}}, "sets size to .*: only a square"),
    ],
)
def test_other_preprocessing_is_refused(
    folders: dict[str, Path], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(folders["BlipForConditionalGeneration"], tmp_path / "model")
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["image_processor"] |= change
    (folder / "processor_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=message):
        compat.BlipProcessor.from_pretrained(folder)


@pytest.mark.parametrize("old", [True, False], ids=["preprocessor_config.json", "processor_config.json"])
def test_colours_are_read_from_either_file(folders: dict[str, Path], tmp_path: Path, old: bool) -> None:
    """transformers from 5 on writes one file for pictures and texts; `Blip` must not take CLIP's colours instead."""
    folder = shutil.copytree(folders["BlipForConditionalGeneration"], tmp_path / "model")
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["image_processor"] |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    if old:
        (folder / "preprocessor_config.json").write_text(json.dumps(settings["image_processor"]))
        (folder / "processor_config.json").unlink()
    else:
        (folder / "processor_config.json").write_text(json.dumps(settings))
    vision = Blip.load(folder).config.vision
    assert (vision.mean, vision.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    pixels = compat.BlipProcessor.from_pretrained(folder)(np.zeros((8, 8, 3), np.uint8), return_tensors="np")
    np.testing.assert_allclose(pixels.pixel_values[0, :, 0, 0], [-0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4], rtol=1e-6)


def test_a_folder_as_transformers_saves_it_has_no_vocab_txt(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["BlipForConditionalGeneration"], tmp_path / "model")
    (folder / "vocab.txt").unlink()
    theirs, ours = (library.BlipProcessor.from_pretrained(folder) for library in (transformers, compat))
    same(theirs(text=TEXTS[0], return_tensors="np"), ours(text=TEXTS[0], return_tensors="np"))
