"""`openblip caption`, `ask`, `match` and `embed` over folders, shards and tables, with a tiny random model: every
source, every form, broken files and a run that is killed."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from bulk_photos import photo_bytes, write_photos
from command_line import COMMAND, start, with_model
from openblip.pipeline import Blip
from shard_files import write_shard

QUESTIONS = ["is the dog young", "a red hat"]
SLOW_SEARCH = ["--num-beams", "20"]  # six photos a call: many chunks


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def command(model: str, *arguments: str) -> list[str]:
    return [*COMMAND, *arguments, *with_model(model)]


def read_anywhere(path: Path, folder: Path) -> bytes:
    """A file's bytes, without where the folder lies."""
    return path.read_bytes().replace(str(folder).encode(), b"FOLDER")


# Broken files, and runs that are killed


def test_broken_photos_end_nothing(openblip: Any, tmp_path: Path, blip: Blip) -> None:
    bad = write_photos(tmp_path / "album", 66, 6)
    code, lines, errors = openblip("caption", str(tmp_path / "album"), "--output", str(tmp_path / "c.jsonl"))
    assert (code, lines, len(errors)) == (1, [], 7)
    assert errors[-1].startswith("openblip: 60 done, 6 failed, 0 skipped; ")
    assert "pictures a second" in errors[-1]
    found, failed = records(tmp_path / "c.jsonl"), records(tmp_path / "c.jsonl.errors.jsonl")
    assert [Path(each["source"]).name for each in found] == sorted({f"{n:05d}.jpg" for n in range(66)} - set(bad))
    assert [Path(each["source"]).name for each in failed] == bad
    for each, name, line in zip(failed, bad, errors, strict=False):
        assert name in each["error"]
        assert line == f"openblip: error: {each['error']}"
    assert len({each["error"].replace(name, "") for each, name in zip(failed, bad, strict=True)}) >= 5
    expected = blip.caption([each["source"] for each in found])
    assert [each["captions"][0]["text"] for each in found] == [caption.text for caption in expected]


