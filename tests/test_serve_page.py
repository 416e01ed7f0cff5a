"""docs/serving.md: its examples of curl, `openblip.Client` and OpenAI's client run as they stand, against a real
service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openblip import Blip
from openblip.serve.openai.schemas import ChatRequest
from required import program
from serving import Server, serving

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "serving.md").read_text(encoding="utf-8")
ADDRESS = "http://localhost:8000"


@pytest.fixture(scope="module")
def server(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, settings={"OPENBLIP_LIBRARY": str(folder / "photos.lance")}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, samples: list[Path]) -> Path:
    """With the photos that the page names."""
    for name, stem in (("photo.jpg", "coffee"), ("other.jpg", "chelsea")):
        shutil.copy(next(photo for photo in samples if photo.stem == stem), tmp_path / name)
    return tmp_path


def section(title: str) -> str:
    return PAGE[PAGE.index(f"\n## {title}\n") :].split("\n## ", 2)[1]


def blocks(title: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE)
    assert found, f"{title} shows no {language}"
    return found


def run(command: list[str], folder: Path, server: Server) -> str:
    assert ADDRESS in command[-1]
    here = [*command[:-1], command[-1].replace(ADDRESS, server.url)]
    done = subprocess.run(here, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def replies(text: str) -> list[dict[str, object]]:
    """JSON objects that stand one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        content, end = decoder.raw_decode(text)
        found.append(content)
        text = text[end:]
    return found


def test_curl(server: Server, folder: Path) -> None:
    program("curl")
    forms, chat = blocks("With curl", "sh")
    caption, match, analysis = replies(run(["bash", "-ec", forms], folder, server))
    photo = folder / "photo.jpg"
    blip = Blip.load("mini")
    assert caption["results"][0]["captions"][0]["text"] == blip.caption(photo, "a picture of")[0].text  # type: ignore[index]
    assert [len(result["matches"]) for result in match["results"]] == [2, 2]  # type: ignore[attr-defined]
    [result] = analysis["results"]  # type: ignore[misc]
    assert [len(result[name]) for name in ("captions", "answers", "matches")] == [2, 1, 0]
    assert result["embedding"]["vector"]
    [reply] = replies(run(["bash", "-ec", chat], folder, server))
    said = blip.answer(photo, "what is on the table")[0].text
    assert reply["choices"][0]["message"]["content"] == said  # type: ignore[index]


def test_curl_of_the_library(server: Server, folder: Path) -> None:
    program("curl")
    [block] = blocks("The photo library", "sh")
    added, by_words, by_picture, page = replies(run(["bash", "-ec", block], folder, server))
    photo, other = (each["image"] for each in added["results"])  # type: ignore[attr-defined]
    assert photo["caption"]
    assert {hit["id"] for hit in by_words["hits"]} == {photo["id"], other["id"]}  # type: ignore[attr-defined]
    assert [hit["id"] for hit in by_picture["hits"]] == [other["id"]]  # type: ignore[attr-defined]
    assert (len(page["images"]), page["total"]) == (1, 2)  # type: ignore[arg-type]


def test_curl_of_the_first_examples(server: Server, folder: Path) -> None:
    program("curl")
    [block] = blocks("Asking", "sh")
    lines = run(["bash", "-ec", block.replace("curl ", "curl -s ")], folder, server)
    assert "event: caption" in lines
    assert lines.count('"question":') == 2


def test_the_client(server: Server, folder: Path) -> None:
    [block] = blocks("From Python", "python")
    lines = run([sys.executable, "-c", block], folder, server).splitlines()
    assert lines[0].startswith(Blip.load("mini").caption(folder / "photo.jpg")[0].text)
    assert len(lines) == 2 + 2 + 2 + 1 + 1
    assert lines[-1].endswith("['mini']")


def test_openais_client(server: Server, folder: Path) -> None:
    [block] = blocks("From the openai client", "python")
    caption, answer, rest, *others = run([sys.executable, "-c", block], folder, server).splitlines()
    blip, photo = Blip.load("mini"), folder / "photo.jpg"
    assert caption == blip.caption(photo)[0].text
    assert answer == blip.answer(photo, "What is on the table?")[0].text
    assert rest.startswith("a picture of")
    assert not others
    width = blip.part("embed").config.projection
    assert rest.endswith(f"[{width}, {width}] ['mini']")


def test_every_parameter_is_explained() -> None:
    page = section("From the openai client")
    explained = set(re.findall(r"`(\w+)`", page))
    missing = set(ChatRequest.model_fields) - explained - {"messages", "top_logprobs"}
    assert missing == {"frequency_penalty", "presence_penalty"}  # "penalties"
