"""Several checkpoints under one name: each task has its own, loaded when it is first needed."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip import Blip, ModelError, ModelNotFound, parts
from openblip.bulk.shards import Sample
from openblip.checkpoint import save_checkpoint
from openblip.config import SETS, TASKS, Task
from openblip.evaluate import evaluate_retrieval
from openblip.parts import CheckpointSet, Part
from tiny import random_tensors, tiny_config, write_vocabulary
from tiny_blip import Counted, picture

SIZES = {"captions": 24, "answers": 40, "scores": 24, "vectors": 32}
MEMBERS: dict[str, tuple[Task, ...]] = {
    "captions": ("caption",),
    "answers": ("answer",),
    "scores": ("match", "embed"),
    "vectors": ("embed",),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checkpoints of one task or two, for pictures of unlike sizes."""
    base, found = tmp_path_factory.mktemp("members"), dict[str, str]()
    vocabulary = write_vocabulary(base)
    for seed, (name, tasks) in enumerate(MEMBERS.items()):
        whole = tiny_config("vit")
        config = replace(whole, tasks=tasks, vision=replace(whole.vision, image_size=SIZES[name]))
        save_checkpoint(base / name, config, random_tensors(config, seed), vocabulary)
        found[name] = str(base / name)
    return found


@pytest.fixture
def tiny_set(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[Task, str]]:
    """The set "tiny": captions, answers, and one checkpoint for match and embed."""
    members: dict[Task, str] = {
        "caption": folders["captions"],
        "answer": folders["answers"],
        "match": folders["scores"],
        "embed": folders["scores"],
    }
    monkeypatch.setitem(SETS, "tiny", members)
    monkeypatch.setenv("OPENBLIP_CACHE", "")
    return members


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the checkpoints that are loaded, as they are."""
    names, load = list[str](), parts._load_part

    def noted(name: str, options: Any) -> Part:
        names.append(Path(name).name)
        part = load(name, options)
        return Part(part.name, Counted(part.engine), part.tokenizer)  # type: ignore[arg-type]

    monkeypatch.setattr(parts, "_load_part", noted)
    return names


def load_tiny() -> Blip:
    return Blip.load("tiny", precision="f32", threads=1)


def calls(blip: Blip, task: Task) -> dict[str, int]:
    engine: Any = blip.part(task).engine
    return dict(engine.calls)


def test_a_task_loads_its_checkpoint_alone_and_once(tiny_set: dict[Task, str], loaded: list[str]) -> None:
    blip = load_tiny()
    assert blip.name == "tiny"
    assert set(blip.tasks) == set(TASKS)
    assert loaded == []
    assert blip.caption(picture(1))[0].model == "captions"
    assert loaded == ["captions"]
    assert blip.match(picture(1), "a dog")[0].model == "scores"
    blip.embed_images(picture(1))
    blip.caption(picture(2))
    assert loaded == ["captions", "scores"]
    assert blip.answer(picture(1), "a dog")[0].model == "answers"
    assert loaded == ["captions", "scores", "answers"]


def test_results_are_those_of_the_checkpoints(tiny_set: dict[Task, str]) -> None:
    blip, images = load_tiny(), [picture(seed) for seed in range(3)]
    lone = {task: Blip.load(folder, precision="f32", threads=1) for task, folder in tiny_set.items()}
    assert blip.caption(images) == lone["caption"].caption(images)
    assert blip.answer(images[0], ["a dog", "the cat"]) == lone["answer"].answer(images[0], ["a dog", "the cat"])
    assert blip.match(images, "a dog") == lone["match"].match(images, "a dog")
    assert np.array_equal(blip.embed_images(images), lone["embed"].embed_images(images))


def test_match_and_embed_of_one_checkpoint_share_its_encoding(tiny_set: dict[Task, str], loaded: list[str]) -> None:
    blip = load_tiny()
    blip.match(picture(1), ["a dog", "the cat"])
    assert blip.part("match") is blip.part("embed")
    assert calls(blip, "match") == {"encode_images": 1, "embed_images": 1, "embed_texts": 1, "match": 1}


def test_match_and_embed_of_two_checkpoints(
    tiny_set: dict[Task, str], folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETS, "tiny", {**tiny_set, "embed": folders["vectors"]})
    blip, images, texts = load_tiny(), [picture(1), picture(2)], ["a dog", "the cat"]
    found = blip.match(images, texts)
    alone = Blip.load(folders["scores"], precision="f32", threads=1).match(images, texts)
    assert [match.probability for match in found] == [match.probability for match in alone]
    similarities = (blip.embed_images(images) * blip.embed_texts(texts)).sum(axis=1)
    assert [match.similarity for match in found] == similarities.tolist()
    assert all(abs(match.similarity - other.similarity) > 1e-3 for match, other in zip(found, alone, strict=True))


def test_analyze_encodes_once_for_each_checkpoint(tiny_set: dict[Task, str], loaded: list[str]) -> None:
    blip, image = load_tiny(), picture(1)
    [analysis] = blip.analyze(image, caption=True, questions=["a dog", "red"], texts=["the cat", "a"], embed=True)
    for task in TASKS:
        assert calls(blip, task)["encode_images"] == 1
    assert calls(blip, "embed")["embed_images"] == 1
    assert list(analysis.captions) == blip.caption(image)
    assert list(analysis.answers) == blip.answer(image, ["a dog", "red"])
    assert list(analysis.matches) == blip.match(image, ["the cat", "a"])
    assert analysis.embedding is not None
    assert analysis.embedding.model == "scores"


def test_a_set_is_evaluated_by_the_checkpoints_of_its_tasks(tiny_set: dict[Task, str], loaded: list[str]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(1)).save(buffer, "PNG")
    samples = [Sample(str(number), buffer.getvalue(), ("a dog", "the cat"), {}) for number in range(2)]
    result = evaluate_retrieval(load_tiny(), samples, rerank=1)
    assert result.model == "scores"
    assert loaded == ["scores"]


def test_a_missing_checkpoint_is_missed_when_it_is_asked_for(
    tiny_set: dict[Task, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members: dict[Task, str] = {"caption": tiny_set["caption"], "answer": "nowhere/answers"}
    monkeypatch.setitem(SETS, "tiny", members)
    blip = load_tiny()
    assert blip.caption(picture(1))[0].text
    for _ in range(2):
        with pytest.raises(ModelNotFound, match="nowhere/answers"):
            blip.answer(picture(1), "a dog")
    with pytest.raises(ModelError, match="the set 'tiny' has no checkpoint to match, only to caption, answer"):
        blip.match(picture(1), "a dog")


def test_a_checkpoint_that_cannot_do_its_task_is_refused(
    tiny_set: dict[Task, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETS, "tiny", {"answer": tiny_set["caption"]})
    with pytest.raises(ModelError, match="no weights to answer, only to caption"):
        load_tiny().answer(picture(1), "a dog")


@pytest.mark.parametrize("attribute", ["engine", "tokenizer", "config"])
def test_a_set_says_what_to_ask_for(tiny_set: dict[Task, str], attribute: str) -> None:
    blip = load_tiny()
    with pytest.raises(ModelError, match=rf'the set \'tiny\' .* blip\.part\("caption"\)\.{attribute}'):
        getattr(blip, attribute)
    assert getattr(blip.part("caption"), attribute) is not None


def test_the_environment_may_name_a_set(tiny_set: dict[Task, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLIP_MODEL", "tiny")
    assert Blip.load(precision="f32", threads=1).caption(picture(1))[0].model == "captions"


def test_one_checkpoint_is_every_part_that_it_can_be(tiny_set: dict[Task, str]) -> None:
    blip = Blip.load(tiny_set["match"], precision="f32", threads=1)
    assert blip.tasks == ("match", "embed")
    part = blip.part("match")
    assert part is blip.part("embed")
    assert (part.engine, part.tokenizer, part.config) == (blip.engine, blip.tokenizer, blip.config)
    with pytest.raises(ModelError, match="no weights to caption"):
        blip.part("caption")


def test_threads_that_meet_at_the_first_use_load_once() -> None:
    config = replace(tiny_config("vit"), tasks=TASKS)
    names, engine = list[str](), Counted(SimpleNamespace(config=config, precision="f32", lanes=1))

    def slow(name: str) -> Part:
        names.append(name)
        time.sleep(0.05)
        tokenizer: Any = None
        return Part(name, engine, tokenizer)  # type: ignore[arg-type]

    members: dict[Task, str] = {"caption": "one", "answer": "two", "match": "two", "embed": "two"}
    found, held, gate = list[Part](), CheckpointSet("many", members, slow), threading.Barrier(8)

    def ask(task: Task) -> None:
        gate.wait()
        found.append(held.of(task))

    threads = [threading.Thread(target=ask, args=(TASKS[index % 4],)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == ["one", "two"]
    assert len(found) == 8
    assert len(set(found)) == 2
