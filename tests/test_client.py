"""`openblip.Client` against a real service, which must say what `Blip` says."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip import (
    AsyncClient,
    Blip,
    Box,
    Client,
    GenerateOptions,
    GroundOptions,
    ImageError,
    InputError,
    ModelNotFound,
    OptionError,
    ServiceError,
    TextError,
)
from openblip.client import Results, Retries
from openblip.client.requests import caption_call
from openblip.regions import mask_of
from openblip.serve.guard.keys import new_key
from serving import Server, serving

QUESTIONS = ["what is on the table", "what colour is it"]


@pytest.fixture(scope="module")
def server(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, settings={"OPENBLIP_LIBRARY": str(folder / "photos.lance")}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, retries=Retries(0)) as made:
        yield made


@pytest.fixture(scope="module")
def blip(mini: Path) -> Blip:
    return Blip.load("mini")


def same(found: Any, expected: Any) -> None:
    """Equal dataclasses, but for the last digits of numbers."""
    assert type(found) is type(expected)
    assert found.to_dict().keys() == expected.to_dict().keys()
    for name, value in expected.to_dict().items():
        got = found.to_dict()[name]
        if isinstance(value, float) or name in ("token_probabilities", "vector"):
            assert got == pytest.approx(value, abs=2e-3), name
        elif name == "others":
            assert [text for text, _ in got] == [text for text, _ in value]
            assert [each for _, each in got] == pytest.approx([each for _, each in value], abs=2e-3)
        else:
            assert got == value, name


def test_captions_are_those_of_blip(client: Client, blip: Blip, samples: list[Path]) -> None:
    found, expected = client.caption(samples, "a photo of"), blip.caption(samples, "a photo of")
    assert isinstance(found, list)
    assert len(found) == len(samples)
    for each, other in zip(found, expected, strict=True):
        same(each, other)
    assert (found.model, found.revision) == ("mini", blip.part("caption").revision)
    assert not found.cached
    assert [each.cached for each in found.served] == [False] * len(samples)
    assert all(each.timing.search_s > 0 for each in found.served)
    again = client.caption(samples, "a photo of")
    assert again == found
    assert again.cached
    assert again.served[0].timing.search_s == 0


def test_options_reach_the_search(client: Client, blip: Blip, samples: list[Path]) -> None:
    options = GenerateOptions(sample=True, num_beams=1, seed=5, num_return=3, temperature=1.2)
    [found], [expected] = client.captions(samples[0], options=options), blip.captions(samples[0], options=options)
    assert [each.text for each in found] == [each.text for each in expected]
    assert len({each.text for each in found}) > 1
    with pytest.raises(OptionError, match="num_return=3: use captions"):
        client.caption(samples[0], options=options)


def test_answers_matches_and_embeddings_are_those_of_blip(client: Client, blip: Blip, samples: list[Path]) -> None:
    pairs = (samples[:2], QUESTIONS), (samples[0], QUESTIONS), (samples, QUESTIONS[0])
    for images, texts in pairs:
        for one, other in zip(client.answer(images, texts), blip.answer(images, texts), strict=True):
            same(one, other)
        for match, its in zip(client.match(images, texts), blip.match(images, texts), strict=True):
            same(match, its)
    [chosen] = client.answer(samples[0], QUESTIONS[0], answers=["yes", "no"])
    assert chosen.text in ("yes", "no")
    vectors = np.array([each.vector for each in client.embed(samples)])
    np.testing.assert_allclose(vectors, blip.embed_images(samples), atol=2e-3)
    texts_ = client.embed_texts(["a cup", "a cat"])
    np.testing.assert_allclose([each.vector for each in texts_], blip.embed_texts(["a cup", "a cat"]), atol=2e-3)
    assert texts_.revision == blip.part("embed").revision


def test_everything_at_once_is_that_of_blip(client: Client, blip: Blip, samples: list[Path]) -> None:
    asked: dict[str, Any] = {"caption": True, "questions": QUESTIONS, "texts": ["a cup"], "embed": True}
    for found, expected in zip(client.analyze(samples, **asked), blip.analyze(samples, **asked), strict=True):
        same(found.captions[0], expected.captions[0])
        same(found.answers[1], expected.answers[1])
        same(found.matches[0], expected.matches[0])
        assert found.embedding is not None
        assert expected.embedding is not None
        same(found.embedding, expected.embedding)


def test_places_are_those_of_blip(client: Client, blip: Blip, samples: list[Path]) -> None:
    phrases, options = ["a cup", "the table"], GroundOptions(threshold=0.7)
    found, expected = client.ground(samples[:2], phrases, options), blip.ground(samples[:2], phrases, options)
    assert len(found) == 2
    for row, its in zip(found, expected, strict=True):
        for one, other in zip(row, its, strict=True):
            assert (one.phrase, one.size, one.model) == (other.phrase, other.size, "mini")
            assert one.probability == pytest.approx(other.probability, abs=2e-3)
            assert one.heatmap.dtype == other.heatmap.dtype
            assert np.abs(one.heatmap - other.heatmap).mean() < 0.02
            assert one.peak == pytest.approx(other.peak, abs=2 * max(one.size) / 56)
            assert all(isinstance(box, Box) for box in one.boxes)
            assert mask_of(one, 0.7).shape == one.size[::-1]
    [own] = client.ground(samples[0])
    assert [each.phrase for each in own] == [each.phrase for each in blip.ground(samples[0])[0]]
    [analysis] = client.analyze(samples[0], caption=True, ground=True, phrases="a cup", ground_options=options)
    assert analysis.groundings == (found[0][0],)


def test_every_kind_of_picture_is_taken(client: Client, samples: list[Path]) -> None:
    photo = samples[0]
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    [expected] = client.caption(photo)
    for source in (str(photo), photo.read_bytes(), image, np.asarray(image)):
        assert client.caption(source)[0].text == expected.text  # type: ignore[arg-type]
    assert client.caption([photo, image])[1] == expected
    assert client.caption([]) == []


def test_more_pictures_than_a_request_takes(client: Client, blip: Blip, samples: list[Path]) -> None:
    many = [samples[index % len(samples)] for index in range(20)]
    found = client.caption(many)
    expected = {photo: caption.text for photo, caption in zip(samples, blip.caption(samples), strict=True)}
    assert [each.text for each in found] == [expected[photo] for photo in many]
    assert len(found.served) == 20


def test_large_pictures_go_apart(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(bytes(9_000_000))
    small.write_bytes(bytes(10))
    call = caption_call([large, large, small, large, *[small] * 9], "", None, "")
    assert [len(post.files) for post in call.posts] == [1, 2, 8, 2]
    beyond = tmp_path / "beyond"
    beyond.write_bytes(bytes(20_000_000))
    assert [len(post.files) for post in caption_call([small, beyond], "", None, "").posts] == [1, 1]


def test_a_caption_comes_in_pieces(client: Client, blip: Blip, samples: list[Path]) -> None:
    greedy = GenerateOptions(num_beams=1)
    with client.caption_stream(samples[0], "a") as stream:
        pieces = list(stream)
    assert "".join(piece.text for piece in pieces) == stream.caption.text
    same(stream.caption, blip.caption(samples[0], "a", greedy)[0])
    assert sum((piece.tokens for piece in pieces), ()) == stream.caption.tokens
    with client.caption_stream(samples[0]) as left:
        next(left)
        with pytest.raises(InputError, match="read to its end"):
            left.caption  # noqa: B018
    with pytest.raises(OptionError, match="num_beams"):
        client.caption_stream(samples[0], options=GenerateOptions(num_beams=2))
    with pytest.raises(InputError, match="one picture, not 2"):
        client.caption_stream(samples[:2])


def test_wrong_input_raises_what_blip_raises(client: Client, samples: list[Path], tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_text("not a picture")
    for call, kind, says in (
        (lambda: client.caption(tmp_path / "no.jpg"), ImageError, "can read"),
        (lambda: client.caption([samples[0], tmp_path / "no.jpg"]), ImageError, "can read"),
        (lambda: client.caption(tmp_path / "none.jpg"), ImageError, "No such file"),
        (lambda: client.caption("https://example.org/a.jpg"), ImageError, "addresses are not fetched"),
        (lambda: client.caption([samples[0], "http://example.org/a.jpg"]), ImageError, "addresses"),
        (lambda: client.answer(samples[0], ""), TextError, "empty"),
        (lambda: client.caption(samples[0], "w " * 30), OptionError, "leaves no room"),
        (lambda: client.caption(samples[0], model="gpt"), ModelNotFound, "'gpt' is not served"),
        (lambda: client.embed_texts("a", model="gpt"), ModelNotFound, "'gpt' is not served"),
        (lambda: client.analyze(samples[0]), InputError, "nothing is asked"),
        (lambda: client.match(samples[:2], ["a", "b", "c"]), InputError, "3 texts do not go with 2 pictures"),
        (lambda: client.caption(3), InputError, "int"),  # type: ignore[arg-type]
    ):
        with pytest.raises(kind, match=says) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_models_and_readiness(client: Client, blip: Blip, server: Server) -> None:
    [model] = client.models()
    assert (model.name, model.loaded, model.tasks) == ("mini", True, blip.tasks)
    assert client.ready()
    assert not Client("http://127.0.0.1:9", retries=Retries(0)).ready()


def test_the_key_is_sent(mini: Path, tmp_path: Path, samples: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    key, line = new_key("tester")
    (tmp_path / "keys").write_text(line + "\n")
    (tmp_path / "keys").chmod(0o600)
    with serving(tmp_path / "service", settings={"OPENBLIP_API_KEYS": str(tmp_path / "keys")}) as locked:
        with pytest.raises(ServiceError, match="a key is needed") as caught:
            Client(locked.url).caption(samples[0])
        assert (caught.value.status, caught.value.code) == (401, "key")
        with pytest.raises(ServiceError, match="a key is needed"):
            Client(locked.url).models()
        assert Client(locked.url, api_key=key).caption(samples[0])
        monkeypatch.setenv("OPENBLIP_API_KEY", key)
        assert Client(locked.url).models()
        with pytest.raises(ServiceError, match="unknown"):
            Client(locked.url, api_key=key[:-1] + "x").models()


def test_asyncio_has_the_same_calls(server: Server, client: Client, samples: list[Path]) -> None:
    async def ask() -> None:
        async with AsyncClient(server.url, retries=Retries(0)) as waiting:
            both = await asyncio.gather(waiting.caption(samples), waiting.answer(samples[0], QUESTIONS))
            assert both == [client.caption(samples), client.answer(samples[0], QUESTIONS)]
            assert await waiting.match(samples, "a cup") == client.match(samples, "a cup")
            assert await waiting.embed_texts("a cup") == client.embed_texts("a cup")
            assert await waiting.embed(samples) == client.embed(samples)
            asked: dict[str, Any] = {"caption": True, "texts": ["a cup"]}
            assert await waiting.analyze(samples, **asked) == client.analyze(samples, **asked)
            assert await waiting.models() == client.models()
            assert await waiting.ready()
            async with await waiting.caption_stream(samples[0]) as stream:
                pieces = [piece async for piece in stream]
            assert "".join(piece.text for piece in pieces) == stream.caption.text
            async with await waiting.caption_stream(samples[0]) as left:
                await anext(left)
            with pytest.raises(InputError, match="read to its end"):
                left.caption  # noqa: B018
            with pytest.raises(ModelNotFound):
                await waiting.caption(samples[0], model="gpt")

    asyncio.run(ask())
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(AsyncClient, name)).parameters == inspect.signature(method).parameters


def test_the_library_is_filled_searched_and_emptied(client: Client, blip: Blip, samples: list[Path]) -> None:
    added = client.add_images(samples, caption=True)
    assert [each.caption for each in added] == [each.text for each in blip.caption(samples)]
    assert list(client.images()) == sorted(added, key=lambda each: each.id)
    assert list(client.images("width > 100000")) == []
    assert client.search(image=samples[0], limit=1).hits[0].image == added[0]
    found = client.search("a cup of coffee", rerank=len(samples), where="width > 1", hybrid=True)
    assert found.reranked == len(samples)
    assert {hit.image.id for hit in found.hits} == {each.id for each in added}
    assert all(hit.probability is not None for hit in found.hits)
    assert client.search(like=added[0].id).hits[0].image != added[0]
    with Image.open(BytesIO(client.thumbnail(added[0].id, 64))) as thumbnail:
        assert max(thumbnail.size) == 64
    [named] = client.add_images(samples[0], "my cat Chelsea")
    assert (named.id, named.caption) == (added[0].id, "my cat Chelsea")
    with pytest.raises(InputError, match="2 captions do not go with 1 pictures"):
        client.add_images(samples[0], ["one", "two"])
    with pytest.raises(InputError, match="nothing to look for"):
        client.search()
    for each in added:
        client.delete_image(each.id)
    with pytest.raises(ServiceError, match="no picture"):
        client.delete_image(added[0].id)
    assert list(client.images()) == []


def test_the_library_with_asyncio(server: Server, samples: list[Path]) -> None:
    async def run() -> None:
        async with AsyncClient(server.url, retries=Retries(0)) as client:
            added = await client.add_images(samples[:2])
            assert {each.id async for each in client.images()} == {each.id for each in added}
            found = await client.search(image=samples[1])
            assert found.hits[0].image == added[1]
            assert await client.thumbnail(added[0].id, 32)
            for each in added:
                await client.delete_image(each.id)

    asyncio.run(run())


def test_it_takes_what_blip_takes() -> None:
    """So that one may stand for the other: the same names in the same order, and `model` beside them."""
    for name in ("caption", "captions", "caption_stream", "answer", "match", "ground", "embed_texts"):
        ours = [each for each in inspect.signature(getattr(Client, name)).parameters if each != "model"]
        assert ours == list(inspect.signature(getattr(Blip, name)).parameters), name
    theirs = set(inspect.signature(Blip.analyze).parameters)
    assert theirs - set(inspect.signature(Client.analyze).parameters) == {"answer_options"}


def test_results_are_a_list() -> None:
    results = Results([1, 2], "m", "r", ())
    assert results == [1, 2]
    assert isinstance(results[0], int)


def test_it_brings_no_part_of_the_service() -> None:
    code = (
        "import sys, openblip; openblip.Client('http://localhost'); "
        "print([name for name in ('openblip.serve', 'fastapi', 'openvino', 'torch', 'pydantic', 'openblip.pipeline') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
