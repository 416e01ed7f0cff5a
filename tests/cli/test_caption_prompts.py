"""`openblip caption --prompts`: photos with prompts of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from command_line import COMMAND, start, with_model
from openblip.bulk.prompts import find_prompted
from openblip.errors import InputError
from openblip.pipeline import Blip


def texts(lines: list[str]) -> list[str]:
    return [line.partition(": ")[2] for line in lines]


@pytest.mark.parametrize("form", ["tabs", "json"])
def test_each_photo_is_captioned_after_its_own_prompt(form: str, openblip: Any, album: Path, blip: Blip) -> None:
    asked = [("photo0.jpg", "a dog"), ("photo1.jpg", "the man on a"), ("photo0.jpg", "two"), ("photo2.jpg", "")]
    line = "{}\t{}".format if form == "tabs" else lambda *pair: json.dumps(dict(zip(("source", "prompt"), pair)))  # noqa: B905
    (album / "list").write_text("".join(f"{line(*pair)}\n\n" for pair in asked), encoding="utf-8-sig")
    expected = blip.caption([photo for photo, _ in asked], [prompt for _, prompt in asked])
    code, lines, errors = openblip("caption --prompts list")
    assert (code, errors) == (0, [])
    assert lines == [f"{photo}: {caption.text}" for (photo, _), caption in zip(asked, expected, strict=True)]
    records = [json.loads(each) for each in openblip("caption --prompts list --json")[1]]
    assert [(record["source"], record["prompt"]) for record in records] == asked
    assert [record["captions"][0]["text"] for record in records] == [caption.text for caption in expected]


def test_a_line_without_a_prompt_takes_that_of_all(openblip: Any, album: Path) -> None:
    (album / "list").write_text('photo0.jpg\nphoto1.jpg\t\n{"source": "photo?.jpg"}\nphoto2.jpg\ta bus\n')
    code, lines, errors = openblip("caption --prompts list --prompt", "the sky")
    assert (code, errors) == (0, [])
    assert [line.split(".")[0] for line in lines] == [f"photo{index}" for index in (0, 1, 1, 2, 3, 4, 5, 2)]
    starts = [text.startswith("the sky") for text in texts(lines)]
    assert starts == [True, False, True, True, True, True, True, False]
    assert texts(lines)[-1].startswith("a bus")


def test_what_cannot_be_used_is_reported_and_the_rest_is_captioned(openblip: Any, album: Path) -> None:
    bad = [
        "missing.jpg\ta dog",
        '{"source": "photo0.jpg", "prompt": 3}',
        '{"photo": "photo0.jpg"}',
        '{"source": "photo0.jpg',
        "photo1.jpg\t" + "a dog " * 40,
    ]
    (album / "list").write_text("\n".join(["photo0.jpg\ta dog", *bad, "photo5.jpg\ttwo"]))
    code, lines, errors = openblip("caption --prompts list")
    assert code == 1
    assert [line.split(".")[0] for line in lines] == ["photo0", "photo5"]
    assert texts(lines)[1].startswith("two")
    assert sorted(error.removeprefix("openblip: error: ").split(":")[0] for error in errors) == [
        "line 3 of list is no pair of texts",
        "line 4 of list is no pair of texts",
        "line 5 of list is no JSON (Unterminated string starting at",
        "missing.jpg does not exist",
        "photo1.jpg",
    ]
    assert sum("a prompt of 81 tokens leaves no room within max_length=20" in error for error in errors) == 1


def test_a_prompt_that_does_not_suit_any_photo_stops_at_once(openblip: Any, album: Path) -> None:
    code, lines, errors = openblip("caption --prompt", "a dog " * 40, ".")
    assert (code, lines, len(errors)) == (2, [], 1)


def test_sidecars_of_a_list(openblip: Any, album: Path) -> None:
    (album / "list").write_text("photo0.jpg\ta dog\nphoto1.jpg\ttwo\nphoto0.jpg\tthe man\n")
    code, lines, errors = openblip("caption --prompts list --sidecar")
    assert (code, lines) == (1, [])
    assert "photo0.jpg would share photo0.txt with another file" in errors[0]
    assert (album / "photo0.txt").read_text().startswith("a dog")
    assert (album / "photo1.txt").read_text().startswith("two")


def test_a_list_on_stdin_is_answered_while_it_is_written(album: Path, model: str) -> None:
    """Captions come once a few batches are read: the list need not end, and is not kept."""
    command = [*COMMAND, "caption", *with_model(model), "--num-beams", "64", "--prompts", "-"]  # two photos a batch
    with subprocess.Popen(command, cwd=album, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for index in range(6):
            process.stdin.write(f"photo{index}.jpg\ta dog\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("photo0.jpg: a dog")
        process.stdin.write("photo0.jpg\ttwo\n")
        process.stdin.close()
        assert process.stdout.read().splitlines()[-1].startswith("photo0.jpg: two")
        assert process.wait(60) == 0


def test_names_that_are_not_unicode(album: Path, model: str) -> None:
    name = b"\xff\xfe.jpg"
    (album / "photo0.jpg").rename(album / name.decode(errors="surrogateescape"))
    for arguments, listed in ((["-"], name), (["--prompts", "-"], name + b"\ta dog")):
        done = subprocess.run(
            [*COMMAND, "caption", *with_model(model), *arguments],
            cwd=album, input=listed + b"\n", capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"'\\udcff\\udcfe.jpg': ")
    done = start(["caption", *with_model(model), "photo1.jpg", "--prompt", "a \udcff"], cwd=album, capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith("openblip: error: a text must be Unicode")


def test_pairs_of_lines() -> None:
    lines = [
        "a.jpg\tone\ttwo\r\n",
        " \n",
        '{"source": "b.jpg", "prompt": ""}',
        "a.jpg\tone\ttwo",
        "./{c}.jpg",
        "a.jpg\tx",
    ]
    found = [(str(photo), prompt) for photo, prompt in find_prompted(lines, "list", "default")]
    assert found == [("a.jpg", "one\ttwo"), ("b.jpg", ""), ("{c}.jpg", "default"), ("a.jpg", "x")]
    ((error, _),) = find_prompted(["{" + '"a": {' * 100_000], "list")
    assert isinstance(error, InputError)
