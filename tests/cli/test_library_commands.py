"""`openblip index`, `search` and `duplicates` on a real album."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from noisy import tiny_checkpoint
from openblip.pipeline import Blip


@pytest.fixture
def indexed(openblip: Any, album: Path) -> Path:
    code, lines, errors = openblip("index . --db photos.lance")
    assert (code, errors) == (0, [])
    assert lines[0].startswith("6 photos in the library: 6 added, 6 encoded; ")
    return album


def test_an_album_is_found_again(openblip: Any, indexed: Path, blip: Blip) -> None:
    code, lines, errors = openblip("search --db photos.lance --image photo4.jpg --limit 2")
    assert (code, errors, len(lines)) == (0, [], 2)
    assert lines[0] == f"       +1.0000 {indexed / 'photo4.jpg'}"
    code, [line], _ = openblip("search --db photos.lance --limit 3 --rerank 6 --json", "a dog")
    found = json.loads(line)
    assert (code, found["reranked"], len(found["hits"])) == (0, 6, 3)
    best = found["hits"][0]
    [match] = blip.match(best["path"], "a dog")
    assert best["probability"] == pytest.approx(match.probability, abs=1e-5)
    assert (best["width"], best["height"], best["model"]) == (60, 40, "tiny")
    like = json.loads(openblip(f"search --db photos.lance --like {best['id']} --json")[1][0])
    assert best["id"] not in [hit["id"] for hit in like["hits"]]
    assert len(like["hits"]) == 5


def test_a_second_run_says_so(openblip: Any, indexed: Path) -> None:
    (indexed / "photo0.jpg").unlink()
    (indexed / "text.jpg").write_text("no picture")
    code, lines, errors = openblip("index . --db photos.lance")
    assert code == 1
    assert lines[0].startswith("5 photos in the library: 5 unchanged, 1 dropped, 1 failed; ")
    assert len(errors) == 1
    assert errors[0].startswith("openblip: error: ")
    assert "text.jpg is not a picture that openblip can read" in errors[0]
    report = json.loads(openblip("index . --db photos.lance --json")[1][0])
    assert (report["unchanged"], report["encoded"], report["failed"]) == (5, 0, 1)


def test_stdin_names_photos(openblip: Any, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (album / "names").write_text("photo1.jpg\nphoto2.jpg\n")
    with (album / "names").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert openblip("index - --db photos.lance")[1][0].startswith("2 photos in the library: 2 added")


def test_filters_and_the_contact_sheet(openblip: Any, indexed: Path) -> None:
    code, lines, errors = openblip(
        "search --db photos.lance --html sheet.html dog --where", 'path ~ "photo3" or path ~ "photo5"'
    )
    assert (code, errors) == (0, [])
    assert {Path(line.split()[-1]).name for line in lines} == {"photo3.jpg", "photo5.jpg"}
    page = (indexed / "sheet.html").read_text()
    assert page.count("<img ") == page.count("data:image/jpeg;base64,") == 2
    assert openblip("search dog --db photos.lance --where", "size > big")[0] == 2


def test_duplicates_are_told(openblip: Any, indexed: Path, blip: Blip, capsys: Any) -> None:
    from openblip import cli

    shutil.copy("photo2.jpg", "another.jpg")
    assert openblip("index . --db photos.lance")[1][0].startswith("7 photos in the library: 1 added, 6 unchanged; ")
    capsys.readouterr()
    assert cli.run(["duplicates", "--db", "photos.lance", "--threshold", "1", "--html", "groups.html"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"same bytes, keep {indexed / 'another.jpg'} (60 x 40)",
        f"  {indexed / 'photo2.jpg'} (60 x 40)",
    ]
    assert printed.err == "openblip: 1 groups, 1 photos beside those to keep\n"
    assert 'class="keep"' in (indexed / "groups.html").read_text()
    cli.run(["duplicates", "--db", "photos.lance", "--threshold", "1", "--json"])
    group = json.loads(capsys.readouterr().out)
    assert (Path(group["keep"]["path"]).name, group["identical"], len(group["others"])) == ("another.jpg", True, 1)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("search dog --db nowhere", 1, "there is no library at nowhere: make one with openblip index"),
        ("search --db photos.lance", 2, "there is nothing to look for: give WORDS, --image or --like"),
        ("search dog --db photos.lance --limit 0", 2, "limit=0 is out of range"),
        ("search dog --db photos.lance --weight 3", 2, "weight=3.0 is out of range"),
        ("search --image nothing.jpg --db photos.lance", 1, "nothing.jpg does not exist"),
        ("index nothing --db photos.lance", 1, "nothing does not exist: check the path"),
        ("index . --db photos.lance --batch-size 0", 2, "batch_size=0 is out of range"),
    ],
)
def test_what_is_wrong_is_one_line(openblip: Any, indexed: Path, command: str, code: int, message: str) -> None:
    found, _, errors = openblip(command)
    assert found == code
    assert len(errors) == 1
    assert message in errors[0]


def test_another_model_is_refused(openblip: Any, indexed: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from openblip import cli

    other = tiny_checkpoint(indexed / "models", seed=3)
    monkeypatch.undo()
    for command in (["index", str(indexed)], ["search", "dog"]):
        arguments = [*command, "--db", str(indexed / "photos.lance"), "--model", other, "--precision", "f32"]
        assert cli.run(arguments) == 1
        assert "was indexed with tiny (weights " in capsys.readouterr().err
