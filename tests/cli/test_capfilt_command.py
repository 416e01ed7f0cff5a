"""The command capfilt in this process: options, lines, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from noisy import sample, write_noisy, write_tar
from openblip import cli


@pytest.fixture
def command(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs it on three small shards: (exit code, lines of stderr)."""
    web = write_noisy(tmp_path / "web", shards=3, pictures=3)

    def call(*arguments: str, shards: Path = web, captioner: str = model) -> tuple[int, list[str]]:
        given = ["capfilt", str(shards), "--out", str(tmp_path / "out"), "--precision", "f32", "--workers", "1"]
        code = cli.run([*given, "--captioner", captioner, *arguments])
        return code, capsys.readouterr().err.splitlines()

    return call


def test_it_says_what_it_did(command: Any, tmp_path: Path) -> None:
    code, said = command("--keep-fraction", "0.5")
    assert code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["pictures"]["all"] == 9
    assert report["decision"] == {"itm": None, "itc": None, "keep_fraction": 0.5, "by": "itm", "shown_pairs": 24}
    assert "1 worker of one thread, each with up to" in said[0]
    assert any("9 pictures:" in line for line in said)
    assert any("web texts:" in line for line in said)
    assert any("threshold: ITM at least" in line for line in said)
    assert (tmp_path / "out" / "report.html").exists()


def test_none_leaves_one_half_out(command: Any, model: str, tmp_path: Path) -> None:
    assert command("--filter", model, "--itc", "-1", captioner="none")[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["models"]["captioner"] is None
    assert report["texts"]["synthetic"]["all"] == 0
    assert report["thresholds"] == {"itm": None, "itc": -1.0}


def test_a_broken_off_shard_is_told_and_fails_the_command(command: Any, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "cut" / "0.tar", [*sample("1", 1, ["a dog"]), *sample("2", 2, ["a cat"])])
    path.write_bytes(path.read_bytes()[:-11000])
    code, said = command(shards=path.parent)
    assert code == 1
    assert any("0 breaks off" in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--itm", "2"), 2, "itm=2.0 is out of range"),
        (("--itm", "0.5", "--keep-fraction", "0.5"), 2, "leave out itm and itc"),
        (("--filter", "none", "--itm", "0.7"), 2, "needs a filter"),
        (("--top-p", "7"), 2, "top_p=7.0 is out of range"),
        (("--workers", "0"), 2, "workers=0 is out of range"),
        (("--by", "clip"), 2, "'clip' is not one of"),
    ],
)
def test_wrong_usage_is_one_line(command: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    got, said = command(*arguments)
    assert got == code
    assert len(said) == 1
    assert message in said[0]


def test_no_shards_and_other_settings(command: Any, tmp_path: Path) -> None:
    code, said = command(shards=tmp_path / "nothing")
    assert (code, len(said)) == (1, 1)
    assert "no shards at" in said[0]
    assert command()[0] == 0
    code, said = command("--seed", "3")
    assert (code, len(said)) == (1, 1)
    assert "captions.seed was 0, is 3" in said[0]
    assert "--out" in said[0]
