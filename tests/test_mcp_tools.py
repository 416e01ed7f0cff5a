"""The tools as an assistant sees them, by the SDK's client: what they offer, find and refuse."""

from __future__ import annotations

import asyncio
import base64
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from mcp import Client
from PIL import Image

from assistant import as_data, call, found, refused, talk
from openblip import Blip, GenerateOptions, ModelNotFound
from openblip.image import load_image
from openblip.mcp.folders import AllowedFolders
from openblip.mcp.server import create_server
from openblip.mcp.tools import MAX_DATA_BYTES, TOOLS, Tools
from openblip.regions import overlay
from photos import photo, saved
from tiny_blip import tiny_blip


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    for index in range(3):
        (folder / f"photo{index}.jpg").write_bytes(saved(photo(60, 40, index), "JPEG"))
    (folder / "broken.jpg").write_bytes(saved(photo(60, 40), "JPEG")[:200])
    (folder / "notes.txt").write_text("no picture")
    (folder / "bomb.png").write_bytes(saved(photo(1, 1).resize((12_000, 11_000)), "PNG"))
    return folder


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip("openvino", tmp_path_factory.mktemp("model"))


@pytest.fixture
def server(blip: Blip, album: Path) -> Any:
    return create_server(Tools(lambda: blip, AllowedFolders([album])))


def short(value: float) -> float:
    return round(value, 4)


def test_every_tool_of_the_table_is_offered_with_schemas_and_as_harmless(server: Any, album: Path) -> None:
    async def look(client: Client) -> tuple[Any, str | None]:
        return (await client.list_tools()).tools, client.instructions

    tools, instructions = talk(server, look)
    assert [tool.name for tool in tools] == [name for name in TOOLS if name != "search"]
    assert str(album) in (instructions or "")
    for tool in tools:
        assert tool.annotations.read_only_hint
        assert tool.annotations.open_world_hint is False
        assert tool.description.count("\n    ") == 0
        assert tool.description
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema.Draft202012Validator.check_schema(schema)
        for name, about in tool.input_schema["properties"].items():
            assert about.get("description"), f"{tool.name}: {name}"


def test_captions_are_those_of_the_model(server: Any, blip: Blip, album: Path) -> None:
    for name in ("photo1.jpg", str(album / "photo1.jpg"), as_data((album / "photo1.jpg").read_bytes())):
        [expected] = blip.captions(album / "photo1.jpg", "a picture", GenerateOptions(num_beams=5, num_return=5))
        result = found(call(server, "caption", image=name, prompt="a picture", count=5))
        assert result["captions"] == [{"text": c.text, "probability": short(c.probability)} for c in expected]
        assert result["model"] == "tiny"
    [one] = blip.caption(album / "photo2.jpg")
    assert found(call(server, "caption", image="photo2.jpg"))["captions"][0]["text"] == one.text


def test_answers_are_those_of_the_model(server: Any, blip: Blip, album: Path) -> None:
    questions = ["the dog", "is the cat on grass"]
    for choices in (None, ["red", "blue", "green"]):
        expected = blip.answer(album / "photo0.jpg", questions, answers=choices)
        result = found(call(server, "ask", image="photo0.jpg", questions=questions, choices=choices))
        assert [(each["question"], each["answer"]) for each in result["answers"]] == [
            (each.question, each.text) for each in expected
        ]
        for mine, theirs in zip(result["answers"], expected, strict=True):
            assert mine["probability"] == short(theirs.probability)
            assert [(each["text"], each["probability"]) for each in mine["others"]] == [
                (text, short(probability)) for text, probability in theirs.others
            ]


def test_matches_are_those_of_the_model_the_best_first(server: Any, blip: Blip, album: Path) -> None:
    texts = ["a dog", "a red bus", "snow"]
    expected = sorted(blip.match(album / "photo0.jpg", texts), key=lambda match: -match.probability)
    result = found(call(server, "match", image="photo0.jpg", texts=texts))
    assert result["matches"] == [
        {"text": m.text, "probability": short(m.probability), "similarity": short(m.similarity)} for m in expected
    ]


def test_places_are_those_of_the_model(server: Any, blip: Blip, album: Path) -> None:
    [expected] = blip.ground(album / "photo0.jpg", ["a dog", "snow"])
    result = found(call(server, "ground", image="photo0.jpg", phrases=["a dog", "snow"]))
    assert result["model"] == "tiny"
    for mine, theirs in zip(result["groundings"], expected, strict=True):
        assert (mine["phrase"], mine["probability"]) == (theirs.phrase, short(theirs.probability))
        assert (mine["width"], mine["height"]) == theirs.size == (60, 40)
        assert (mine["peak"]["x"], mine["peak"]["y"]) == (int(theirs.peak[0]), int(theirs.peak[1]))
        assert [(box["left"], box["bottom"], box["score"]) for box in mine["boxes"]] == [
            (round(box.left), round(box.bottom), short(box.score)) for box in theirs.boxes
        ]
    [own] = blip.ground(album / "photo0.jpg")
    assert [each["phrase"] for each in found(call(server, "ground", image="photo0.jpg"))["groundings"]] == [
        each.phrase for each in own
    ]


