"""Against what transformers 4.53 said, the last to mask the padding of questions: data/make_transformers_goldens.py.
The same models are drawn again from their seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from golden_models import (
    CLS,
    DEC,
    GOLDENS,
    KINDS,
    PICTURES,
    PROMPTS,
    QUESTIONS,
    SEARCHES,
    SEP,
    golden_folder,
    golden_photo,
    golden_pixels,
    ids_of,
    padded,
)
from openblip import Blip, compat
from openblip.engine import Engine
from openblip.search import Hypothesis, generate
from openblip.types import GenerateOptions

pytestmark = pytest.mark.parity

CLOSE = {"rtol": 0.0, "atol": 1e-4}
RECORDED = json.loads(GOLDENS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("goldens")
    for kind in KINDS:
        found = round(golden_folder(home / kind, kind), 2)
        assert found == RECORDED["weights"][kind], "numpy draws other numbers than it did: record the goldens anew"
    return {kind: home / kind for kind in KINDS}


@pytest.fixture(params=["openvino", "torch"])
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


def engine_of(folder: Path, name: Any) -> Engine:
    return Blip.load(folder, engine=name, precision="f32", device="cpu").engine


def options_of(search: dict[str, Any]) -> GenerateOptions:
    return GenerateOptions(**{"min_length": 0} | search)


def assert_recorded(found: list[list[Hypothesis]], recorded: dict[str, Any]) -> None:
    assert [list(hypotheses[0].tokens) for hypotheses in found] == recorded["tokens"]
    if "scores" in recorded:
        assert_allclose([hypotheses[0].score for hypotheses in found], recorded["scores"], **CLOSE)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_captions(folders: dict[str, Path], name: Any, prompt: str, search: str) -> None:
    engine = engine_of(folders["BlipForConditionalGeneration"], name)
    start = np.array([[DEC, *ids_of(prompt)]] * PICTURES)
    lengths, states = np.full(PICTURES, start.shape[1]), engine.encode_images(golden_pixels())
    found = generate(engine, states, start, lengths, options_of(SEARCHES[search]))
    assert_recorded(found, RECORDED["captions"][prompt][search])


def test_scores_of_padded_texts(folders: dict[str, Path], name: Any) -> None:
    engine = engine_of(folders["BlipForImageTextRetrieval"], name)
    tokens, mask = padded([[CLS, *ids_of(text), SEP] for text in QUESTIONS])
    states, lengths = engine.encode_images(golden_pixels()[: len(QUESTIONS)]), mask.sum(axis=1)
    recorded = RECORDED["scores"]
    assert np.ptp(recorded["itm"]) > 0.5
    assert_allclose(engine.match(states, np.arange(len(QUESTIONS)), tokens, lengths), recorded["itm"], **CLOSE)
    assert_allclose(engine.embed_images(states) @ engine.embed_texts(tokens, lengths).T, recorded["itc"], **CLOSE)


@pytest.mark.parametrize("search", [*SEARCHES, "padded"])
def test_answers(folders: dict[str, Path], name: Any, search: str) -> None:
    """Our batch is padded, too: it gives what single questions give, which is what the masked batch gave."""
    engine = engine_of(folders["BlipForQuestionAnswering"], name)
    tokens, mask = padded([[CLS, *ids_of(text), SEP] for text in QUESTIONS])
    rows = len(QUESTIONS)
    states = engine.encode_images(golden_pixels()[:rows])
    read = engine.encode_questions(states, np.arange(rows), tokens, mask.sum(axis=1))
    options = options_of(SEARCHES["greedy" if search == "padded" else search])
    found = generate(engine, read, np.full((rows, 1), DEC), np.ones(rows, np.int64), options)
    assert_recorded(found, RECORDED["answers"][search])
    assert RECORDED["answers"]["padded by generate"] != RECORDED["answers"]["padded"], "the trap that we avoid"


def test_pipelines(folders: dict[str, Path]) -> None:
    recorded, photos = RECORDED["pipelines"], [golden_photo(index) for index in range(3)]
    captioner: Any = compat.pipeline("image-to-text", model=folders["BlipForConditionalGeneration"])
    assert captioner(photos) == recorded["captions"]
    assert captioner(photos, batch_size=3) == recorded["captions"]
    assert captioner(photos[0], max_new_tokens=7) == recorded["a caption"]
    beams = {"num_beams": 2, "max_new_tokens": 9}
    assert captioner(photos, prompt="a dog", generate_kwargs=beams) == recorded["prompted"]
    oracle: Any = compat.pipeline("visual-question-answering", model=folders["BlipForQuestionAnswering"])
    assert [oracle(image=photo, question="is the dog young?") for photo in photos] == recorded["answers"]
    assert oracle(image=photos[:2], question=["a red hat", "two"]) == recorded["crossed"]
