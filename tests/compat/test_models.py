"""What the models of openblip.compat do beyond transformers' own programs: numpy without torch, batches that give what
single calls give, devices and number types, and refusals by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from openblip import Blip, GenerateOptions, compat
from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.engines.openvino.processor import has_bfloat16
from openblip.engines.torch.engine import TorchEngine
from openblip.errors import CheckpointError, InputError, MissingExtra, ModelError, ModelNotFound, OptionError
from transformers_models import CLS, DEC, PAD, SEP, WORDS

CAPTIONER, ANSWERER, MATCHER = "BlipForConditionalGeneration", "BlipForQuestionAnswering", "BlipForImageTextRetrieval"
QUESTIONS = ["is the dog young?", "red hat", "what does the man play with on the grass", "two"]


def loaded(folders: dict[str, Path], name: str, **arguments: Any) -> tuple[Any, Any]:
    return (
        compat.BlipProcessor.from_pretrained(folders[name]),
        getattr(compat, name).from_pretrained(folders[name], **arguments),
    )


@pytest.fixture(scope="module")
def captioner(folders: dict[str, Path]) -> tuple[Any, Any]:
    return loaded(folders, CAPTIONER)


@pytest.fixture(scope="module")
def answerer(folders: dict[str, Path]) -> tuple[Any, Any]:
    return loaded(folders, ANSWERER)


@pytest.fixture(scope="module")
def matcher(folders: dict[str, Path]) -> tuple[Any, Any]:
    return loaded(folders, MATCHER)


def test_numpy_needs_no_torch(folders: dict[str, Path], photos: list[Path]) -> None:
    program = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from PIL import Image
from openblip.compat import BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipProcessor, pipeline
from openblip.errors import MissingExtra
processor = BlipProcessor.from_pretrained({str(folders[CAPTIONER])!r})
model = BlipForConditionalGeneration.from_pretrained({str(folders[CAPTIONER])!r}, device_map="auto")
image = Image.open({str(photos[0])!r})
out = model.generate(**processor(image, "a dog", return_tensors="np"), num_beams=3)
print(processor.decode(out[0], skip_special_tokens=True))
model.generate(**processor(image, return_tensors="np"), do_sample=True)
matcher = BlipForImageTextRetrieval.from_pretrained({str(folders[MATCHER])!r})
print(matcher(**processor(image, "a dog", return_tensors="np")).itm_score.shape)
print(pipeline("image-to-text", model={str(folders[CAPTIONER])!r})({str(photos[0])!r}, max_new_tokens=5))
try:
    processor(image, return_tensors="pt")
except MissingExtra as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    text, shape, captions, error = answer.stdout.splitlines()
    assert text.startswith("a dog ")
    assert shape == "(1, 2)"
    assert captions.startswith("[{'generated_text': '")
    remedy = "run 'pip install openblip[torch]', after torch's CPU wheel where there is no GPU"
    assert error == f"torch is not installed: {remedy}"


def test_importing_it_is_light() -> None:
    program = "import sys, openblip.compat; print({'torch', 'openvino', 'transformers'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_arrays_come_back_as_they_went_in(captioner: tuple[Any, Any], photos: list[Path]) -> None:
    processor, model = captioner
    image = Image.open(photos[0])
    arrays = model.generate(**processor(image, return_tensors="np"))
    tensors = model.generate(**processor(image, return_tensors="pt").to(model.device, torch.float32))
    assert isinstance(arrays, np.ndarray)
    assert (tensors.dtype, tensors.tolist()) == (torch.int64, arrays.tolist())
    assert model.generate(processor(image).pixel_values).tolist() == arrays.tolist()


def test_a_batch_gives_what_single_calls_give(captioner: tuple[Any, Any], photos: list[Path]) -> None:
    """Also with prompts of unequal length, where transformers writes behind the padding of the shorter ones."""
    processor, model = captioner
    images = [Image.open(photos[place % 5]) for place in range(11)]
    prompts = ["a dog", "", "the man plays with", "red hat", "a"] * 2 + ["two birds"]
    for arguments in ({}, {"num_beams": 3, "max_length": 14}, {"max_new_tokens": 4, "min_new_tokens": 4}):
        inputs = processor(images, prompts, padding=True, return_tensors="np")
        together = processor.batch_decode(model.generate(**inputs, **arguments), skip_special_tokens=True)
        alone = [
            processor.decode(model.generate(**processor(image, prompt, return_tensors="np"), **arguments)[0], True)
            for image, prompt in zip(images, prompts, strict=True)
        ]
        assert together == alone
    del inputs["attention_mask"]
    assert processor.batch_decode(model.generate(**inputs, **arguments), skip_special_tokens=True) == alone


def test_answers_do_not_depend_on_their_batch(answerer: tuple[Any, Any], photos: list[Path]) -> None:
    """In transformers the answer decoder looks at what the shorter questions are padded with."""
    processor, model = answerer
    images = [Image.open(photo) for photo in photos[:4]]
    ids = model.generate(**processor(images, QUESTIONS, padding=True, return_tensors="np"), num_beams=2)
    alone = [
        model.generate(**processor(image, question, return_tensors="np"), num_beams=2)[0].tolist()
        for image, question in zip(images, QUESTIONS, strict=True)
    ]
    for row, one in zip(ids.tolist(), alone, strict=True):
        assert row[: len(one)] == one
    one_photo = model.generate(**processor(images[0], QUESTIONS * 10, padding=True, return_tensors="np"))
    assert one_photo.shape[0] == 40
    assert one_photo[:4].tolist() == one_photo[-4:].tolist()


def test_many_pictures_and_texts(matcher: tuple[Any, Any], photos: list[Path]) -> None:
    processor, model = matcher
    images = [Image.open(photos[place % 5]) for place in range(11)]
    inputs = processor(images, ["a dog", "the red hats of two"] * 5 + ["a dog"], padding=True, return_tensors="np")
    scores = model(**inputs)
    assert scores[0] is scores.itm_score is scores["itm_score"]
    [unpacked] = scores.to_tuple()
    assert unpacked.shape == (11, 2)
    np.testing.assert_allclose(unpacked[0], unpacked[10], atol=1e-5)
    cosines = model(**inputs, use_itm_head=False, return_dict=True).itm_score
    assert cosines.shape == (11, 11)
    assert np.abs(cosines).max() <= 1 + 1e-5
    np.testing.assert_allclose(cosines[0], cosines[5], atol=1e-5)
    with pytest.raises(InputError, match="3 texts do not go with 2 pictures"):
        model(**processor(images[:2], ["a", "b", "c"], return_tensors="np"))


def test_it_is_blip_with_the_conventions_of_transformers(folders: dict[str, Path], photos: list[Path]) -> None:
    processor, model = loaded(folders, MATCHER)
    blip = Blip.load(folders[MATCHER], precision="f32", special_tokens="transformers")
    [match] = blip.match(str(photos[0]), "a dog")
    logits = model(**processor(str(photos[0]), "a dog", return_tensors="np")).itm_score[0]
    assert match.probability == pytest.approx(1 / (1 + np.exp(logits[0] - logits[1])), abs=1e-5)
    processor, model = loaded(folders, CAPTIONER)
    caption = Blip.load(folders[CAPTIONER], precision="f32").caption(
        str(photos[0]), options=GenerateOptions(num_beams=1, max_length=21, min_length=0)
    )
    ids = model.generate(**processor(str(photos[0]), return_tensors="np"))
    assert processor.decode(ids[0], skip_special_tokens=True) == caption[0].text


@pytest.mark.filterwarnings("ignore")
def test_draws_come_from_the_likeliest(folders: dict[str, Path], photos: list[Path]) -> None:
    processor, model = loaded(folders, CAPTIONER)
    theirs = transformers.BlipForConditionalGeneration.from_pretrained(folders[CAPTIONER])
    inputs = processor(Image.open(photos[0]), return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**inputs, input_ids=torch.tensor([[DEC]])).logits[0, 0]
    likely = logits.argsort(descending=True).tolist()
    torch.manual_seed(0)
    for arguments, allowed in (
        ({"top_k": 3}, likely[:3]),
        ({}, likely[:50]),
        ({"top_k": 0, "temperature": 5.0}, likely),
    ):
        ids = model.generate(**inputs, do_sample=True, max_new_tokens=1, num_return_sequences=64, **arguments)
        drawn = set(ids[:, 1].tolist())
        assert drawn <= set(allowed)
        assert len(drawn) > len(allowed) / 4
    torch.manual_seed(3)
    first = model.generate(**inputs, do_sample=True)
    torch.manual_seed(4)
    assert model.generate(**inputs, do_sample=True).tolist() != first.tolist()


@pytest.mark.parametrize(
    ("arguments", "precision"),
    [
        ({}, "f32"),
        ({"dtype": "auto"}, "f32"),
        ({"torch_dtype": torch.float32}, "f32"),
        ({"torch_dtype": torch.float16}, None),
        ({"dtype": "bfloat16", "low_cpu_mem_usage": True}, None),
        ({"precision": "int8", "dtype": np.float32}, "int8"),
    ],
    ids=str,
)
def test_number_types(folders: dict[str, Path], arguments: dict[str, Any], precision: str | None) -> None:
    _, model = loaded(folders, CAPTIONER, **arguments)
    assert isinstance(model.engine, OpenVinoEngine)
    assert model.engine.precision == (precision or ("bf16" if has_bfloat16() else "f32"))


def test_moving(folders: dict[str, Path], photos: list[Path]) -> None:
    processor, model = loaded(folders, CAPTIONER, engine="torch", threads=1)
    inputs = processor(Image.open(photos[0]), return_tensors="pt")
    assert isinstance(model.engine, TorchEngine)
    expected = model.generate(**inputs).tolist()
    engine = model.engine
    assert model.eval() is model.to("cpu") is model.cpu() is model.float() is model.train(False) is model
    assert model.engine is engine, "nothing changed, so nothing is loaded again"
    assert model.to(torch.device("cpu"), dtype=torch.bfloat16).engine is not engine
    assert model.float().generate(**inputs).tolist() == expected
    assert model.half().bfloat16().device == "cpu"
    if not torch.cuda.is_available():
        assert model.cuda().device == "cuda"
        with pytest.raises(OptionError, match="cuda"):
            model.generate(**inputs)
        assert model.to(0).device == "cuda:0"


def test_other_sizes(folders: dict[str, Path], photos: list[Path]) -> None:
    processor, model = loaded(folders, CAPTIONER, image_size=48)
    with pytest.raises(InputError, match=r"pixel_values are \[1, 3, 32, 32\], where this model takes .*48, 48"):
        model.generate(**processor(Image.open(photos[0]), return_tensors="np"))
    pixels = torch.randn(2, 3, 48, 48)
    theirs = transformers.BlipForConditionalGeneration.from_pretrained(folders[CAPTIONER])
    expected = theirs.generate(pixels, interpolate_pos_encoding=True, max_length=15)
    assert model.generate(pixels, max_length=15).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 2, "do_sample": True}, "do_sample=True excludes num_beams=2"),
        ({"num_return_sequences": 2}, r"num_return_sequences=2 needs as many num_beams \(now 1\)"),
        ({"num_beams": 0}, "num_beams=0 is out of range"),
        ({"num_beams": "3"}, "num_beams='3' is out of range"),
        ({"max_length": 1}, "max_length"),
        ({"max_length": 41}, "max_length=41 exceeds the model's 40 positions"),
        ({"top_k": -1, "do_sample": True}, "top_k=-1 is out of range"),
        ({"top_p": 2.0, "do_sample": True}, "top_p=2.0 is out of range"),
        ({"penalty_alpha": 0.6}, "generate takes no penalty_alpha"),
        ({"no_repeat_ngram_size": 2}, "generate takes no no_repeat_ngram_size"),
        ({"num_beam_groups": 2}, "generate takes no num_beam_groups"),
        ({"early_stopping": "never", "num_beams": 2}, "early_stopping='never'"),
        ({"return_dict_in_generate": True}, "openblip.Blip gives a probability with every text"),
        ({"interpolate_pos_encoding": True}, "image_size="),
        ({"generation_config": 3}, "generate takes no generation_config"),
        ({"input_ids": np.array([DEC])}, r"input_ids are \[1\], where \[texts, tokens\] are wanted"),
        ({"input_ids": np.array([[CLS, len(WORDS) + 2, SEP]])}, "input_ids hold 2 to"),
        ({"input_ids": np.array([[PAD, PAD, PAD]])}, "a text is all padding"),
        ({"input_ids": np.array([[CLS, SEP]]), "attention_mask": [[1]]}, "attention_mask is"),
        ({"input_ids": np.full((1, 30), CLS), "max_length": 20}, "a prompt of 29 tokens leaves no room"),
    ],
    ids=str,
)
def test_arguments_of_generate_are_refused(captioner: tuple[Any, Any], arguments: dict[str, Any], message: str) -> None:
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    with pytest.raises(InputError, match=message) as caught:
        captioner[1].generate(pixels, **arguments)
    assert "\n" not in str(caught.value)


def test_other_calls_are_refused(
    folders: dict[str, Path], captioner: tuple[Any, Any], matcher: tuple[Any, Any], tmp_path: Path
) -> None:
    processor, model = captioner
    with pytest.raises(OptionError, match=r"gives no logits or losses .* call generate"):
        model(np.zeros((1, 3, 32, 32)), labels=[[1]])
    with pytest.raises(OptionError, match="cannot be trained"):
        model.train()
    with pytest.raises(OptionError, match="from_pretrained takes no trust_remote_code"):
        compat.BlipForConditionalGeneration.from_pretrained(folders[CAPTIONER], trust_remote_code=True)
    with pytest.raises(OptionError, match=r"BlipProcessor\.from_pretrained takes no revision"):
        compat.BlipProcessor.from_pretrained(folders[CAPTIONER], revision="main")
    with pytest.raises(OptionError, match="takes no device_map"):
        compat.BlipForConditionalGeneration.from_pretrained(folders[CAPTIONER], device_map={"a": 0})
    with pytest.raises(OptionError, match="dtype='int4' is not offered: give float32, float16 or bfloat16"):
        compat.BlipForConditionalGeneration.from_pretrained(folders[CAPTIONER], dtype="int4")
    with pytest.raises(ModelError, match="no weights to answer, only to caption"):
        compat.BlipForQuestionAnswering.from_pretrained(folders[CAPTIONER])
    with pytest.raises(ModelNotFound, match="nowhere"):
        compat.BlipForQuestionAnswering.from_pretrained("nowhere")
    with pytest.raises(OptionError, match="takes no output_attentions"):
        matcher[1](np.array([[CLS, SEP]]), np.zeros((1, 3, 32, 32)), output_attentions=True)
    (tmp_path / "model.pth").touch()
    with pytest.raises(CheckpointError, match="is one file"):
        compat.BlipProcessor.from_pretrained(tmp_path / "model.pth")
    with pytest.raises(AttributeError):
        _ = matcher[1](np.array([[CLS, SEP]]), np.zeros((1, 3, 32, 32))).last_hidden_state
    assert processor.tokenizer.bos_token_id == DEC
    assert issubclass(MissingExtra, ImportError)


def test_a_folder_called_as_a_known_model(
    folders: dict[str, Path], tmp_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is loaded at first use, from wherever the program is by then."""
    shutil.copytree(folders["BlipForConditionalGeneration"], tmp_path / "mini")
    monkeypatch.chdir(tmp_path)
    model = compat.BlipForConditionalGeneration.from_pretrained("./mini")
    processor = compat.BlipProcessor.from_pretrained("./mini")
    monkeypatch.chdir("/")
    expected = compat.BlipForConditionalGeneration.from_pretrained(folders["BlipForConditionalGeneration"])
    inputs = processor(Image.open(photos[0]).convert("RGB"), return_tensors="np")
    np.testing.assert_array_equal(model.generate(**inputs), expected.generate(**inputs))
