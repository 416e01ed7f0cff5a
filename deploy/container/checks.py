"""Asks a service for all that it does, as its users would, and says what came back. Knows HTTP, nothing of containers.

Runs beside the container, in its network: `python -m deploy.container.checks http://127.0.0.1:8000 PHOTO`. Prints a
line a check; ends with 1 where one failed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from openblip import Client, GenerateOptions

LIMIT_S = 120.0
_SCRIPT = re.compile(r'src="(/_next/static/[^"]+\.js)"')


def wait_ready(url: str, limit_s: float = LIMIT_S) -> float:
    """When /readyz first said 200, on the monotonic clock. Raises TimeoutError."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return time.monotonic()
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"{url}/readyz did not answer 200 within {limit_s} s")


def curl(url: str, *arguments: str) -> str:
    """What curl prints; fails as it does."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", *arguments, url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def page(url: str) -> str:
    """The page at the root, under its policy, with a script that it names."""
    head = curl(f"{url}/", "--head", "--request", "GET")
    assert "content-security-policy: default-src 'none'" in head.lower(), head
    text = curl(f"{url}/")
    assert "<title>openblip</title>" in text, text[:300]
    scripts = _SCRIPT.findall(text)
    assert scripts, "the page names no script"
    return f"{len(text)} characters, and of {len(scripts)} scripts the first has {len(curl(url + scripts[0]))}"


def caption_by_curl(url: str, photo: Path) -> str:
    """POST /v1/caption with a form."""
    [result] = json.loads(curl(f"{url}/v1/caption", "--form", f"images=@{photo}"))["results"]
    text: str = result["captions"][0]["text"]
    assert len(text.split()) >= 3, text
    return text


def every_task(url: str, photo: Path) -> str:
    """All calls of openblip.Client that need no library; the second caption comes from the cache."""
    with Client(url) as client:
        first, again = client.caption(photo), client.caption(photo)
        assert again.cached, "the second caption was not cached"
        assert first[0].text == again[0].text
        three = client.captions(photo, options=GenerateOptions(num_beams=5, num_return=3))
        assert len({caption.text for caption in three[0]}) == 3, three
        [answer] = client.answer(photo, "what is in the picture")
        [match] = client.match(photo, "a person")
        assert 0 <= match.probability <= 1
        vectors = client.embed(photo)
        [[grounded]] = client.ground(photo, "a person")
        [analysis] = client.analyze(photo, caption=True, questions="what colour is it", embed=True)
        assert analysis.captions[0].text == first[0].text
        with client.caption_stream(photo) as stream:
            pieces = "".join(piece.text for piece in stream)
        assert stream.caption.text == pieces.strip(), pieces
        found = [answer.text, f"{match.probability:.2f}", str(len(vectors[0].vector)), str(grounded.peak)]
    return f"answer, ITM probability, ITC width, peak: {'; '.join(found)}"


def refusal(url: str) -> str:
    """A file that is no picture is a problem with one line of detail, and no traceback."""
    request = urllib.request.Request(f"{url}/v1/caption", b'{"images": ["bm8="]}', {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    problem = json.loads(content)
    assert status == 422, problem
    assert "Traceback" not in problem["detail"], problem
    return f"422, {problem['code']}"


def figures(url: str) -> str:
    """/metrics counted what was asked before."""
    text = curl(f"{url}/metrics")
    assert re.search(r'^openblip_requests_total\{route="/v1/caption",status="200"\} [1-9]', text, re.MULTILINE), text
    assert re.search(r'^openblip_cache_total\{event="hit"\} [1-9]', text, re.MULTILINE), text
    return f"{len(text.splitlines())} lines"


def main(url: str, photo: str) -> int:
    """Do all of them."""
    path = Path(photo)
    checks: dict[str, Callable[[], str]] = {
        "the page": lambda: page(url),
        "a caption by curl": lambda: caption_by_curl(url, path),
        "every task by openblip.Client": lambda: every_task(url, path),
        "a refusal": lambda: refusal(url),
        "metrics": lambda: figures(url),
    }
    failed = 0
    for name, check in checks.items():
        try:
            sys.stdout.write(f"ok      {name}: {check()}\n")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the check found
            failed += 1
            sys.stdout.write(f"failed  {name}: {type(error).__name__}: {error}\n")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
