"""The application over a tiny random model: every task, what is computed once, and what is told."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from openblip import Blip, GenerateOptions
from photos import saved
from serve_app import as_json, door, photo, problem, service, wait_until_ready
from tiny_blip import calls, counted_blip, picture

TASKS: dict[str, dict[str, Any]] = {
    "caption": {"prompt": "a", "options": {"num_beams": 2, "num_return": 2}},
    "answer": {"questions": ["a dog", "the cat"]},
    "match": {"texts": ["a dog", "the cat"]},
    "embed": {},
    "analyze": {"caption": True, "questions": ["a dog"], "texts": ["a cat"], "embed": True},
}


@pytest.fixture
def blip(tmp_path: Path) -> Blip:
    return counted_blip("openvino", tmp_path)


@pytest.fixture
def client(blip: Blip, tmp_path: Path) -> Iterator[TestClient]:
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        yield client


@pytest.mark.parametrize("task", TASKS)
def test_each_task_says_what_the_library_says(task: str, client: TestClient, blip: Blip) -> None:
    first, second = photo(1), photo(2)
    answer = client.post(f"/v1/{task}", json={"images": as_json(first, second), **TASKS[task]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["model"] == "tiny"
    options = GenerateOptions(num_beams=2, num_return=2)
    for data, result in zip((first, second), found["results"], strict=True):
        assert result["error"] is None
        if task in ("caption", "analyze"):
            prompt, options = ("a", options) if task == "caption" else ("", GenerateOptions())
            [expected] = blip.captions(data, prompt, options)
            assert [each["text"] for each in result["captions"]] == [each.text for each in expected]
            assert result["captions"][0]["probability"] == pytest.approx(expected[0].probability, rel=1e-4)
        if task in ("answer", "analyze"):
            said = blip.answer(data, TASKS[task]["questions"])
            assert [each["text"] for each in result["answers"]] == [each.text for each in said]
        if task in ("match", "analyze"):
            matches = blip.match(data, TASKS[task]["texts"])
            assert [each["similarity"] for each in result["matches"]] == pytest.approx(
                [each.similarity for each in matches], abs=1e-5
            )
        if task in ("embed", "analyze"):
            assert result["embedding"]["vector"] == pytest.approx(blip.embed_images(data)[0].tolist(), abs=1e-5)


def test_a_form_with_files_says_the_same_as_json(client: TestClient) -> None:
    data = photo(3)
    as_form = client.post(
        "/v1/answer",
        files=[("images", ("a.png", data, "image/png"))],
        data={"questions": ["a dog", "the cat"], "options": json.dumps({"num_beams": 2})},
    )
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    body = {"images": [url], "questions": ["a dog", "the cat"], "options": {"num_beams": 2}}
    other = client.post("/v1/answer", json=body)
    assert as_form.json()["results"][0]["answers"] == other.json()["results"][0]["answers"]
    assert other.json()["results"][0]["cached"] is True


def test_what_was_computed_is_not_computed_again(client: TestClient, blip: Blip) -> None:
    data = photo(4)
    before = calls(blip, "encode_images")
    ask = {"images": as_json(data), "questions": ["a dog"]}
    first, second = (client.post("/v1/answer", json=ask).json()["results"][0] for _ in range(2))
    assert calls(blip, "encode_images") == before + 1
    assert (first["cached"], second["cached"]) == (False, True)
    assert second["answers"] == first["answers"]
    assert set(second["timing"].values()) == {0.0}
    asked = calls(blip, "encode_questions")
    other = client.post("/v1/answer", json={**ask, "questions": ["the cat"]}).json()["results"][0]
    assert other["cached"] is False
    assert calls(blip, "encode_images") == before + 1, "the next question costs its text alone"
    assert other["timing"]["decode_s"] == 0.0
    assert calls(blip, "encode_questions") == asked + 1


def test_the_same_pixels_in_another_file_are_the_same_picture(client: TestClient, blip: Blip) -> None:
    image = Image.fromarray(picture(5))
    plain = saved(image, "PNG")
    exif = Image.Exif()
    exif[0x010E] = "another description"
    wrapped = saved(image, "PNG", exif=exif)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees clockwise
    sideways = saved(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=turned)
    assert len({plain, wrapped, sideways}) == 3
    client.post("/v1/caption", json={"images": as_json(plain)})
    before = calls(blip, "encode_images")
    for other in (wrapped, sideways):
        assert client.post("/v1/caption", json={"images": as_json(other)}).json()["results"][0]["cached"] is True
    assert calls(blip, "encode_images") == before


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "the"},
        {"options": {"num_beams": 2}},
        {"options": {"num_beams": 1, "sample": True}},
        {"options": {"num_beams": 1, "sample": True, "seed": 1}},
    ],
)
def test_another_prompt_or_option_is_another_result(changes: dict[str, Any], client: TestClient) -> None:
    ask = {"images": as_json(photo(6))}
    client.post("/v1/caption", json=ask)
    assert client.post("/v1/caption", json={**ask, **changes}).json()["results"][0]["cached"] is False
    again = client.post("/v1/caption", json={**ask, **changes}).json()["results"][0]
    assert again["cached"] is True


def test_a_hundred_uploads_at_once_cost_one_inference(client: TestClient, blip: Blip) -> None:
    body = {"images": as_json(photo(7))}
    before = calls(blip, "encode_images")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/caption", json=body).json(), range(100)))
    assert calls(blip, "encode_images") == before + 1
    assert len({json.dumps(each["results"][0]["captions"]) for each in answers}) == 1


def test_a_sampled_caption_of_a_known_picture_is_that_of_an_unknown_one(client: TestClient, blip: Blip) -> None:
    data, options = photo(8), {"sample": True, "num_beams": 1, "seed": 3}
    client.post("/v1/embed", json={"images": as_json(data)})
    found = client.post("/v1/caption", json={"images": as_json(data), "options": options}).json()
    [expected] = blip.caption(data, options=GenerateOptions(sample=True, num_beams=1, seed=3))
    assert found["results"][0]["captions"][0]["text"] == expected.text


def test_a_stream_is_the_greedy_caption_in_pieces(client: TestClient, blip: Blip) -> None:
    data = photo(9)
    named = stream_of(client, data)
    [whole] = blip.caption(data, options=GenerateOptions(num_beams=1))
    assert "".join(content["text"] for name, content in named if name == "piece") == whole.text
    assert [name for name, _ in named][-1] == "caption"
    assert named[-1][1]["text"] == whole.text
    assert not named[-1][1]["cached"]
    assert service(client).in_hand == 0
    two = {"images": as_json(data, data), "stream": True}
    assert "one picture" in problem(client.post("/v1/caption", json=two), 422)["detail"]
    beams = {"images": as_json(data), "stream": True, "options": {"num_beams": 3}}
    assert problem(client.post("/v1/caption", json=beams), 422)["code"] == "option"
    broken = {"images": as_json(b"no picture"), "stream": True}
    assert problem(client.post("/v1/caption", json=broken), 422)["code"] == "image"


def test_a_stream_is_kept_and_comes_from_the_cache_where_it_is_there(client: TestClient, blip: Blip) -> None:
    data, greedy = photo(10), {"options": {"num_beams": 1}}
    computed = stream_of(client, data)
    kept_soon(client, data)
    generated = calls(blip, "decode")
    again = stream_of(client, data)
    assert [name for name, _ in again] == ["piece", "caption"]
    assert again[0][1]["text"] == again[-1][1]["text"] == computed[-1][1]["text"]
    assert again[-1][1] == {**computed[-1][1], "cached": True}
    whole = client.post("/v1/caption", json={"images": as_json(data), **greedy}).json()["results"][0]
    assert whole["cached"], "what a stream computed is the greedy caption"
    assert calls(blip, "decode") == generated
    other = photo(11)
    client.post("/v1/caption", json={"images": as_json(other), **greedy})
    kept_soon(client, other)
    assert not stream_of(client, other, prompt="a")[-1][1]["cached"]


def kept_soon(client: TestClient, data: bytes) -> None:
    """Wait for what is written in the background."""
    for _ in range(100):
        if stream_of(client, data)[-1][1]["cached"]:
            return
        time.sleep(0.05)
    raise AssertionError("it is never kept")


def stream_of(client: TestClient, data: bytes, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    """Names and contents of the events."""
    answer = client.post("/v1/caption", json={"images": as_json(data), "stream": True, **fields})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in events]


def test_a_broken_picture_among_good_ones_harms_only_itself(client: TestClient) -> None:
    found = client.post("/v1/caption", json={"images": as_json(photo(1), b"no picture", photo(2))})
    assert found.status_code == 200
    errors = [result["error"] for result in found.json()["results"]]
    assert (errors[0], errors[2]) == (None, None)
    assert errors[1]["code"] == "image"
    assert problem(client.post("/v1/caption", json={"images": as_json(b"x", b"y")}), 422)["code"] == "image"


def test_a_failure_that_nobody_foresaw_says_nothing_of_its_cause(
    blip: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        engine: Any = blip.engine

        def broken(pixels: Any) -> Any:
            raise RuntimeError("the secret of /etc")

        monkeypatch.setattr(engine, "encode_images", broken, raising=False)
        answer = client.post("/v1/caption", json={"images": as_json(photo(31))})
        assert "secret" not in answer.text
        assert problem(answer, 500)["code"] == "internal"
        assert answer.headers["x-request-id"] in answer.json()["detail"]
        assert "the secret of /etc" in caplog.text


def test_every_answer_has_an_id_and_the_log_no_content(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "openblip.serve")
    body = {"images": as_json(photo(1)), "prompt": "a secretprompt"}
    answer = client.post("/v1/caption", json=body, headers={"x-request-id": "abc123"})
    assert answer.headers["x-request-id"] == "abc123"
    odd = client.get("/healthz", headers={"x-request-id": "a\tb;" * 40})
    assert odd.headers["x-request-id"].isalnum()
    written = " ".join(str(vars(record)) for record in caplog.records)
    assert "abc123" in written
    assert "secretprompt" not in written
    assert body["images"][0][:40] not in written


def test_metrics_count_what_happened(client: TestClient) -> None:
    ask = {"images": as_json(photo(33)), "questions": ["a dog"]}
    computed = 0  # once; again where the store did not answer in its time
    while not client.post("/v1/answer", json=ask).json()["results"][0]["cached"]:
        computed += 1
        assert computed < 20
    client.post("/v1/answer", json={})
    text = client.get("/metrics").text
    assert f'openblip_requests_total{{route="/v1/answer",status="200"}} {computed + 1}.0' in text
    assert 'openblip_requests_total{route="/v1/answer",status="422"} 1.0' in text
    found = [f'openblip_cache_total{{event="{event}"}} 1.0' in text for event in ("hit", "joined")]
    assert any(found), "joined: it was still being stored"
    assert "openblip_queue_pictures 0.0" in text
    assert f'openblip_stage_seconds_count{{stage="search"}} {computed}.0' in text
    assert "openblip_batch_pictures_count" in text


def test_a_damaged_cache_entry_is_computed_again(blip: Blip, tmp_path: Path) -> None:
    ask = {"images": as_json(photo(34))}
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        first = client.post("/v1/caption", json=ask).json()
    for file in (tmp_path / "results").iterdir():
        if file.is_file():
            file.write_bytes(b"rubbish" * 100)
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        again = client.post("/v1/caption", json=ask).json()
    assert again["results"][0]["cached"] is False
    assert again["results"][0]["captions"] == first["results"][0]["captions"]


def test_results_outlive_the_process(blip: Blip, tmp_path: Path) -> None:
    ask = {"images": as_json(photo(35))}
    for cached in (False, True):
        with door(blip, tmp_path) as client:
            wait_until_ready(client)
            assert client.post("/v1/caption", json=ask).json()["results"][0]["cached"] is cached


def test_the_document_names_every_body_and_every_problem(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    names = {reference.split('"')[0] for reference in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    for task in TASKS:
        post = document["paths"][f"/v1/{task}"]["post"]
        assert set(post["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
        assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= set(post["responses"])
