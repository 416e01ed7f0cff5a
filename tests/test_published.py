"""Published checkpoints under their own names: what is loaded from them, and what is refused. Parity with the code that
wrote them is in tests/parity/test_transformers.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from openblip import Blip
from openblip.checkpoint import load_checkpoint
from openblip.config import Task, VisionConfig
from openblip.convert import to_published
from openblip.errors import CheckpointError, ModelError, OptionError
from openblip.published import Style, config_from_transformers, from_published, resize_positions, with_image_size
from openblip.text import Conventions
from openblip.weights import Tensors, write_tensors
from published_folders import config_for, transformers_folder
from tiny import TINY_VOCABULARY, random_pixels, random_tensors, write_vocabulary

STYLES: tuple[Style, ...] = ("transformers", "salesforce")
PARTS: tuple[tuple[Task, ...], ...] = (("caption",), ("match", "embed"), ("answer",), ("caption", "match", "embed"))
CONVENTIONS: tuple[Conventions, ...] = ("blip", "transformers")


def rewrite(folder: Path, change: Any) -> None:
    """Change the published tensors of a folder."""
    from openblip.weights import read_tensors

    tensors = read_tensors(folder / "model.safetensors")
    change(tensors)
    write_tensors(folder / "model.safetensors", tensors, bfloat16=False)


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("tasks", PARTS, ids="+".join)
def test_names_there_and_back(style: Style, tasks: tuple[Task, ...]) -> None:
    config = config_for(tasks)
    tensors = random_tensors(config)
    published = to_published(tensors, config, style)
    assert not {name for name in published if name.startswith(("text.", "answer"))}
    assert same(from_published(published, config, style, "here"), tensors)


@pytest.mark.parametrize("tasks", PARTS[:3], ids="+".join)
def test_a_folder_of_transformers(tmp_path: Path, tasks: tuple[Task, ...]) -> None:
    folder, config = transformers_folder(tmp_path / "blip", tasks)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config == config
    assert same(checkpoint.tensors, random_tensors(config))
    assert checkpoint.name == "blip"


def test_its_weights_may_be_a_pickle_and_its_vocabulary_json(tmp_path: Path) -> None:
    folder, config = transformers_folder(tmp_path / "blip", ("caption",))
    published = to_published(random_tensors(config), config, "transformers")
    (folder / "model.safetensors").unlink()
    torch.save(
        {name: torch.from_numpy(np.array(value)) for name, value in published.items()}, folder / "pytorch_model.bin"
    )
    (folder / "vocab.txt").unlink()
    table = {token: index for index, token in enumerate(TINY_VOCABULARY) if token not in ("[DEC]", "[ENC]")}
    added = [{"id": TINY_VOCABULARY.index(token), "content": token} for token in ("[DEC]", "[ENC]")]
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordPiece", "vocab": table}, "added_tokens": added})
    )
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config == config
    assert same(checkpoint.tensors, random_tensors(config))


@pytest.mark.parametrize("tasks", PARTS, ids="+".join)
def test_a_pth_of_salesforce(tmp_path: Path, tasks: tuple[Task, ...]) -> None:
    config = config_for(tasks)
    published: dict[str, Any] = dict(to_published(random_tensors(config), config, "salesforce"))
    # What training leaves behind there.
    published["visual_encoder_m.cls_token"] = published["visual_encoder.cls_token"]
    published["image_queue"], published["queue_ptr"] = np.zeros((24, 8), np.float32), np.zeros(1, np.int64)
    held = {name: torch.from_numpy(np.array(value)) for name, value in published.items()}
    torch.save({"model": held, "epoch": 3}, tmp_path / "model_base.pth")
    write_vocabulary(tmp_path)
    checkpoint = load_checkpoint(tmp_path / "model_base.pth")
    expected = replace(config, projection=config.projection if "embed" in tasks else 256)
    assert checkpoint.config == expected
    assert same(checkpoint.tensors, random_tensors(config))


class Intruder:
    """What a pickle may hold: opening it the usual way runs the call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    folder, _ = transformers_folder(tmp_path / "blip", ("caption",))
    (folder / "model.safetensors").unlink()
    content = {"model": {"x": torch.zeros(1)}, "hook": Intruder(tmp_path / "intruded")}
    for file, source in ((folder / "model.pth", folder / "model.pth"), (folder / "pytorch_model.bin", folder)):
        torch.save(content, file)
        with pytest.raises(CheckpointError, match="code could do anything: get the weights as safetensors"):
            load_checkpoint(source)
    assert not (tmp_path / "intruded").exists()
    torch.load(folder / "model.pth", weights_only=False)
    assert (tmp_path / "intruded").exists(), "the code is real"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("vision_proj.bias"), r"missing vision_proj\.bias \[24\]"),
        (lambda tensors: tensors.update({"itm_head.bias": torch.zeros(3)}), r"misshapen itm_head\.bias: \[3\]"),
        (lambda tensors: tensors["itm_head.bias"].fill_(float("nan")), r"not finite itm_head\.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(3)), r"surplus extra \[3\]"),
        (lambda tensors: tensors.update(extra="a text"), "holds extra, a str, where only tensors should be"),
    ],
)
def test_a_pth_that_does_not_fit(tmp_path: Path, change: Any, message: str) -> None:
    config = config_for(("match", "embed"))
    published = to_published(random_tensors(config), config, "salesforce")
    held: dict[str, Any] = {name: torch.from_numpy(np.array(value)) for name, value in published.items()}
    change(held)
    torch.save({"model": held}, tmp_path / "model.pth")
    write_vocabulary(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / "model.pth")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short(tmp_path: Path) -> None:
    folder, _ = transformers_folder(tmp_path / "blip", ("caption",))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors"):
        load_checkpoint(folder)
    write_vocabulary(tmp_path)
    torch.save({"model": {"x": torch.zeros(1000)}}, tmp_path / "model.pth")
    (tmp_path / "model.pth").write_bytes((tmp_path / "model.pth").read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.pth"):
        load_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("vision_proj.bias"), r"missing vision_proj\.bias \[24\]"),
        (lambda tensors: tensors.update(extra=np.zeros(3)), r"surplus extra \[3\]"),
        (
            lambda tensors: tensors.update({"itm_head.bias": np.zeros(3)}),
            r"misshapen itm_head\.bias: \[3\], wanted \[2\]",
        ),
        (lambda tensors: tensors.update({"itm_head.bias": np.array([0, np.nan])}), r"not finite itm_head\.bias"),
    ],
)
def test_what_does_not_fit_is_named_as_published(tmp_path: Path, change: Any, message: str) -> None:
    folder, _ = transformers_folder(tmp_path / "blip", ("match", "embed"))
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_an_untied_output_table_is_refused(tmp_path: Path) -> None:
    folder, _ = transformers_folder(tmp_path / "blip", ("caption",))

    def untie(tensors: dict[str, NDArray[np.float32]]) -> None:
        tensors["text_decoder.cls.predictions.decoder.weight"] = (
            tensors["text_decoder.cls.predictions.decoder.weight"] + 1
        )

    rewrite(folder, untie)
    with pytest.raises(CheckpointError, match=r"decoder\.weight differs from text_decoder\.bert\.embeddings"):
        load_checkpoint(folder)


