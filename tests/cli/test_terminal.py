"""The command in a process of its own, where a terminal, a pipe or a signal matters."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from command_line import COMMAND, with_model
from openblip import cli
from openblip.cli.options import ABOUT_MINI
from openblip.pipeline import Blip


def on_terminal(arguments: list[str], album: Path, stdout: int | None = None) -> tuple[int, str, str]:
    """Run with stderr (and stdout, unless given) on a terminal: exit code, what that showed, what a pipe got."""
    master, slave = pty.openpty()
    streams = {"stdout": slave if stdout is None else stdout, "stderr": slave, "stdin": slave}
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen([*COMMAND, *arguments], cwd=album, env=settings, text=True, **streams) as process:  # type: ignore[call-overload]
        os.close(slave)
        shown, deadline = b"", time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    shown += os.read(master, 65536)
                except OSError:  # the other side is closed
                    break
        piped = process.stdout.read() if process.stdout else ""
        process.wait(60)
    os.close(master)
    return process.returncode, shown.decode(), piped


def test_a_bar_for_many_photos_on_a_terminal(album: Path, model: str) -> None:
    for index in range(24):
        (album / f"more{index:02d}.jpg").write_bytes((album / f"photo{index % 6}.jpg").read_bytes())
    code, shown, _ = on_terminal(["caption", *with_model(model), "."], album)
    assert code == 0
    assert "30/30" in shown
    assert all(f"more{index:02d}.jpg: " in shown for index in range(24))
    code, shown, piped = on_terminal(["caption", *with_model(model), "."], album, subprocess.PIPE)
    assert code == 0
    assert "30/30" in shown
    assert "more00.jpg" not in shown
    assert len(piped.splitlines()) == 30
    assert "\x1b" not in piped
    code, shown, _ = on_terminal(["caption", *with_model(model), "photo0.jpg", "photo1.jpg"], album)
    assert "2/2" not in shown
    assert "\x1b" not in shown


def test_the_default_model_introduces_itself_on_a_terminal(
    album: Path, blip: Blip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Blip, "load", lambda name, **options: blip)
    assert cli.run(["caption", "photo0.jpg"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert cli.run(["caption", "photo0.jpg"]) == 0
    assert capsys.readouterr().err.splitlines() == [ABOUT_MINI]
    assert cli.run(["caption", "photo0.jpg", "--model", "other"]) == 0
    monkeypatch.setenv("OPENBLIP_MODEL", "other")
    assert cli.run(["caption", "photo0.jpg"]) == 0
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_is_no_error(album: Path, model: str) -> None:
    command = [*COMMAND, "caption", *with_model(model), *["-"]]
    with subprocess.Popen(
        command, cwd=album, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write("photo0.jpg\n")
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait(60) != 0


def test_ctrl_c_is_one_line(album: Path, model: str) -> None:
    command = [*COMMAND, "caption", *with_model(model), "-"]
    with subprocess.Popen(
        command, cwd=album, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write("\n" * 200_000)  # more than a pipe holds: it returns once the command reads its photos
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().split("\n")
        assert process.wait(60) == 130
    assert [line for line in errors if line] == ["openblip: error: interrupted"]


def test_ctrl_c_does_not_wait_for_a_slow_server(album: Path, model: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts and never answers
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        arguments = ["caption", *with_model(model), f"{address}/a.jpg", f"{address}/b.jpg"]
        with subprocess.Popen([*COMMAND, *arguments], cwd=album, stderr=subprocess.PIPE, text=True) as process:
            server.settimeout(60)
            connection, _ = server.accept()
            process.send_signal(signal.SIGINT)
            sent = time.perf_counter()
            assert process.stderr
            assert process.stderr.read().strip() == "openblip: error: interrupted"
            assert process.wait(60) == 130
            assert time.perf_counter() - sent < 5
            connection.close()


def test_the_unexpected_is_one_line_unless_debugging(
    album: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(Blip, "load", explode)
    assert cli.run(["caption", "photo0.jpg"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("openblip: error: unexpected RuntimeError: first second; please report it")
    monkeypatch.setenv("OPENBLIP_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cli.run(["caption", "photo0.jpg"])