def test_what_failed_is_tried_again_from_any_folder(
    openblip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [name, _] = bad = write_photos(Path("album"), 4, 2)
    assert openblip("caption album --output c.jsonl")[0] == 1
    Path("album", name).write_bytes(photo_bytes(0))
    Path("elsewhere").mkdir()
    failed = Path("c.jsonl.errors.jsonl").rename("elsewhere/failed.jsonl")
    code, lines, errors = openblip("caption", str(failed), "--key-column", "source")
    assert (code, len(lines), len(errors)) == (1, 1, 1)
    assert lines[0].startswith(f"album/{name}: ")
    assert bad[1] in errors[0]


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, model: str) -> None:
    """SIGKILL, again and again; the output, its errors and the caption files."""
    for folder in ("whole", "killed"):
        write_photos(tmp_path / folder / "album", 80, 6)
    asked = ["caption", "album", "--sidecar", "--output", "c.jsonl", "--trigger", "ohwx", *SLOW_SEARCH]
    done = subprocess.run(command(model, *asked), cwd=tmp_path / "whole", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("openblip: 74 done, 6 failed, 0 skipped; ")
    journal = tmp_path / "killed" / "c.jsonl.part"
    for _ in range(2):
        before = journal.stat().st_size if journal.exists() else 1
        process = subprocess.Popen(command(model, *asked), cwd=tmp_path / "killed", stderr=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or journal.stat().st_size <= before + 2000):
            time.sleep(0.001)
        assert process.poll() is None, "it was to be killed in the middle"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    last = subprocess.run(command(model, *asked), cwd=tmp_path / "killed", capture_output=True, text=True, check=False)
    assert last.returncode == 1
    assert re.match(r"openblip: 74 done, 6 failed, 0 skipped, [1-9]\d* of them before; ", last.stderr.splitlines()[-1])
    assert sorted(last.stderr.splitlines()[:-1]) == sorted(done.stderr.splitlines()[:-1])
    ended = [
        {
            path.relative_to(tmp_path / folder): read_anywhere(path, tmp_path / folder)
            for path in (tmp_path / folder).rglob("*")
            if path.is_file()
        }
        for folder in ("whole", "killed")
    ]
    assert ended[0] == ended[1]
    assert len(ended[0]) == 80 + 74 + 2
    assert all(content.startswith(b"ohwx, ") for path, content in ended[0].items() if path.suffix == ".txt")


def test_a_run_with_other_options_is_refused(openblip: Any, album: Path) -> None:
    for content in (b'{"format": 1, "settings": {"command": "caption"}}\n', b"not ours at all"):
        (album / "c.csv.part").write_bytes(content)
        code, lines, [error] = openblip("caption . --output c.csv")
        assert (code, lines) == (1, [])
        assert "c.csv.part" in error
        assert "--output" in error
    (album / "c.csv.part").write_bytes(b'{"format": 1, "settings": {"command": "caption"}}\n')
    assert openblip("caption . --restart --output c.csv")[0] == 0
    assert len((album / "c.csv").read_text().splitlines()) == 7


# Forms


def test_captions_in_every_form(openblip: Any, album: Path, blip: Blip) -> None:
    expected = [caption for row in blip.captions([f"photo{n}.jpg" for n in range(6)]) for caption in row]
    for name in ("c.jsonl", "c.csv", "c.tsv", "c.parquet"):
        assert openblip("caption . --output", name)[0] == 0
    rows = list(csv.DictReader((album / "c.csv").open(newline="", encoding="utf-8")))
    assert [(row["source"], row["caption"], row["model"]) for row in rows] == [
        (f"photo{n}.jpg", caption.text, "tiny") for n, caption in enumerate(expected)
    ]
    assert [float(row["probability"]) for row in rows] == pytest.approx([each.probability for each in expected])
    table = pyarrow.parquet.read_table(album / "c.parquet").to_pylist()
    assert [(row["source"], row["caption"]) for row in table] == [(row["source"], row["caption"]) for row in rows]
    assert [each["captions"][0]["text"] for each in records(album / "c.jsonl")] == [row["caption"] for row in rows]
    assert (album / "c.tsv").read_text().splitlines()[0] == "source\tcaption\tprobability\tlog_probability\tmodel"


def test_a_picture_of_a_table_is_not_replaced(openblip: Any, album: Path) -> None:
    """It is met while others are at work."""
    (album / "photos.csv").write_text("image\n" + "".join(f"photo{n}.jpg\n" for n in range(6)))
    (album / "link.txt").symlink_to("photo5.jpg")
    before = (album / "photo5.jpg").read_bytes()
    code, lines, [error] = openblip("caption photos.csv --output link.txt")
    assert (code, lines) == (2, [])
    assert "link.txt or its errors would replace photo5.jpg: give another --output" in error
    assert (album / "link.txt").read_bytes() == (album / "photo5.jpg").read_bytes() == before


def test_a_device_is_written_to_and_not_replaced(album: Path, model: str) -> None:
    done = start(
        ["caption", "photo0.jpg", "--output", "/dev/stdout", *with_model(model)], cwd=album, capture_output=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("photo0.jpg: ")
    assert [path.name for path in album.iterdir() if path.suffix != ".jpg"] == []


# Sources


@pytest.fixture
def sources(album: Path) -> Path:
    """Tables and shards of the album's photos; each knows what is asked of each."""
    with (album / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["file", "asks", "id"], *([f"photo{n}.jpg", f"a {n}", f"id-{n}"] for n in range(4))]
        )
    rows = [
        {"image": {"bytes": (album / f"photo{n}.jpg").read_bytes(), "path": None}, "asks": ["a dog", f"two {n}"]}
        for n in range(4)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), album / "photos.parquet")
    lines = [json.dumps({"path": f"photo{n}.jpg", "asks": QUESTIONS[: 1 + n % 2]}) for n in range(4)]
    (album / "photos.jsonl").write_text(
        "\n".join([*lines, "{broken", '{"path": "missing.jpg", "asks": "a"}', '{"path": 3, "asks": "a"}', "{}"])
    )
    samples = [(f"{n:04d}", (album / f"photo{n}.jpg").read_bytes(), {"asks": f"the {n}"}) for n in range(4)]
    write_shard(album / "web-0000.tar", [*samples[:2], ("bad", b"no photo", {"asks": "a"})])
    write_shard(album / "web-0001.tar", samples[2:])
    return album