def test_copies_of_a_shared_tensor_must_agree() -> None:
    config = config_for(("caption", "match", "embed"))
    published = to_published(random_tensors(config), config, "salesforce")
    name = "text_encoder.encoder.layer.0.intermediate.dense.bias"
    published[name] = published[name] + 1
    with pytest.raises(CheckpointError, match="which it is tied to"):
        from_published(published, config, "salesforce", "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architectures": ["BlipModel"]}, "is for BlipModel"),
        ({}, "is for none"),
        (
            {"architectures": ["BlipForConditionalGeneration"], "text_config": {"hidden_act": "relu"}},
            "hidden_act='relu'",
        ),
        ({"architectures": ["BlipForConditionalGeneration"], "text_config": {"hidden_size": "wide"}}, "wide"),
    ],
)
def test_other_configs_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        config_from_transformers(values, {}, "config.json")


@pytest.mark.parametrize("size", [8, 16, 40, 64])
def test_positions_are_interpolated_as_torch_does_it(size: int) -> None:
    config = config_for(("caption",))
    tensors = random_tensors(config)
    resized = with_image_size(config, size)
    fitted = resize_positions(tensors, config, resized)
    assert (resized.vision.image_size, resized.vision.grid) == (size, size // 8)
    plane = torch.from_numpy(tensors["vision.positions"][1:].reshape(1, 3, 3, -1)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(plane, size=(size // 8, size // 8), mode="bicubic", align_corners=False)
    found = fitted["vision.positions"]
    assert np.array_equal(found[0], tensors["vision.positions"][0])
    np.testing.assert_allclose(found[1:], expected.permute(0, 2, 3, 1).reshape(-1, 128).numpy(), atol=1e-5)


def test_sizes_that_do_not_suit_the_patches() -> None:
    config = config_for(("caption",))
    with pytest.raises(
        CheckpointError, match="image_size=30 does not suit this model: give 24 or another multiple of 8"
    ):
        with_image_size(config, 30)
    convolutional = replace(config, vision=VisionConfig(kind="mobilenet_v2", image_size=224))
    with pytest.raises(CheckpointError, match=r"image_size=256 does not suit this model: give 224$"):
        with_image_size(convolutional, 256)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_model_does_what_it_has_weights_for(tmp_path: Path, engine: Any) -> None:
    folder, config = transformers_folder(tmp_path / "blip", ("caption",))
    picture = (random_pixels(config, 1)[0].transpose(1, 2, 0) * 40 + 128).clip(0, 255).astype(np.uint8)
    captioner = Blip.load(folder, engine=engine)
    assert captioner.caption(picture)[0].tokens
    assert Blip.load(folder, engine=engine, image_size=40).caption(picture)[0].tokens
    for call in (lambda: captioner.match(picture, "a dog"), lambda: captioner.embed_texts("a dog")):
        with pytest.raises(
            ModelError, match=r"no weights to (match|embed), only to caption: name a checkpoint that can"
        ):
            call()
    with pytest.raises(ModelError, match="no weights to answer"):
        captioner.answer(picture, "is it a dog")
    folder, _ = transformers_folder(tmp_path / "retrieval", ("match", "embed"))
    matcher = Blip.load(folder, engine=engine)
    assert 0 <= matcher.match(picture, "a dog")[0].probability <= 1
    with pytest.raises(ModelError, match="no weights to caption, only to match, embed"):
        matcher.caption(picture)


def test_whose_conventions_are_followed(tmp_path: Path) -> None:
    folder, config = transformers_folder(tmp_path / "retrieval", ("match", "embed"))
    picture = (random_pixels(config, 1)[0].transpose(1, 2, 0) * 40 + 128).clip(0, 255).astype(np.uint8)
    own, theirs = (Blip.load(folder, special_tokens=each).match(picture, "a dog")[0] for each in CONVENTIONS)
    assert Blip.load(folder).match(picture, "a dog") == [own]
    assert abs(own.probability - theirs.probability) > 1e-3
    assert own.similarity == theirs.similarity
    with pytest.raises(OptionError, match="special_tokens='bert' is unknown"):
        Blip.load(folder, special_tokens="bert")  # type: ignore[arg-type]
