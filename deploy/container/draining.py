"""Sends requests from several clients, then SIGTERM in the midst of them, and says what became of each. Knows HTTP and
a process id, nothing of containers.

Runs beside the container, in its network: `python -m deploy.container.draining URL PID`. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

from PIL import Image

CLIENTS, ANSWERED_FIRST, LIMIT_S = 8, 30, 60.0


def picture(number: int) -> bytes:
    """A JPEG that no other number has."""
    noise = random.Random(number).randbytes(24 * 18 * 3)
    file = BytesIO()
    Image.frombytes("RGB", (24, 18), noise).resize((240, 180)).save(file, "JPEG")
    return file.getvalue()


def ask(url: str, body: bytes) -> int:
    """The status of a caption; 0 where the connection was refused or broke."""
    boundary = "a-boundary-that-is-in-no-picture"
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="images"; filename="a"\r\n\r\n'.encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{url}/v1/caption", head + body + f"\r\n--{boundary}--\r\n".encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)
    except (OSError, HTTPException):
        return 0


def drain(url: str, pid: int) -> dict[str, object]:
    """before, after: how many requests that began before or after SIGTERM came to which status; 0 for no answer.
    end_s: from SIGTERM to the end of the process."""
    replies: list[tuple[float, int]] = []
    numbers, stop = iter(range(10**9)), threading.Event()

    def client() -> None:
        while not stop.is_set():
            body, began = picture(next(numbers)), time.monotonic()
            replies.append((began, ask(url, body)))

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client) for _ in range(CLIENTS)]
        _wait(lambda: len(replies) >= ANSWERED_FIRST, "thirty answers")
        told = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: not _runs(pid), "the end of the process")
        ended = time.monotonic()
        stop.set()
    for each in running:
        each.result()
    before = Counter(status for began, status in replies if began < told)
    after = Counter(status for began, status in replies if began >= told)
    return {"before": dict(before), "after": dict(after), "end_s": round(ended - told, 2)}


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"waited {LIMIT_S:g} s for {what}")
        time.sleep(0.005)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(drain(sys.argv[1], int(sys.argv[2]))) + "\n")
