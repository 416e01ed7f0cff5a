"""The application over a model, and requests to it. Knows no test."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from openblip import Blip
from openblip.serve.app import create_app
from openblip.serve.service import Service
from openblip.serve.settings import ServeSettings
from photos import saved
from tiny_blip import picture


def photo(seed: int) -> bytes:
    return saved(Image.fromarray(picture(seed)), "PNG")


def as_json(*pictures: bytes) -> list[str]:
    return [base64.b64encode(each).decode() for each in pictures]


def settings(tmp_path: Path, **changes: Any) -> ServeSettings:
    return ServeSettings(cache_folder=tmp_path / "results", **changes)


def door(blip: Blip, tmp_path: Path, **changes: Any) -> TestClient:
    return TestClient(create_app(settings(tmp_path, **changes), lambda name: blip), raise_server_exceptions=False)


def wait_until_ready(client: TestClient) -> None:
    for _ in range(500):
        if client.get("/readyz").status_code == 200:
            return
        threading.Event().wait(0.02)
    raise AssertionError(client.get("/readyz").text)


def service(client: TestClient) -> Service:
    found: Any = client.app
    return found.state.service  # type: ignore[no-any-return]


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert "\n" not in found["detail"]
    return found


class Gate:
    """An engine that waits before it encodes."""

    def __init__(self, blip: Blip) -> None:
        self.engine: Any = blip.engine
        self.open = threading.Event()
        self.open.set()
        self.arrived = threading.Event()

    def encode(self, pixels: Any) -> Any:
        self.arrived.set()
        self.open.wait(20)
        return self.engine._engine.encode_images(pixels)
