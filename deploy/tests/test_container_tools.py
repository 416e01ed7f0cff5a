"""The scripts that run in the image's builder, and its health check."""

from __future__ import annotations

import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.container.requirements import main as print_requirements
from deploy.container.requirements import requirements
from deploy.container.trim import RULES, Rule, trim

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_requirements_are_those_of_the_base_and_the_extras() -> None:
    extras = PROJECT["optional-dependencies"]
    assert requirements(PROJECT, []) == PROJECT["dependencies"]
    assert requirements(PROJECT, ["serve"]) == [*PROJECT["dependencies"], *extras["serve"]]
    nested = requirements(PROJECT, ["bulk", "serve"])
    assert {"pyarrow>=20.0", "ray[data]>=2.50"} <= set(nested)
    assert not [line for line in nested if line.startswith("openblip")]
    assert len(nested) == len(set(nested))


def test_the_image_needs_no_torch() -> None:
    assert not [
        line for line in requirements(PROJECT, ["serve", "search"]) if line.startswith(("torch", "transformers"))
    ]


def test_an_extra_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match=r"EXTRAS=serve,more: there is no extra 'more'; take some of bench, bulk"):
        print_requirements(str(CHECKOUT / "pyproject.toml"), "serve,more")


def test_trim_takes_what_the_rules_name(tmp_path: Path) -> None:
    kept, gone = tmp_path / "a" / "kept.so", tmp_path / "a" / "libs" / "gone.so.2641"
    gone.parent.mkdir(parents=True)
    kept.write_bytes(b"12345")
    gone.write_bytes(b"123")
    (tmp_path / "a" / "tests").mkdir()
    (tmp_path / "a" / "tests" / "test_a.pyi").write_bytes(b"1234567")
    rules = (Rule("libraries", ("a/libs/gone.so*",)), Rule("tests", ("**/tests",)), Rule("stubs", ("**/*.pyi",)))
    assert trim(tmp_path, rules) == {"libraries": 3, "tests": 7, "stubs": 0}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.so"]


def test_every_rule_still_finds_something() -> None:
    """In the environment of the tests, which has all that the image's has: a rule that finds nothing is out of date."""
    [site_packages] = Path(sys.prefix).glob("lib/python3.*/site-packages")
    idle = [
        pattern
        for rule in RULES
        for pattern in rule.patterns
        if not pattern.startswith(("**", "numpy/**")) and not any(site_packages.glob(pattern))
    ]
    assert idle == []


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that gives every request this status; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def healthy(port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", str(CHECKOUT / "deploy" / "container" / "healthy.py")]
    return subprocess.run(
        command, env={"OPENBLIP_PORT": str(port)}, capture_output=True, text=True, check=False, timeout=20
    )


def test_healthy_is_who_is_ready() -> None:
    with answering(200) as port:
        assert healthy(port).returncode == 0
    with answering(503) as other:
        found = healthy(other)
    assert (found.returncode, found.stderr) == (1, "/readyz answers 503: starting, or draining\n")
    gone = healthy(port)
    assert gone.returncode == 1
    assert gone.stderr.startswith(f"port {port} does not answer: ")
