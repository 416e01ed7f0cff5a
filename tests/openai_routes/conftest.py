"""One service for all tests of OpenAI's routes, and the client that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from openblip import Blip
from serving import Server, serving, whole_model


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="package")
def server(mini: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("service"), "--model", f"mini,{tiny}") as running:
        yield running


@pytest.fixture(scope="package")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="package")
def blip(mini: Path) -> Blip:
    return Blip.load("mini")


@pytest.fixture(scope="package")
def cup(samples: list[Path]) -> Path:
    [found] = [photo for photo in samples if photo.stem == "coffee"]
    return found