def test_every_source_gives_the_same_captions(openblip: Any, sources: Path, blip: Blip) -> None:
    expected = [caption.text for caption in blip.caption([f"photo{n}.jpg" for n in range(4)])]

    def said(*arguments: str) -> tuple[list[str], list[str], list[str]]:
        _, lines, errors = openblip("caption --json", *arguments)
        found = [json.loads(line) for line in lines]
        return [each["source"] for each in found], [each["captions"][0]["text"] for each in found], errors

    assert said("photos.csv") == ([f"photo{n}.jpg" for n in range(4)], expected, [])
    assert said("photos.csv", "--key-column", "id") == ([f"id-{n}" for n in range(4)], expected, [])
    assert said("photos.parquet") == ([f"photos.parquet, row {n}" for n in range(1, 5)], expected, [])
    names = [f"web-000{shard}.tar/{n:04d}.jpg" for shard, n in ((0, 0), (0, 1), (1, 2), (1, 3))]
    for shards in (["web-{0000..0001}.tar"], ["web-*.tar"], ["web-0000.tar", "web-0001.tar"]):
        found, texts, errors = said(*shards)
        assert (found, texts) == (names, expected)
        assert [error[:50] for error in errors] == ["openblip: error: web-0000.tar/bad.jpg: the picture"]
    found, texts, errors = said("photos.jsonl")
    assert (found, texts) == ([f"photo{n}.jpg" for n in range(4)], expected)
    assert ["line 5 is not JSON" in errors[0], "missing.jpg" in errors[1], "is no path" in errors[2]] == [True] * 3
    assert "name it with --image-column" in errors[3]
    (sources / "elsewhere").mkdir()
    (sources / "photos.csv").rename(sources / "elsewhere" / "photos.csv")
    assert said("elsewhere/photos.csv", "--images", ".")[1] == expected


def test_a_shard_that_breaks_off(openblip: Any, sources: Path) -> None:
    whole = (sources / "web-0000.tar").read_bytes()
    second = whole.index(b"\xff\xd8\xff", whole.index(b"\xff\xd8\xff") + 1)
    (sources / "cut.tar").write_bytes(whole[: second + 100])
    code, _, errors = openblip("caption cut.tar missing.tar photo0.jpg")
    assert code == 1
    assert any("cut.tar breaks off" in error for error in errors)
    assert any("missing.tar" in error for error in errors)


@pytest.mark.parametrize("source", ["photos.csv", "photos.parquet", "photos.jsonl", "web-*.tar"])
def test_each_picture_is_asked_its_own(source: str, openblip: Any, sources: Path) -> None:
    _, lines, _ = openblip("ask --json --question", QUESTIONS[0], "--question-column", "asks", source)
    asked = [[answer["question"] for answer in json.loads(line)["answers"]] for line in lines]
    own = {
        "photos.csv": [[f"a {n}"] for n in range(4)],
        "photos.parquet": [["a dog", f"two {n}"] for n in range(4)],
        "photos.jsonl": [QUESTIONS[: 1 + n % 2] for n in range(4)],
        "web-*.tar": [[f"the {n}"] for n in range(4)],
    }[source]
    assert asked == [[QUESTIONS[0], *each] for each in own]