def test_places_are_drawn_where_that_is_asked(server: Any, blip: Blip, album: Path) -> None:
    result = call(server, "ground", image="photo0.jpg", phrases=["a dog", "snow"], overlay=True)
    assert len(found(result)["groundings"]) == 2
    pictures = [each for each in result.content if each.type == "image"]
    assert [each.mime_type for each in pictures] == ["image/jpeg"] * 2
    [expected] = blip.ground(album / "photo0.jpg", ["a dog", "snow"])
    for picture, grounding in zip(pictures, expected, strict=True):
        with Image.open(BytesIO(base64.b64decode(picture.data))) as drawn:
            whole = overlay(load_image(album / "photo0.jpg"), grounding)
            assert drawn.size == whole.size == (60, 40)
            assert np.abs(np.asarray(drawn, int) - np.asarray(whole, int)).mean() < 12


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("broken.jpg", "broken.jpg: the picture looks like JPEG but cannot be decoded"),
        ("notes.txt", "notes.txt: the picture is not a picture that openblip can read"),
        ("bomb.png", "bomb.png: the picture is 12,000 x 11,000 pixels, more than the"),
        ("none.jpg", "none.jpg does not exist: check the path"),
        ("/etc/passwd", "/etc/passwd is not in a folder that is allowed: give a picture in"),
        ("https://example.org/a.jpg", "is not fetched: save the picture in an allowed folder"),
        ("data:image/png,abc", "holds no base64"),
        ("data:image/png;base64", "holds no base64"),
        ("data:;base64,", "the data: address: the picture is empty"),
        ("data:image/png;base64,a?b=", "holds no valid base64"),
        ("data:image/png;base64,aGVsbG8=", "the data: address: the picture is not a picture"),
        ("data:;base64," + "A" * (MAX_DATA_BYTES * 4 // 3 + 8), "holds more than 10,000,000 bytes"),
    ],
    ids=lambda value: value[:24],
)
def test_a_picture_that_cannot_be_used_is_an_error_to_act_on(server: Any, image: str, message: str) -> None:
    said = refused(call(server, "caption", image=image))
    assert message in said
    assert len(said) < 400


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("zoom", {}, "Unknown tool: zoom"),
        ("caption", {}, "image"),
        ("caption", {"image": "photo0.jpg", "count": 11}, "less than or equal to 10"),
        ("ask", {"image": "photo0.jpg", "questions": []}, "at least 1 item"),
        ("ask", {"image": "photo0.jpg", "questions": ["  "]}, "is empty"),
        ("match", {"image": "photo0.jpg", "texts": ["a"] * 65}, "at most 64 items"),
        ("ground", {"image": "photo0.jpg", "phrases": [" "]}, "is empty"),
        ("ground", {"image": "broken.jpg", "phrases": ["a"], "overlay": True}, "broken.jpg: the picture looks like"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(server: Any, tool: str, arguments: dict[str, Any], message: str) -> None:
    assert message in refused(call(server, tool, **arguments))


def test_the_model_is_loaded_once_when_it_is_first_needed_and_used_by_one_call_at_a_time(
    blip: Blip, album: Path
) -> None:
    loads, inside, most = [], [0], [0]
    gate = threading.Lock()

    class Watched:
        def captions(self, *arguments: Any) -> Any:
            with gate:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            found = blip.captions(*arguments)
            with gate:
                inside[0] -= 1
            return found

    def load() -> Any:
        loads.append(1)
        return Watched()

    server = create_server(Tools(load, AllowedFolders([album])))
    texts = [blip.caption(album / f"photo{index}.jpg")[0].text for index in range(3)]

    async def many(client: Client) -> list[Any]:
        await client.list_tools()
        assert not loads
        return await asyncio.gather(
            *(client.call_tool("caption", {"image": f"photo{number % 3}.jpg"}) for number in range(12))
        )

    results = talk(server, many)
    assert [found(result)["captions"][0]["text"] for result in results] == texts * 4
    assert (len(loads), most[0]) == (1, 1)


def test_a_model_that_is_not_there_is_said_and_looked_for_again(blip: Blip, album: Path) -> None:
    answers: list[Any] = [ModelNotFound("no model 'base': run 'openblip pull base'"), blip]

    def load() -> Blip:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    server = create_server(Tools(load, AllowedFolders([album])))
    assert "run 'openblip pull base'" in refused(call(server, "caption", image="photo0.jpg"))
    assert found(call(server, "caption", image="photo0.jpg"))["captions"]


def test_what_fails_unexpectedly_shows_nothing_of_its_inside(album: Path) -> None:
    def load() -> Blip:
        raise RuntimeError("secret")

    server = create_server(Tools(load, AllowedFolders([album])))
    assert refused(call(server, "caption", image="photo0.jpg")) == "Error executing tool caption"
