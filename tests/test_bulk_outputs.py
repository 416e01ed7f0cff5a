"""What an output may not replace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from openblip.bulk.items import Item
from openblip.bulk.outputs import check_output, spared
from openblip.errors import OptionError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "t.csv", "t.jsonl", "t.jsonl.errors.jsonl", "s.tar.gz"):
        Path(name).write_text(name)
    Path("link.csv").symlink_to("t.csv")
    os.link("a.jpg", "hard.txt")
    return tmp_path


@pytest.mark.parametrize("output", ["a.jpg", "s.tar.gz"])
def test_pictures_and_shards_are_never_replaced(output: str) -> None:
    with pytest.raises(OptionError, match="is a picture or a shard by its name: give another --output"):
        check_output(Path(output), [])


@pytest.mark.parametrize(
    ("output", "read"),
    [("t.csv", "t.csv"), ("t.csv", "link.csv"), ("link.csv", "*.csv"), ("t.jsonl", "./t.jsonl.errors.jsonl")],
)
def test_what_is_read_is_not_replaced(output: str, read: str, folder: Path) -> None:
    with pytest.raises(OptionError, match=f"{output} or its errors would replace .*: give another --output"):
        check_output(Path(output), ["b.jpg", read])
    with Path(read.replace("*", "t")).open() as file, pytest.raises(OptionError, match="what stdin comes from"):
        check_output(folder / output, [file.fileno()])


def test_a_picture_is_not_replaced() -> None:
    found = spared(
        [Item("t.csv", Path("t.csv")), Item("bytes", b"..."), Item("a.jpg", Path("a.jpg"))], Path("hard.txt")
    )
    assert [next(found).source for _ in range(2)] == ["t.csv", "bytes"]
    with pytest.raises(OptionError, match=r"hard\.txt or its errors would replace a\.jpg"):
        next(found)


def test_others_are() -> None:
    read: list[Any] = ["a.jpg", "t.csv", "n" * 300, "http://h/a.jpg", 0, "[", ""]
    check_output(Path("t.jsonl"), read)
    check_output(Path("new.jpg"), [*read, "new.jpg"])
    assert len(list(spared([Item("a.jpg", Path("a.jpg"))], Path("t.jsonl")))) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["caption", "a.jpg", "-o", "hard.txt"],
        ["caption", ".", "-o", "hard.txt"],
        ["caption", "b.jpg", "-o", "a.jpg"],
        ["caption", "t.csv", "-o", "t.csv"],
        ["caption", "--prompts", "t.jsonl", "-o", "t.jsonl"],
        ["caption", "a.jpg", "--stream", "-o", "hard.txt"],
        ["tag", "a.jpg", "--labels", "t.jsonl", "-o", "t.jsonl"],
        ["moderate", "a.jpg", "--policy", "t.csv", "-o", "t.csv"],
        ["embed", "t.csv", "-o", "link.csv"],
    ],
)
def test_commands_refuse_before_a_model_is_loaded(arguments: list[str], folder: Path, capsys: Any) -> None:
    from openblip import cli

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert cli.run([*arguments, "--model", "no-such-model"]) == 2
    assert "give another --output" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