def test_prompts_and_texts_of_a_table(openblip: Any, sources: Path, blip: Blip) -> None:
    _, lines, _ = openblip("caption --json --prompt-column asks photos.csv")
    assert [json.loads(line)["prompt"] for line in lines] == [f"a {n}" for n in range(4)]
    _, lines, _ = openblip("match --text-column asks photos.parquet")
    assert [line.rsplit(": ", 1)[0] for line in lines] == [f"photos.parquet, row {n}" for n in (1, 1, 2, 2, 3, 3, 4, 4)]
    expected = sorted(blip.match("photo0.jpg", ["a dog", "two 0"]), key=lambda each: -each.probability)
    assert [line.rsplit(" ", 2)[1:] for line in lines[:2]] == [each.text.split() for each in expected]


def test_questions_and_texts_for_all(openblip: Any, album: Path, blip: Blip) -> None:
    photos = [f"photo{n}.jpg" for n in range(6)]
    code, lines, errors = openblip("ask . --answer two --answer dog", *[f"--question={each}" for each in QUESTIONS])
    expected = [answer for photo in photos for answer in blip.answer(photo, QUESTIONS, answers=["two", "dog"])]
    assert (code, errors) == (0, [])
    assert [line.split(" ", 2)[2] for line in lines] == [f"{each.question} {each.text}" for each in expected]
    code, _, errors = openblip("match . --output m.csv", "--text", "a dog", "--text", "two birds")
    assert code == 0, errors
    rows = list(csv.DictReader((album / "m.csv").open(newline="")))
    assert [(row["source"], row["text"]) for row in rows] == [(p, t) for p in photos for t in ("a dog", "two birds")]
    [first, *_] = blip.match("photo0.jpg", "a dog")
    assert float(rows[0]["similarity"]) == pytest.approx(first.similarity, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("ask photo0.jpg", "there is no question: give --question"),
        ("ask photo0.jpg --question-column q", "--question-column is for tables and shards"),
        ("caption photo0.jpg --trigger x", "go with --sidecar"),
        ("caption photo0.jpg --existing skip", "go with --sidecar or --xmp"),
        ("caption . --sidecar --overwrite --existing skip", "--overwrite is --existing replace"),
        ("caption . --output c.npz", ".npz is for embeddings"),
        ("match photo0.jpg dog --output m.csv", "--output is for many photos"),
    ],
)
def test_wrong_usage(arguments: str, says: str, openblip: Any, album: Path) -> None:
    code, lines, [error] = openblip(arguments)
    assert (code, lines) == (2, [])
    assert says in error


def test_parquet_without_its_package(openblip: Any, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openblip.bulk.formats as formats

    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    code, lines, [error] = openblip("caption . --output c.parquet")
    assert (code, lines) == (1, [])
    assert "pip install openblip[parquet]" in error


@pytest.mark.slow
def test_a_thousand_photos_of_which_thirty_are_broken(tmp_path: Path, model: str) -> None:
    for folder in ("whole", "killed"):
        bad = write_photos(tmp_path / folder / "album", 1000, 30, lambda place: photo_bytes(place % 50))
    asked = ["caption", "album", "--output", "c.jsonl"]
    done = subprocess.run(command(model, *asked), cwd=tmp_path / "whole", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(records(tmp_path / "whole" / "c.jsonl")) == 970
    assert [Path(each["source"]).name for each in records(tmp_path / "whole" / "c.jsonl.errors.jsonl")] == bad
    assert len(done.stderr.splitlines()) == 31
    journal = tmp_path / "killed" / "c.jsonl.part"
    process = subprocess.Popen(command(model, *asked), cwd=tmp_path / "killed", stderr=subprocess.DEVNULL)
    while process.poll() is None and (not journal.exists() or journal.stat().st_size < 100_000):
        time.sleep(0.001)
    assert process.poll() is None, "it was to be killed in the middle"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command(model, *asked), cwd=tmp_path / "killed", capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "970 done, 30 failed" in again.stderr
    for name in ("c.jsonl", "c.jsonl.errors.jsonl"):
        killed, whole = (read_anywhere(tmp_path / folder / name, tmp_path / folder) for folder in ("killed", "whole"))
        assert killed == whole
