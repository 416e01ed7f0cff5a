"""`openblip.Client` against a real service, which must say what `Blip` says; and against servers that fail."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flaky_server import Answer, FlakyServer, as_json, flaky
from openblip import (
    AsyncClient,
    Blip,
    Client,
    GenerateOptions,
    ImageError,
    InputError,
    ModelNotFound,
    OpenBlipError,
    OptionError,
    ServiceError,
    TextError,
)
from openblip.client import Results, Retries
from openblip.client.requests import caption_call
from openblip.client.retries import Attempts
from openblip.serve.keys import new_key
from serving import Server, serving

MODELS = {"object": "list", "data": [{"id": "mini", "loaded": True, "tasks": ["caption"], "revision": "r"}]}
BUSY = {"type": "about:blank", "title": "", "status": 429, "detail": "too much work is waiting", "code": "busy"}
QUESTIONS = ["what is on the table", "what colour is it"]


@pytest.fixture(scope="module")
def server(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("service")) as running:
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


def quick(server: FlakyServer, **changes: Any) -> Client:
    return Client(server.url, retries=Retries(**{"times": 3, **changes}), timeout_s=5)


@pytest.mark.parametrize(
    "failure",
    [
        as_json(BUSY, 429), as_json(BUSY, 503), Answer(502, b"<html>bad gateway</html>"), Answer(504, b""),
        Answer(status=0), Answer(200, json.dumps(MODELS).encode(), cut=True),
    ],
    ids=["429", "503", "502 of a proxy", "504 without a body", "reset", "cut"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(failure: Answer) -> None:
    with flaky(failure, failure, as_json(MODELS)) as server, quick(server) as client:
        assert client.models()[0].name == "mini"
        assert len(server.seen) == 3
        first, second, third = (seen.at for seen in server.seen)
        assert 0.1 < second - first < 1.0
        assert 0.2 < third - second < 2.0


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 413, 415, 422, 500, 501])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    problem = {**BUSY, "status": status, "detail": "no, never", "code": "other"}
    with flaky(as_json(problem, status, location="/elsewhere")) as server, quick(server) as client:
        with pytest.raises(OpenBlipError, match="no, never") as caught:
            client.models()
        assert len(server.seen) == 1
        assert isinstance(caught.value, InputError if status in (400, 413, 415, 422) else ServiceError)


def test_tries_are_bounded_in_number() -> None:
    with flaky(as_json(BUSY, 429)) as server, quick(server, times=2) as client:
        with pytest.raises(ServiceError, match="too much work is waiting") as caught:
            client.models()
        assert (caught.value.status, caught.value.code) == (429, "busy")
        assert len(server.seen) == 3
    with flaky(as_json(BUSY, 429)) as server, quick(server, times=0) as client:
        with pytest.raises(ServiceError):
            client.models()
        assert len(server.seen) == 1


def test_the_service_says_when_to_come_back() -> None:
    with flaky(as_json(BUSY, 429, retry_after="1"), as_json(MODELS)) as server, quick(server) as client:
        assert client.models()
        assert 1.0 <= server.seen[1].at - server.seen[0].at < 2.5
    began = time.monotonic()
    with flaky(as_json(BUSY, 429, retry_after="30")) as server, quick(server, within_s=5) as client:
        with pytest.raises(ServiceError, match="too much work"):
            client.models()
        assert len(server.seen) == 1
    assert time.monotonic() - began < 4  # waiting would have been in vain


def test_a_whole_picture_is_sent_again(samples: list[Path]) -> None:
    result = {"captions": [], "answers": [], "matches": [], "embedding": {"vector": [1.0], "model": "mini"}}
    result |= {"cached": False, "timing": {"queue_s": 0.0, "new_s": 1.0}, "error": None, "new": 1}
    good = as_json({"model": "mini", "revision": "r", "results": [result]})
    with flaky(as_json(BUSY, 503), good) as server, quick(server) as client:
        [found] = client.embed(samples[0])
        assert found.vector == (1.0,)
        first, second = server.seen
        assert samples[0].read_bytes() in first.body
        assert samples[0].read_bytes() in second.body
        assert first.path == second.path == "/v1/embed"


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"<html>", b"[1]", b"{}", b'{"data": 3}', b'{"data": [{"id": 1}]}', b'{"results": [{}]}',
     b"\xff\xfe", b"[" * 100_000, b'{"model": "m", "revision": "", "results": [{"error": null, "captions": 3}]}'],
)  # fmt: skip
def test_garbage_is_one_clear_error(body: bytes, samples: list[Path]) -> None:
    with flaky(Answer(200, body, {"content-type": "application/json"})) as server, quick(server) as client:
        calls = (client.models, lambda: client.caption(samples[0]), lambda: client.embed_texts("a"))
        for number, call in enumerate(calls, 1):
            with pytest.raises(ServiceError, match="not that of an openblip service") as caught:
                call()
            assert "\n" not in str(caught.value)
            assert len(server.seen) == number


def event(name: str, content: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()


PIECE = event("piece", {"text": "a", "tokens": ["a"], "token_probabilities": [0.5]})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (PIECE, "ended before the caption did"),
        (PIECE + event("problem", {**BUSY, "status": 504, "detail": "it took longer"}), "it took longer"),
        (PIECE + event("surprise", {}), "not that of an openblip service"),
        (PIECE + b"data: not json\n\n", "not that of an openblip service"),
        (PIECE + event("piece", [1]), "not that of an openblip service"),
    ],
)
def test_a_stream_that_breaks_is_an_error(body: bytes, says: str, samples: list[Path]) -> None:
    answer = Answer(200, body, {"content-type": "text/event-stream"})
    with flaky(as_json(BUSY, 503), answer) as server, quick(server) as client:
        stream = client.caption_stream(samples[0])
        assert next(stream).text == "a"
        with pytest.raises(ServiceError, match=says):
            next(stream)
        assert len(server.seen) == 2
        with pytest.raises(StopIteration):
            next(stream)


def test_a_stream_of_the_wrong_type_is_an_error(samples: list[Path]) -> None:
    with flaky(as_json({})) as server, quick(server) as client, pytest.raises(ServiceError, match="event-stream"):
        next(client.caption_stream(samples[0]))


def test_nobody_there_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ServiceError, match=f"no answer from http://127.0.0.1:{port} .*check that it runs") as caught:
        Client(f"http://127.0.0.1:{port}", retries=Retries(2)).models()
    assert time.monotonic() - began > 0.3
    assert caught.value.status is None
    with pytest.raises(ServiceError, match="no answer from http://127") as caught:
        Client(f"http://me:secret@127.0.0.1:{port}", retries=Retries(0)).models()
    assert "secret" not in str(caught.value)


def test_the_service_may_stand_below_a_path() -> None:
    with flaky(as_json(MODELS)) as server:
        for address in (f"{server.url}/blip", f"{server.url}/blip/"):
            assert Client(address).models()
            assert server.seen[-1].path == "/blip/v1/models"


def test_a_server_that_never_answers_costs_one_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ServiceError, match="no answer"):
            Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5).models()
        assert 0.4 < time.monotonic() - began < 3


def test_a_service_that_comes_up_late_is_waited_for(mini: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def late() -> None:
        time.sleep(0.6)
        with socket.create_server(("127.0.0.1", port)) as listening:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                body = json.dumps(MODELS).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    thread = threading.Thread(target=late)
    thread.start()
    assert Client(f"http://127.0.0.1:{port}").models()
    thread.join()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"url": "localhost:8000"}, "no address"),
        ({"url": "ftp://host"}, "no address"),
        ({"url": "http://"}, "no address"),
        ({"url": "http://host:port"}, "no address"),
        ({"timeout_s": 0}, "out of range"),
        ({"timeout_s": float("nan")}, "out of range"),
        ({"api_key": "ob_se\ncret"}, "no key has"),
        ({"api_key": "schlüssel"}, "no key has"),
    ],
)
def test_what_no_client_can_be_made_of(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        Client(**arguments)
    assert "cret" not in str(caught.value)
    with pytest.raises(OptionError, match="negative"):
        Retries(times=-1)


@given(
    times=st.integers(0, 8), within_s=st.floats(0, 100), after=st.one_of(st.none(), st.integers(0, 50).map(str)),
    share=st.floats(0, 1),
)  # fmt: skip
def test_waits_grow_and_end(times: int, within_s: float, after: str | None, share: float) -> None:
    now = [0.0]
    attempts = Attempts(Retries(times, within_s), lambda: now[0], lambda low, high: low + share * (high - low))
    waits, failure = list[float](), ServiceError("no")
    with pytest.raises(ServiceError):  # noqa: PT012 (it ends, and that is the point)
        while True:
            waits.append(attempts.wait_s(failure, after))
            now[0] += waits[-1]
    assert len(waits) <= times
    assert sum(waits) <= within_s
    for number, wait in enumerate(waits):
        low, high = 0.125 * 2**number, 0.25 * 2**number
        least = float(after or 0)
        assert max(min(low, 4.0), least) <= wait <= max(min(high, 8.0), least)


@given(st.text())
def test_any_retry_after_is_survived(text: str) -> None:
    assert 0 < Attempts(Retries(1, 1e12)).wait_s(ServiceError("no"), text) < 1e12


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < Attempts(Retries(1)).wait_s(ServiceError("no"), date) <= 20


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


def test_asyncio_tries_again_too(samples: list[Path]) -> None:
    async def ask(server: FlakyServer, **changes: Any) -> Any:
        async with AsyncClient(server.url, retries=Retries(**{"times": 3, **changes})) as client:
            return await client.models()

    with flaky(Answer(status=0), as_json(BUSY, 429, retry_after="1"), as_json(MODELS)) as server:
        assert asyncio.run(ask(server))
        assert [1.0 <= later.at - seen.at < 2.5 for seen, later in pairwise(server.seen)] == [False, True]
    with flaky(as_json(BUSY, 503)) as server, pytest.raises(ServiceError, match="too much work"):
        asyncio.run(ask(server, times=1))
    assert len(server.seen) == 2
    with flaky(as_json({**BUSY, "detail": "never"}, 403)) as server, pytest.raises(ServiceError, match="never"):
        asyncio.run(ask(server))
    assert len(server.seen) == 1


def test_it_takes_what_blip_takes() -> None:
    """So that one may stand for the other: the same names in the same order, and `model` beside them."""
    for name in ("caption", "captions", "caption_stream", "answer", "match", "embed_texts"):
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
