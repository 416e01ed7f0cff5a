"""The settings of a run: what is refused, and that the page lists them as they are."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from openblip.errors import OptionError
from openblip.train.config import PretrainConfig, differences, read_config

CHECKOUT = Path(__file__).resolve().parent.parent


def config_of(folder: Path, text: str) -> PretrainConfig:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


CONVOLUTIONAL = "[model.vision]\nkind = 'mobilenet_v2'\nimage_size = 224\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed = 3", "unknown setting speed"),
        ("[optimiser]\nepochs = 'many'", "epochs = 'many' in optimiser must be a whole number"),
        ("[optimiser]\nepochs = true", "epochs = True in optimiser must be a whole number"),
        ("[optimiser]\nbetas = [0.9]", "betas = .* must be a list of 2 numbers"),
        ("[optimiser]\nbetas = [0.9, 1.0]", "optimiser.betas = 1.0 is out of range"),
        ("[optimiser]\nbatch = 0", "optimiser.batch = 0 is out of range: give 1 up"),
        ("[optimiser]\nlearning_rate = nan", "optimiser.learning_rate = nan"),
        ("[optimiser]\ndropout = 1", "optimiser.dropout = 1.0"),
        ("[objective]\nalpha = -1", "objective.alpha = -1.0"),
        ("[data]\nshards = 'a.tar'", "shards = 'a.tar' in data must be a list of texts"),
        ("[data]\nshards = [3]", r"shards = \[3\]"),
        ("[data]\ncanvas = 250", "data.canvas = 250 is not a multiple of 32"),
        ("data = 3", "data = 3 must be a table"),
        ("model = 3", "model = 3 must be a table"),
        ("seed = -1", "seed = -1"),
        ("device = 'tpu'", "device = 'tpu'"),
        ("output = ''", "output is empty"),
        ("[model]\nsize = 3", "unknown setting size in model"),
        ("[model]\nprojection = 'x'", "projection = 'x'"),
        ("[model.vision]\nkindd = 'vit'", "unknown setting kindd in model.vision"),
        ("[model.vision]\nkind = 'resnet'", "model.vision.kind = 'resnet' is unknown"),
        ("[model.vision]\nmean = [0.5, 0.5]", "mean = .* must be a list of 3 numbers"),
        ("[model.vision]\nstd = [0, 1, 1]", "model.vision.std = 0.0"),
        ("[model.vision]\nimage_size = 100", "image_size = 100 is not a multiple of 16"),
        ("[model.vision]\nkind = 'mobilenet_v2'\nimage_size = 240", "image_size = 240 is not a multiple of 32"),
        ("[model.vision]\nheads = 5", "model.vision.width = 768 is not a multiple of its heads"),
        ("[model.text]\nheads = 5", "model.text.width = 768 is not a multiple of its heads"),
        ("[model.text]\nmax_positions = 20", "max_positions = 20 is less than data.max_text_tokens = 30"),
        ("backbone = 'x.safetensors'", 'backbone needs model.vision.kind = "mobilenet_v2"'),
        ("[optimiser]\nfrozen_layers = 21", "optimiser.frozen_layers needs"),
        ("[data]\ncached_views = 2", "data.cached_views needs model.vision.kind"),
        (f"[data]\ncached_views = 2\n{CONVOLUTIONAL}", "data.cached_views needs optimiser.frozen_layers > 0"),
        (f"[optimiser]\nfrozen_layers = 20\n{CONVOLUTIONAL}", "frozen_layers = 20 ends within a block: give 18 or 21"),
        (f"start = 'a'\nbackbone = 'b'\n{CONVOLUTIONAL}", "start and backbone exclude each other"),
        ("start = 'a'\n[data]\nvocabulary = 'b'", "start and data.vocabulary exclude each other"),
        ("= 3", "cannot read the config"),
    ],
)
def test_config_errors_name_the_setting(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        config_of(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_values_take_the_type_of_their_setting(tmp_path: Path) -> None:
    config = config_of(tmp_path, "[optimiser]\nclip_norm = 2\n[model.vision]\nmean = [0, 1, 0.5]\nstd = [1, 1, 1]")
    assert isinstance(config.optimiser.clip_norm, float)
    assert config.model.vision.mean == (0.0, 1.0, 0.5)
    assert all(isinstance(value, float) for value in config.model.vision.mean + config.model.vision.std)


def test_differences_name_what_changed_and_nothing_else(tmp_path: Path) -> None:
    before = config_of(tmp_path, "").to_dict()
    now = config_of(tmp_path, "threads = 2\n[optimiser]\nbatch = 32\nbetas = [0.9, 0.98]").to_dict()
    assert differences(before, now) == ["optimiser.batch was 64, is 32", "threads was 0, is 2"]
    assert differences(before, now, {"threads", "optimiser.batch"}) == []


@pytest.mark.parametrize("path", sorted((CHECKOUT / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_read(path: Path) -> None:
    config = read_config(path)
    assert config.model.vision.kind == "mobilenet_v2"
    assert config.data.cached_views > 0
    assert config.output == f"runs/{path.stem}"


def settings_of(options: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting by its dotted name, with its default; the model's inner tables left out."""
    found: dict[str, Any] = {}
    for entry in fields(options):
        value, name = getattr(options, entry.name), prefix + entry.name
        if not is_dataclass(value):
            found[name] = list(value) if isinstance(value, tuple) else value
        elif prefix == "":
            found |= settings_of(value, f"{name}.")
    return found


def test_the_page_lists_every_setting_with_its_default() -> None:
    page = (CHECKOUT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", page, re.MULTILINE)
    assert {name: tomllib.loads(f"value = {value}")["value"] for name, value in rows} == settings_of(PretrainConfig())
