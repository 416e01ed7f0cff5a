"""What the application refuses, and what it does when there is too much, too slowly, or at its end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from openblip import Blip
from openblip.image import load_image
from openblip.serve import worker
from openblip.serve.app import create_app
from openblip.serve.service import Service
from photos import saved
from serve_app import Gate, as_json, door, photo, problem, service, settings, wait_until_ready
from tiny_blip import counted_blip


@pytest.fixture
def blip(tmp_path: Path) -> Blip:
    return counted_blip("openvino", tmp_path)


@pytest.fixture
def client(blip: Blip, tmp_path: Path) -> Iterator[TestClient]:
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        yield client


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("caption", {}, 422, "images"),
    ("caption", {"images": []}, 422, "images"),
    ("caption", {"images": ["%%%"]}, 422, "base64"),
    ("caption", {"images": ["http://127.0.0.1/a.png"]}, 422, "not fetched"),
    ("caption", {"images": ["data:image/png,abc"]}, 422, "data URL"),
    ("caption", {"images": as_json(b"no picture")}, 422, "not a picture"),
    ("caption", {"images": as_json(photo(1)) * 17}, 422, "more than 16"),
    ("caption", {"images": as_json(photo(1)), "optoins": {}}, 422, "optoins"),
    ("caption", {"images": as_json(photo(1)), "options": {"num_beams": 0}}, 422, "num_beams=0"),
    ("caption", {"images": as_json(photo(1)), "options": {"num_beams": 40}}, 422, "at most 16"),
    ("caption", {"images": as_json(photo(1)), "options": {"max_length": 400}}, 422, "max_length=400"),
    ("caption", {"images": as_json(photo(1)), "prompt": "a " * 1500}, 422, "2000 characters"),
    ("caption", {"images": as_json(photo(1)), "model": "large"}, 404, "'large' is not served"),
    ("answer", {"images": as_json(photo(1)), "questions": []}, 422, "questions"),
    ("answer", {"images": as_json(photo(1)), "questions": [" "]}, 422, "empty"),
    ("answer", {"images": as_json(photo(1)), "questions": ["a"], "answers": ["a"] * 65}, 422, "at most 64"),
    ("match", {"images": as_json(photo(1)), "texts": ["a"] * 65}, 422, "at most 64"),
    ("analyze", {"images": as_json(photo(1))}, 422, "nothing is asked"),
    ("analyze", {"images": as_json(photo(1)), "embed": True, "prompt": "a"}, 422, "caption=true"),
    ("analyze", {"images": as_json(photo(1)), "embed": True, "answers": ["a"]}, 422, "questions too"),
]


@pytest.mark.parametrize(("task", "body", "status", "said"), REFUSED)
def test_what_cannot_be_served_is_a_problem_that_says_why(
    task: str, body: dict[str, Any], status: int, said: str, client: TestClient
) -> None:
    assert said in problem(client.post(f"/v1/{task}", json=body), status)["detail"]


def test_bodies_that_cannot_be_read(blip: Blip, tmp_path: Path) -> None:
    with door(blip, tmp_path, max_body_bytes=10_000) as client:
        wait_until_ready(client)
        head = {"content-type": "application/json"}
        assert problem(client.post("/v1/caption", content=b"{", headers=head), 400)["code"] == "json"
        assert problem(client.post("/v1/caption", content=b"[" * 5000, headers=head), 400)["code"] == "json"
        assert problem(client.post("/v1/caption", content=b"x" * 20_000, headers=head), 413)["code"] == "too_large"

        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield b"x" * 1000

        assert problem(client.post("/v1/caption", content=chunks(), headers=head), 413)["code"] == "too_large"
        large = {"images": ("a.png", b"x" * 20_000)}
        assert problem(client.post("/v1/caption", files=large), 413)["code"] == "too_large"
        text = {"content-type": "text/plain"}
        assert problem(client.post("/v1/caption", content=b"{}", headers=text), 415)["code"] == "media_type"
        broken = {"content-type": "multipart/form-data"}
        assert problem(client.post("/v1/caption", content=b"{}", headers=broken), 400)["code"] == "form"
        assert problem(client.get("/v1/caption"), 405)
        assert problem(client.get("/v1/nothing"), 404)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(blip: Blip, tmp_path: Path) -> None:
    with door(blip, tmp_path, max_pixels=1000) as client:
        wait_until_ready(client)
        large = saved(Image.new("RGB", (40, 40)), "PNG")
        refused = client.post("/v1/caption", json={"images": as_json(large)})
        assert "40 x 40 pixels, more than the 1,000" in problem(refused, 422)["detail"]


@pytest.fixture
def gate(blip: Blip, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(blip)
    monkeypatch.setattr(gate.engine, "encode_images", gate.encode, raising=False)
    return gate


def test_a_full_queue_is_429_and_says_when_to_come_back(blip: Blip, gate: Gate, tmp_path: Path) -> None:
    with door(blip, tmp_path, max_queue=2, max_batch=1) as client, ThreadPoolExecutor(8) as pool:
        wait_until_ready(client)
        gate.open.clear()
        gate.arrived.clear()
        first = pool.submit(client.post, "/v1/caption", json={"images": as_json(photo(20))})
        assert gate.arrived.wait(10)
        rest = [pool.submit(client.post, "/v1/caption", json={"images": as_json(photo(seed))}) for seed in (21, 22)]
        while service(client).waiting < 2:
            threading.Event().wait(0.01)
        refused = client.post("/v1/caption", json={"images": as_json(photo(23))})
        assert problem(refused, 429)["code"] == "busy"
        assert int(refused.headers["retry-after"]) >= 1
        assert 'openblip_refused_total{reason="busy"} 1.0' in client.get("/metrics").text
        gate.open.set()
        assert [each.result().status_code for each in (first, *rest)] == [200, 200, 200]
        assert client.post("/v1/caption", json={"images": as_json(photo(23))}).status_code == 200


class SlowReader:
    """Reads pictures when it is told to, and counts them."""

    def __init__(self) -> None:
        self.goes_on, self.count = threading.Event(), 0

    def __call__(self, data: bytes, *rest: Any) -> Image.Image:
        self.count += 1
        self.goes_on.wait(20)
        return load_image(data, *rest)


def test_pictures_that_are_read_have_places_and_what_is_refused_is_not_read(
    blip: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SlowReader()
    with door(blip, tmp_path, max_queue=2) as client, ThreadPoolExecutor(2) as pool:
        wait_until_ready(client)
        monkeypatch.setattr(worker, "load_image", reader)
        first = [pool.submit(client.post, "/v1/caption", json={"images": as_json(photo(seed))}) for seed in (40, 41)]
        while service(client).waiting < 2:
            threading.Event().wait(0.01)
        assert "openblip_queue_pictures 2.0" in client.get("/metrics").text
        refused = client.post("/v1/caption", json={"images": as_json(photo(42))})
        assert problem(refused, 429)["code"] == "busy"
        reader.goes_on.set()
        assert [each.result().status_code for each in first] == [200, 200]
        assert reader.count == 2, "the one that was refused was not read before"
        assert client.post("/v1/caption", json={"images": as_json(photo(42))}).status_code == 200


def test_many_who_send_the_same_new_picture_need_one_place(
    blip: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SlowReader()
    with door(blip, tmp_path, max_queue=1) as client, ThreadPoolExecutor(20) as pool:
        wait_until_ready(client)
        monkeypatch.setattr(worker, "load_image", reader)
        [picture] = as_json(photo(46))
        crowd = [pool.submit(client.post, "/v1/caption", json={"images": [picture]}) for _ in range(20)]
        while service(client).in_hand < 20:
            threading.Event().wait(0.01)
        reader.goes_on.set()
        assert {each.result().status_code for each in crowd} == {200}
        assert reader.count == 1


def test_more_pictures_than_may_wait_are_refused_for_good(blip: Blip, tmp_path: Path) -> None:
    with door(blip, tmp_path, max_queue=2) as client:
        wait_until_ready(client)
        three = [picture for seed in (43, 44, 45) for picture in as_json(photo(seed))]
        refused = client.post("/v1/caption", json={"images": three})
        assert "3 pictures are more than 2: send fewer" in problem(refused, 422)["detail"]
        assert client.post("/v1/caption", json={"images": three[:2]}).status_code == 200


def test_too_many_requests_in_hand_are_429(blip: Blip, gate: Gate, tmp_path: Path) -> None:
    with door(blip, tmp_path, max_requests=1) as client, ThreadPoolExecutor(2) as pool:
        wait_until_ready(client)
        gate.open.clear()
        gate.arrived.clear()
        first = pool.submit(client.post, "/v1/caption", json={"images": as_json(photo(24))})
        assert gate.arrived.wait(10)
        problem(client.post("/v1/caption", json={"images": as_json(photo(25))}), 429)
        assert client.get("/healthz").status_code == 200
        gate.open.set()
        assert first.result().status_code == 200


def test_too_many_bytes_in_hand_are_429(blip: Blip, gate: Gate, tmp_path: Path) -> None:
    with door(blip, tmp_path, max_upload_bytes=30_000) as client, ThreadPoolExecutor(2) as pool:
        wait_until_ready(client)
        gate.open.clear()
        gate.arrived.clear()
        padded = photo(26) + b"\0" * 20_000
        first = pool.submit(client.post, "/v1/caption", files={"images": ("a.png", padded)})
        assert gate.arrived.wait(10)
        problem(client.post("/v1/caption", files={"images": ("a.png", padded)}), 429)
        gate.open.set()
        assert first.result().status_code == 200
        assert client.post("/v1/caption", files={"images": ("a.png", padded)}).status_code == 200


def test_what_takes_too_long_is_504_and_the_next_is_served(blip: Blip, gate: Gate, tmp_path: Path) -> None:
    with door(blip, tmp_path, timeout_s=0.3) as client:
        wait_until_ready(client)
        gate.open.clear()
        problem(client.post("/v1/caption", json={"images": as_json(photo(27))}), 504)
        gate.open.set()
        assert client.post("/v1/embed", json={"images": as_json(photo(28))}).status_code == 200


def test_draining_is_not_ready_takes_nothing_new_and_finishes_what_it_has(
    blip: Blip, gate: Gate, tmp_path: Path
) -> None:
    with door(blip, tmp_path) as client, ThreadPoolExecutor(2) as pool:
        wait_until_ready(client)
        gate.open.clear()
        gate.arrived.clear()
        accepted = pool.submit(client.post, "/v1/caption", json={"images": as_json(photo(29))})
        assert gate.arrived.wait(10)
        assert client.portal is not None
        drained = client.portal.start_task_soon(service(client).drain)
        while client.get("/readyz").status_code == 200:
            threading.Event().wait(0.01)
        refused = client.post("/v1/caption", json={"images": as_json(photo(30))})
        assert problem(refused, 503)["code"] == "draining"
        assert client.get("/healthz").status_code == 200
        gate.open.set()
        assert accepted.result().status_code == 200
        assert drained.result(timeout=10) is True


def test_before_the_model_is_there_it_is_not_ready(blip: Blip, tmp_path: Path) -> None:
    release = threading.Event()

    def load(name: str) -> Blip:
        release.wait(10)
        return blip

    with TestClient(create_app(settings(tmp_path), load)) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        refused = client.post("/v1/caption", json={"images": as_json(photo(1))})
        assert problem(refused, 503)["code"] == "not_ready"
        release.set()
        wait_until_ready(client)


def test_a_client_that_goes_away_frees_its_place(blip: Blip, gate: Gate, tmp_path: Path) -> None:
    """An ASGI call whose client disconnects while its picture waits behind another."""
    app = create_app(settings(tmp_path, max_batch=1), lambda name: blip)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            found: Service = app.state.service
            while not found.ready:
                await asyncio.sleep(0.01)
            gate.open.clear()
            gone = asyncio.Event()
            waits = [asyncio.create_task(asked(app, seed, gone if seed else None)) for seed in range(40, 42)]
            staying = asyncio.create_task(asked(app, 42, None))
            while found.waiting < 2:
                await asyncio.sleep(0.01)
            gone.set()
            while found.waiting == 2:
                await asyncio.sleep(0.01)
            gate.open.set()
            await asyncio.gather(*waits, staying)
            assert staying.result() == 200
            assert found.in_hand == 0

    asyncio.run(asyncio.wait_for(main(), 30))


async def asked(app: Any, seed: int, gone: asyncio.Event | None) -> int:
    """The status of a caption, from a client that goes when the event comes."""
    body, status = json.dumps({"images": as_json(photo(seed))}).encode(), 0
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"host", b"test")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/v1/caption",
        "raw_path": b"/v1/caption", "query_string": b"", "headers": headers, "scheme": "http",
        "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return status
