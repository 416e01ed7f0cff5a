"""Keys, rates, origins and addresses at the application's door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from openblip import Blip
from openblip.errors import OptionError
from openblip.serve.app import create_app
from openblip.serve.guard.keys import new_key
from serve_app import as_json, door, photo, problem, settings, wait_until_ready
from tiny_blip import counted_blip


@pytest.fixture
def blip(tmp_path: Path) -> Blip:
    return counted_blip("openvino", tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, Path]:
    """A key and the file that knows it."""
    key, line = new_key("alice")
    (tmp_path / "keys").write_text(f"# ours\n{line}\n")
    return key, tmp_path / "keys"


def embed(client: TestClient, seed: int = 1, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/embed", json={"images": as_json(photo(seed))}, headers=named)


def test_without_the_key_nothing_below_v1_is_answered(blip: Blip, keys: tuple[str, Path], tmp_path: Path) -> None:
    key, file = keys
    with door(blip, tmp_path, api_keys=file) as client:
        wait_until_ready(client)
        missing = embed(client)
        assert problem(missing, 401)["code"] == "key"
        assert missing.headers["www-authenticate"] == "Bearer"
        assert "unknown" in problem(embed(client, authorization="Bearer ob_wrong"), 401)["detail"]
        assert problem(embed(client, x_api_key=f"{key}x"), 401)
        assert problem(embed(client, authorization=f"Basic {key}"), 401)
        for found in (embed(client, authorization=f"Bearer {key}"), embed(client, x_api_key=key)):
            assert found.status_code == 200
        assert client.get("/healthz").status_code == 200
        assert 'openblip_refused_total{reason="key"} 4.0' in client.get("/metrics").text


def test_a_file_of_keys_that_cannot_be_used_stops_the_start(blip: Blip, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# nobody yet\n")
    with pytest.raises(OptionError, match="holds no key"):
        create_app(settings(tmp_path, api_keys=tmp_path / "keys"), lambda name: blip)
    with pytest.raises(OptionError, match="rate"):
        create_app(settings(tmp_path, rate="many"), lambda name: blip)


def test_more_requests_than_the_rate_are_429(blip: Blip, tmp_path: Path) -> None:
    with door(blip, tmp_path, rate="3/minute") as client:
        wait_until_ready(client)
        assert [embed(client).status_code for _ in range(3)] == [200, 200, 200]
        refused = embed(client)
        assert problem(refused, 429)["code"] == "rate"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert client.get("/readyz").status_code == 200


def test_pages_of_other_origins_read_nothing_unless_they_are_named(blip: Blip, tmp_path: Path) -> None:
    origin = {"origin": "https://example.org"}
    with door(blip, tmp_path) as client:
        assert "access-control-allow-origin" not in client.get("/healthz", headers=origin).headers
    with door(blip, tmp_path, cors_origins="https://example.org, https://example.com") as client:
        assert client.get("/healthz", headers=origin).headers["access-control-allow-origin"] == "https://example.org"
        other = client.get("/healthz", headers={"origin": "https://example.net"})
        assert "access-control-allow-origin" not in other.headers


def test_security_headers_and_the_policy_of_the_document_page(blip: Blip, tmp_path: Path) -> None:
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        answer = client.post("/v1/embed", json={"images": as_json(photo(1))})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        page = client.get("/docs")
        assert "swagger-ui" in page.text
        assert "'unsafe-inline'" not in page.headers["content-security-policy"].partition("style-src")[0]
        assert client.get("/healthz", headers={f"x-{n}": "a" for n in range(200)}).status_code == 431


@pytest.mark.parametrize("address", ["http://example.org/a.jpg", "https://127.0.0.1/a.jpg", "https://[::1]/a.jpg"])
def test_addresses_are_fetched_where_it_is_allowed_and_from_public_hosts_alone(
    address: str, blip: Blip, tmp_path: Path
) -> None:
    body = {"images": [address]}
    with door(blip, tmp_path) as client:
        wait_until_ready(client)
        assert "not fetched" in problem(client.post("/v1/caption", json=body), 422)["detail"]
    with door(blip, tmp_path, fetch_urls=True) as client:
        wait_until_ready(client)
        refused = problem(client.post("/v1/caption", json=body), 422)
        assert refused["code"] == "image"
        assert "not fetched here" not in refused["detail"]
