"""`/v1/ground` over a tiny random model: what the library says, as JSON with pictures in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from openblip import Blip, GroundOptions
from photos import photo as smooth
from photos import saved
from serve_app import as_json, door, photo, problem, wait_until_ready
from tiny_blip import calls, counted_blip

PHRASES = ["the dog", "a red hat"]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return counted_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def client(blip: Blip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with door(blip, tmp_path_factory.mktemp("service")) as client:
        wait_until_ready(client)
        yield client


def asked(client: TestClient, task: str = "ground", **body: Any) -> Any:
    answer = client.post(f"/v1/{task}", json=body)
    assert answer.status_code == 200, answer.text
    return [result["groundings"] for result in answer.json()["results"]]


def picture_of(text: str) -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(text)))
    assert image.format == "PNG"
    return image


def test_it_says_what_the_library_says(client: TestClient, blip: Blip) -> None:
    pictures = [photo(1), saved(smooth(90, 60, 2), "JPEG")]
    found = asked(client, images=as_json(*pictures), phrases=PHRASES)
    for row, expected in zip(found, blip.ground(pictures, PHRASES), strict=True):
        for one, other in zip(row, expected, strict=True):
            plain = json.loads(json.dumps(other.to_dict()))
            assert {name: one[name] for name in ("phrase", "size", "model")} == {
                name: plain[name] for name in ("phrase", "size", "model")
            }
            assert one["probability"] == pytest.approx(other.probability, abs=1e-4)
            assert one["overlay"] is None
            heat = np.asarray(picture_of(one["heatmap"]), np.float32) / np.float32(255)
            assert np.abs(heat - other.heatmap).max() <= 2 / 255
            assert one["peak"] == pytest.approx(list(other.peak), abs=max(other.size) / 56)


def test_phrases_of_its_own_caption_and_an_overlay(client: TestClient, blip: Blip) -> None:
    data = saved(smooth(90, 60, 2), "JPEG")
    [row] = asked(client, images=as_json(data), overlay=True)
    assert [each["phrase"] for each in row] == [each.phrase for each in blip.ground(data)[0]]
    for each in row:
        assert picture_of(each["overlay"]).size == (90, 60)
    [analysis] = asked(client, "analyze", images=as_json(data), caption=True, ground=True)
    assert [each["phrase"] for each in analysis] == [each["phrase"] for each in row]


def test_a_large_photo_has_a_smaller_overlay_and_places_in_its_own_pixels(client: TestClient) -> None:
    data = saved(smooth(3000, 1500, 3), "JPEG")
    [[found]] = asked(client, images=as_json(data), phrases=["the dog"], overlay=True)
    assert found["size"] == [3000, 1500]
    assert picture_of(found["overlay"]).size == (1024, 512)
    assert max(box["right"] for box in found["boxes"]) > 200


def test_options_are_heeded(client: TestClient, blip: Blip) -> None:
    data = photo(4)
    [[found]] = asked(client, images=as_json(data), phrases=["the dog"], threshold=0.9, windows=False)
    [[expected]] = blip.ground(data, "the dog", GroundOptions(windows=False, threshold=0.9))
    assert found["boxes"] == [pytest.approx(box) for box in json.loads(json.dumps(expected.to_dict()))["boxes"]]
    form = client.post(
        "/v1/ground",
        files=[("images", ("a.png", data, "image/png"))],
        data={"phrases": ["the dog"], "threshold": "0.9", "windows": "false"},
    )
    assert form.json()["results"][0]["groundings"] == [found]


def test_places_are_computed_once_and_depend_on_the_size(client: TestClient, blip: Blip) -> None:
    image = smooth(24, 24, 5)
    small, large = saved(image, "PNG"), saved(image.resize((48, 48), Image.Resampling.NEAREST), "PNG")
    body = {"images": as_json(small), "phrases": ["the dog"]}
    first = client.post("/v1/ground", json=body).json()["results"][0]
    before = calls(blip, "relevance")
    again = client.post("/v1/ground", json=body).json()["results"][0]
    assert (first["cached"], again["cached"]) == (False, True)
    assert again["groundings"] == first["groundings"]
    assert calls(blip, "relevance") == before
    other = client.post("/v1/ground", json={**body, "images": as_json(large)}).json()["results"][0]
    assert other["cached"] is False
    assert other["groundings"][0]["size"] == [48, 48]
    assert client.post("/v1/ground", json={**body, "threshold": 0.7}).json()["results"][0]["cached"] is False


def test_it_is_asked_beside_others_in_one_batch(client: TestClient) -> None:
    body = {"images": as_json(photo(6), b"no picture", photo(7)), "phrases": ["the dog"]}
    results = client.post("/v1/ground", json=body).json()["results"]
    assert [result["error"] is None for result in results] == [True, False, True]
    assert results[1]["groundings"] == []


@pytest.mark.parametrize(
    ("task", "body", "status", "code"),
    [
        ("ground", {"phrases": [" "]}, 422, "text"),
        ("ground", {"phrases": ["a dog"], "threshold": 0}, 422, "option"),
        ("ground", {"phrases": ["a dog"], "threshold": "hot"}, 422, "invalid"),
        ("ground", {"phrases": ["a dog"] * 1000}, 422, "too_many"),
        ("ground", {"phrases": ["dog " * 5000]}, 422, "text"),
        ("analyze", {"embed": True, "phrases": ["a dog"]}, 422, "input"),
        ("analyze", {"embed": True, "overlay": True}, 422, "input"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    client: TestClient, task: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(f"/v1/{task}", json={"images": as_json(photo(1)), **body})
    assert problem(answer, status)["code"] == code
