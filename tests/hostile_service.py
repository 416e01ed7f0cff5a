"""The real service in a process of its own, and requests to it that no client library would send. Knows no test."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_S = 20.0
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """What came back. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem details, checked to be some."""
        assert self.headers["content-type"] == PROBLEM, self
        found = json.loads(self.body)
        assert found.keys() >= {"type", "title", "status", "detail", "code"}
        assert found["status"] == self.status
        return dict(found)


class RunningService:
    """`openblip serve` on a free port; what it says is in `folder`/stderr."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self._errors = folder / "stderr"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLIP_")}
        environment |= {f"OPENBLIP_{name.upper()}": str(value) for name, value in settings.items()}
        environment["OPENBLIP_CACHE"] = os.environ.get("OPENBLIP_CACHE", str(folder / "compiled"))
        environment["OPENBLIP_CACHE_FOLDER"] = str(folder / "results")
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "openblip", "serve", "--port", "0"], env=environment, cwd=folder, stderr=errors
            )
        self.port = 0

    def wait(self) -> None:
        """Until it is ready."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError, AssertionError):
                self.port = self.port or self._listens_at()
                if self.get("/readyz").status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the service does not start: {self.stderr()}")

    def _listens_at(self) -> int:
        for line in self.stderr().splitlines():
            if '"address"' in line:
                return int(json.loads(line)["address"].rpartition(":")[2])
        raise AssertionError("no address yet")

    def stderr(self) -> str:
        return self._errors.read_text(errors="replace")

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """The most that it ever held."""
        [line] = [line for line in self._status() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def _status(self) -> list[str]:
        return Path(f"/proc/{self.process.pid}/status").read_text().splitlines()

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def in_hand(self) -> int:
        """The requests that it works on, by its own figures."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith("openblip_requests_in_hand "):
                return int(float(line.split()[1]))
        raise AssertionError("no such figure")

    def wait_until_idle(self) -> None:
        """Until no request is in hand; for what a client that went away leaves behind."""
        deadline = time.monotonic() + 5
        while (left := self.in_hand()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"{left} requests are held by nobody"

    def check_health(self) -> None:
        """It lives, holds nothing and has met nothing that nobody foresaw."""
        assert self.process.poll() is None, self.stderr()
        self.wait_until_idle()
        assert "Traceback" not in self.stderr(), self.stderr()[-4000:]

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, task: str, body: object) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", f"/v1/{task}", content, {"content-type": "application/json"})

    def upload(self, task: str, *parts: tuple[str, bytes], **headers: str) -> Answer:
        """A form. parts: the header lines and the content of each."""
        return self.request("POST", f"/v1/{task}", form(*parts), {"content-type": FORM, **headers})

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            connection.request(method, path, body, headers or {})
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_S) as connection:
            yield connection

    def raw(self, *pieces: bytes) -> list[Answer]:
        """What is answered to these bytes, until the service closes; nothing where it closes without a word."""
        with self.connected() as connection:
            send(connection, *pieces)
            return answers(connection)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def running_service(folder: Path, **settings: object) -> Iterator[RunningService]:
    """settings: OPENBLIP_ variables by their names in small letters."""
    service = RunningService(folder, **settings)
    try:
        service.wait()
        yield service
    finally:
        service.stop()


BOUNDARY = "4a0e3c2f-a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body. parts: the header lines and the content of each."""
    head = f"--{BOUNDARY}\r\n".encode()
    pieces = [head + lines.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body + b"\r\n" for lines, body in parts]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


def picture_part(data: bytes, file_name: str = "photo.jpg", kind: str = "image/jpeg") -> tuple[str, bytes]:
    lines = f'content-disposition: form-data; name="images"; filename="{file_name}"\r\ncontent-type: {kind}'
    return lines, data


def send(connection: socket.socket, *pieces: bytes) -> None:
    """All of it, or as much as the service takes."""
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            connection.sendall(piece)


class _Shared(io.BufferedReader):
    """What several answers are read from, one after the other; each would close it."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection.makefile("rb", buffering=0))

    def makefile(self, mode: str) -> _Shared:
        return self

    def close(self) -> None:
        """Not yet."""


def answers(connection: socket.socket, limit: int = 10_000) -> list[Answer]:
    """All that are sent until the service closes, or so many."""
    found: list[Answer] = []
    shared: Any = _Shared(connection)
    while len(found) < limit:
        response = http.client.HTTPResponse(shared)
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            found.append(Answer(response.status, headers, response.read()))
        except (http.client.HTTPException, ConnectionResetError):
            break
    return found
