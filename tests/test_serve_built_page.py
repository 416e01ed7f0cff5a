"""The page at the root: files, headers and what is said where there is none. What the page does, web/browser tests."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from openblip import Blip
from openblip.serve import page
from openblip.serve.app import create_app
from openblip.serve.page import add_page, built_files, page_policy
from required import lacking
from serve_app import settings

SCRIPT = "_next/static/chunks/main-1a2b.js"
HASH = "sha256-LKwNsCpP04auFgcOlc4FLmxf+LTjm28Y2R7lI4UB/QQ="


def built(folder: Path) -> Path:
    """What the build leaves, in small."""
    files = {
        "index.html": b"<!doctype html><script>1</script>",
        "policy.json": json.dumps({"index.html": [HASH]}).encode(),
        SCRIPT: b"let a = 1;" * 200,
        "icon.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "samples/cat.webp": b"RIFF",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / f"{SCRIPT}.gz").write_bytes(gzip.compress(files[SCRIPT]))
    (folder / f"{SCRIPT}.br").write_bytes(b"as Brotli")
    (folder.parent / "secret.txt").write_text("a secret")
    return folder


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = Starlette()
    add_page(app, built(tmp_path / "page"))
    return TestClient(app, raise_server_exceptions=False)


def test_the_page_is_asked_for_anew_and_runs_only_its_own_scripts(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == f"'self' '{HASH}'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "microphone=()" in answer.headers["permissions-policy"]


def test_hashed_files_are_kept_for_good_and_others_are_not(client: TestClient) -> None:
    script = client.get(f"/{SCRIPT}", headers={"accept-encoding": "gzip"})
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/icon.svg").headers["cache-control"] == "no-cache"
    assert client.get("/icon.svg").headers["content-type"] == "image/svg+xml"
    assert client.get("/samples/cat.webp").headers["content-type"] == "image/webp"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "br"), ("gzip;q=1.0", "gzip"), ("br;q=0, gzip", "gzip"), ("", ""), ("identity", "")],
)
def test_the_best_encoding_that_the_browser_takes(client: TestClient, accepted: str, encoding: str) -> None:
    with client.stream("GET", f"/{SCRIPT}", headers={"accept-encoding": accepted}) as answer:
        assert answer.headers.get("content-encoding", "") == encoding
        assert answer.headers["vary"] == "Accept-Encoding"
        sent = b"".join(answer.iter_raw())
    plain = {"br": lambda body: b"let a = 1;" * 200, "gzip": gzip.decompress}.get(encoding, lambda body: body)
    assert plain(sent) == b"let a = 1;" * 200
    assert (sent == b"as Brotli") == (encoding == "br")


def test_what_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/", headers={"accept-encoding": ""})
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}'):
        again = client.get("/", headers={"if-none-match": given, "accept-encoding": ""})
        assert again.status_code == 304
        assert not again.content
        assert again.headers["etag"] == tag
    assert client.get("/", headers={"if-none-match": '"other"'}).status_code == 200
    head = client.head("/")
    assert head.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/policy.json",
        f"/{SCRIPT}.br",
        "/../secret.txt",
        "/samples/../../secret.txt",
        "/samples/%2e%2e/%2e%2e/secret.txt",
        "/samples/..%2f..%2fsecret.txt",
        "/samples/..\\..\\secret.txt",
        "/samples//cat.webp",
        "/samples/",
        "/samples/cat.webp%00",
        "//etc/passwd",
        "/index.html/../../secret.txt",
        "/_next/static/" + "a/" * 900,
    ],
)
def test_no_address_leads_anywhere_else(client: TestClient, path: str) -> None:
    answer = client.get(f"http://testserver{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_nothing_but_reading_is_offered(client: TestClient) -> None:
    for path in ("/", "/icon.svg"):
        assert client.post(path, content=b"a").status_code == 405


def test_a_link_out_of_the_folder_is_what_it_was_when_the_service_started(tmp_path: Path) -> None:
    folder = built(tmp_path / "page")
    app = Starlette()
    add_page(app, folder)
    (folder / "icon.svg").unlink()
    (folder / "icon.svg").symlink_to(tmp_path / "secret.txt")
    assert "secret" not in TestClient(app).get("/icon.svg").text


def test_without_a_built_page_the_root_says_how_to_build_it(tmp_path: Path) -> None:
    app = Starlette()
    add_page(app, tmp_path / "none")
    answer = TestClient(app).get("/")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "make page" in answer.text
    assert "/docs" in answer.text
    assert built_files(tmp_path / "none") == {}


def refuse(name: str) -> Blip:
    raise AssertionError("no model is needed")


@pytest.mark.parametrize("on", [True, False])
def test_the_service_has_the_page_unless_it_is_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on: bool
) -> None:
    monkeypatch.setattr("openblip.serve.app.BUILT", built(tmp_path / "page"))
    client = TestClient(create_app(settings(tmp_path, page=on), refuse))
    answer = client.get("/", follow_redirects=False)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if on:
        assert "script" in answer.text
        assert HASH in answer.headers["content-security-policy"]
        assert client.get("/v1/caption").status_code == 405
        assert client.get("/nothing").json()["code"] == "http"
    else:
        assert answer.headers["location"] == "docs"
        assert client.get("/icon.svg").status_code == 404


def test_the_built_page_is_whole_and_its_scripts_are_the_ones_that_the_policy_names() -> None:
    if not (page.BUILT / "policy.json").is_file():
        lacking("BROWSER", "the page is not built: make page")
    files: dict[str, Any] = built_files(page.BUILT)
    html = files["index.html"].bodies[""].decode()
    linked = re.findall(r'(?:src|href)="/([^"#]+)"', html)
    assert [each.partition("?")[0] for each in linked if each.partition("?")[0] not in files] == []
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", html, re.DOTALL)
    hashes = [f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}" for text in inline]
    assert hashes
    assert files["index.html"].headers["Content-Security-Policy"] == page_policy(hashes)
    assert set(files["index.html"].bodies) == {"br", "gzip", ""}
    samples = {each.stem for each in (page.BUILT / "samples").glob("*.webp")}
    assert samples == {"astronaut", "camera", "chelsea", "coffee"}
