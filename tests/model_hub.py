"""A model hub on loopback: the part of the Hugging Face hub that a download asks for. Knows no test.

Files of a repository by name; what stands in LFS on the real hub (weights) is answered with its SHA-256, the rest with
git's SHA-1. What was asked is kept, and faults can be switched on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

LFS = (".safetensors", ".bin")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """repositories: owner/name -> the folder that holds its files. address: for HF_ENDPOINT.

    gated: repositories that answer so. break_after: bytes of weights after which a connection is cut, as often as
    `breaks` says (-1: always); with `holding` it stays open and silent instead. corrupt: files that arrive with a byte
    changed. ranges: whether Range is heeded. storage: another address that requests for weights are sent on to, as the
    real hub does; `storage_tokens` are those that were sent there.
    """

    repositories: dict[str, Path]
    address: str = ""
    gated: set[str] = field(default_factory=set)
    corrupt: set[str] = field(default_factory=set)
    break_after: int | None = None
    breaks: int = -1
    holding: Event | None = None
    ranges: bool = True
    storage: str | None = None
    storage_tokens: list[str | None] = field(default_factory=list)
    status: int | None = None
    etags: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def gets(self, file: str) -> list[str | None]:
        """The Range of each GET of a file."""
        return [given for method, name, given in self.requests if method == "GET" and name == file]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, *, with_body: bool) -> None:
        hub = self.hub
        if self.path.startswith("/storage/"):
            hub.storage_tokens.append(self.headers.get("Authorization"))
            _, _, owner, repository, name = self.path.split("/")
            hub.requests.append((self.command, name, self.headers.get("Range")))
            return self._send(name, (hub.repositories[f"{owner}/{repository}"] / name).read_bytes(), with_body)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if match is None:
            return self._refuse(404, "")  # errands of the library's own
        repository, revision, name = match.groups()
        hub.requests.append((self.command, name, self.headers.get("Range")))
        hub.tokens.append(self.headers.get("Authorization"))
        if hub.status is not None:
            return self._refuse(hub.status, "")
        if repository not in hub.repositories:
            return self._refuse(401, "RepoNotFound")
        if repository in hub.gated:
            return self._refuse(403, "GatedRepo")
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        path = hub.repositories[repository] / name
        if not path.is_file():
            return self._refuse(404, "EntryNotFound")
        if hub.storage and name.endswith(LFS):
            return self._send_on(f"{hub.storage}/storage/{repository}/{name}", path.read_bytes())
        return self._send(name, path.read_bytes(), with_body)

    def _send_on(self, address: str, content: bytes) -> None:
        self.send_response(302)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, name: str, content: bytes, with_body: bool) -> None:
        hub = self.hub
        in_lfs = name.endswith(LFS)
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        etag = hub.etags.get(name) or (hashlib.sha256(content).hexdigest() if in_lfs else git)
        if name in hub.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if hub.ranges else None
        start = int(given[1]) if given else 0
        self.send_response(206 if given else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag" if in_lfs else "ETag", f'"{etag}"')
        if in_lfs:
            self.send_header("X-Linked-Size", str(len(content)))
        if given:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body:
            return
        if hub.break_after is not None and in_lfs and hub.breaks:
            hub.breaks -= 1
            body = body[: hub.break_after]
        self.wfile.write(body)
        hub.sent[name] = hub.sent.get(name, 0) + len(body)
        if len(body) < len(content) - start and hub.holding:
            self.wfile.flush()
            hub.holding.wait(60)


@contextmanager
def running(repositories: dict[str, Path]) -> Iterator[Hub]:
    """The hub, while the block runs."""
    hub = Hub(repositories)
    with serving(hub) as hub.address:
        yield hub


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """One more address of a hub, such as its storage."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
