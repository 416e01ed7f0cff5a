"""The start of the command line, and `openblip caption`, mostly in this process with a tiny random model."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_line import start, with_model
from openblip import cli
from openblip.pipeline import Blip
from openblip.types import GenerateOptions
from photos import png

# The start


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["caption", "--help"], ["eval", "retrieval", "--help"]]
)
def test_version_and_help_answer_in_half_a_second(arguments: list[str]) -> None:
    """The best of three, since other work may run beside the tests."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        seconds.append(time.perf_counter() - begin)
        assert done.returncode == 0
        assert done.stdout
        assert not done.stderr
    assert min(seconds) < 0.5


def test_the_start_imports_nothing_heavy() -> None:
    code = "import sys; from openblip import cli; cli.run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "PIL", "torch", "openvino", "tokenizers", "rich", "httpx", "urllib.request"}
    assert not heavy & set(done.stderr.split())


# caption


def test_captions_are_those_of_the_library(openblip: Any, album: Path, blip: Blip) -> None:
    photos = sorted(str(path) for path in album.glob("*.jpg"))
    expected = blip.caption(photos)
    assert len({caption.text for caption in expected}) > 1
    lines = [f"{photo}: {caption.text}" for photo, caption in zip(photos, expected, strict=True)]
    assert openblip("caption", *photos) == (0, lines, [])
    assert openblip("caption", str(album)) == (0, lines, [])
    assert openblip("caption", str(album / "*.jpg"), photos[0]) == (0, lines, [])


def test_json_lines(openblip: Any, album: Path) -> None:
    code, lines, errors = openblip("caption --json --num-captions 2", "photo0.jpg", "photo1.jpg")
    assert (code, errors) == (0, [])
    records = [json.loads(line) for line in lines]
    assert [record["source"] for record in records] == ["photo0.jpg", "photo1.jpg"]
    for record in records:
        first, second = record["captions"]
        assert first["text"] != second["text"]
        assert first["model"] == "tiny"
        assert 0 < first["probability"] <= 1
        assert len(first["tokens"]) == len(first["token_probabilities"])
        assert sum(np.log(first["token_probabilities"])) == pytest.approx(first["log_probability"], abs=1e-4)


def test_generation_options_reach_the_model(openblip: Any, album: Path) -> None:
    (prompted,) = openblip("caption --prompt", "a dog in the", "photo0.jpg")[1]
    assert prompted.startswith("photo0.jpg: a dog in the")
    short = json.loads(openblip("caption --json --max-length 6", "photo0.jpg")[1][0])
    assert len(short["captions"][0]["tokens"]) <= 5
    several = openblip("caption --num-captions 4", "photo0.jpg")[1]
    assert len(set(several)) == 4  # more than the default three beams
    draws = [tuple(openblip(f"caption --sample --num-captions 3 --seed {seed}", ".")[1]) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    wide, narrow = (openblip(f"caption --sample --top-p {top_p}", ".")[1] for top_p in ("1.0", "0.0001"))
    assert wide != narrow
    assert narrow == openblip("caption --num-beams 1", ".")[1]  # a nucleus of one word is greedy search


@pytest.mark.parametrize(
    ("flags", "options", "without"),
    [
        (
            "--num-captions 4 --num-beam-groups 2 --diversity-penalty 20",
            GenerateOptions(num_return=4, num_beams=4, num_beam_groups=2, diversity_penalty=20.0),
            "--num-captions 4 --num-beam-groups 2",
        ),
        (
            "--num-captions 2 --num-beams 2 --num-beam-groups 2",
            GenerateOptions(num_return=2, num_beams=2, num_beam_groups=2),
            "--num-captions 2 --num-beams 2",
        ),
        ("--length-penalty -9", GenerateOptions(length_penalty=-9.0), None),  # tiny's texts are of one length
        ("--repetition-penalty 5", GenerateOptions(repetition_penalty=5.0), ""),
        ("--sample --temperature 4", GenerateOptions(sample=True, num_beams=1, temperature=4.0), "--sample"),
    ],
)
def test_search_options_mean_what_they_mean_in_python(
    flags: str,
    options: GenerateOptions,
    without: str | None,
    openblip: Any,
    album: Path,
    blip: Blip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And each changes what is said."""
    photos = [f"photo{index}.jpg" for index in range(6)]
    expected = [caption.text for row in blip.captions(photos, options=options) for caption in row]
    asked, caption_each = [], Blip.caption_each

    def spy(self: Blip, sources: Any, prompt: Any, options: GenerateOptions) -> Any:
        asked.append(options)
        return caption_each(self, sources, prompt, options)

    monkeypatch.setattr(Blip, "caption_each", spy)
    lines = openblip("caption", *flags.split(), ".")[1]
    assert asked == [options]
    assert [line.partition(": ")[2] for line in lines] == expected
    if without is not None:
        assert lines != openblip("caption", *without.split(), ".")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("caption", "PHOTO..., or in a file with --prompts"),
        ("caption photo0.jpg --num-beams 0", "num_beams=0 is out of range"),
        ("caption photo0.jpg --num-beams 2 --num-captions 3", "num_return=3 needs"),
        ("caption photo0.jpg --sample --num-beams 2", "num_beams=1"),
        ("caption photo0.jpg --min-length 30", "min_length=30"),
        ("caption photo0.jpg --top-p many", "'many' is not a valid float"),
        ("caption photo0.jpg --precision f8", "'f8' is not one of"),
        ("caption photo0.jpg --max-length 400", "max_length=400"),
        ("match photo0.jpg", "TEXT"),
        ("caption photo0.jpg --num-beams 4 --num-beam-groups 3", "num_beam_groups=3 does not divide num_beams=4"),
        ("caption photo0.jpg --num-beam-groups 0", "num_beam_groups=0 is out of range"),
        ("caption photo0.jpg --diversity-penalty=-1", "diversity_penalty=-1.0 is out of range"),
        ("caption photo0.jpg --temperature 0", "temperature=0.0 is out of range"),
        ("caption photo0.jpg --repetition-penalty 0", "repetition_penalty=0.0 is out of range"),
        ("caption photo0.jpg --length-penalty 11", "length_penalty=11.0 is out of range"),
        ("caption photo0.jpg --stream --num-beams 2", "num_beams=2 cannot be streamed"),
        ("caption photo0.jpg --stream --num-captions 2", "--stream shows one caption"),
        ("caption photo0.jpg --stream --sidecar", "leave out --sidecar"),
        ("caption photo0.jpg photo1.jpg --stream", "one photo, and there are more"),
        ("caption - --stream", "one photo, and there are none"),
        ("caption photo0.jpg --prompts photo0.jpg", "not in both ways"),
        ("caption --prompts missing.tsv", "No such file"),
        ("embed", "give PHOTO or --text"),
        ("translate photo0.jpg", "No such command 'translate'"),
        ("verify", "Choose from: base, large"),
        ("analyze photo0.jpg", "nothing is asked"),
        ("analyze photo0.jpg --embed --num-beams 4", "give --caption too"),
        ("analyze photo0.jpg --embed --prompt a", "give --caption too"),
        ("analyze photo0.jpg --embed --answer a", "give --question too"),
        ("answer photo0.jpg q --num-beams 0", "num_beams=0 is out of range"),
        ("answer photo0.jpg q --answers .", "Is a directory"),
        ("answer photo0.jpg q --answers photo0.jpg", "write one answer a line"),
        ("eval caption", "--data"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    arguments: str,
    says: str,
    album: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLIP_MODEL", model)
    monkeypatch.setattr(sys, "stdin", StringIO())
    code, captured = cli.run(arguments.split()), capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("openblip: error: ")
    assert says in line


def test_an_unknown_model_is_one_line(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["caption", "photo0.jpg", "--model", "no-such-model"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("openblip: error: ")
    assert "no-such-model" in line


def many_samples_tiff() -> bytes:
    """A TIFF header of 4 x 4 pixels with 2,048 channels, at which Pillow writes to its log."""
    tags = ((256, 4), (257, 4), (277, 2048))  # width, height, samples a pixel; type 3 is a short
    return struct.pack("<4sIH", b"II*\0", 8, len(tags)) + b"".join(struct.pack("<HHII", t, 3, 1, v) for t, v in tags)


def test_bad_photos_are_reported_and_the_rest_is_captioned(album: Path, model: str) -> None:
    whole = (album / "photo0.jpg").read_bytes()
    (album / "empty").mkdir()
    for name, data in {
        "bad0-zero.jpg": b"",
        "bad1-cut.jpg": whole[: len(whole) // 2],
        "bad2-text.jpg": b"not a picture at all\n" * 20,
        "bad3-bomb.png": png(30_000, 30_000, rows=bytes(1_000_000)),
        "bad4-tiff.tif": many_samples_tiff(),
        "good-1x1.png": png(1, 1, rows=b"\0\xff\0\0"),
    }.items():
        (album / name).write_bytes(data)
    arguments = ["caption", *with_model(model), "missing.jpg", ".", "empty", "http://127.0.0.1:9/a.jpg", "photo?.png"]
    done = start(arguments, cwd=album, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1
    captioned = [line.split(": ")[0] for line in done.stdout.splitlines()]
    assert captioned == ["good-1x1.png", *(f"photo{index}.jpg" for index in range(6))]
    errors = done.stderr.splitlines()
    assert all(line.startswith("openblip: error: ") for line in errors)
    for says in (
        "missing.jpg does not exist",
        "bad0-zero.jpg is empty",
        "bad1-cut.jpg looks like JPEG but cannot be decoded: it is damaged or cut short",
        "bad2-text.jpg is not a picture",
        "bad3-bomb.png is 30,000 x 30,000 pixels",
        "bad4-tiff.tif looks like TIFF",
        "empty holds no pictures",
        "http://127.0.0.1:9/a.jpg cannot be downloaded",
        "no file matches photo?.png",
    ):
        assert sum(line.startswith(f"openblip: error: {says}") for line in errors) == 1
    assert len(errors) == 9


def test_a_list_on_stdin(album: Path, model: str) -> None:
    arguments = ["caption", *with_model(model), "-"]
    listed = "photo3.jpg\n\nphoto?.jpg\nphoto0.jpg\nmissing.jpg\n"
    done = start(arguments, cwd=album, input=listed, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert [line.split(".")[0] for line in done.stdout.splitlines()] == [
        f"photo{index}" for index in (3, 0, 1, 2, 4, 5)
    ]
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_names_that_a_terminal_cannot_show(album: Path, model: str) -> None:
    (album / "photo0.jpg").rename(album / "caf\u00e9\u2603.jpg")
    Path(os.fsdecode(os.fsencode(album) + b"/\xff\xfe.jpg")).write_bytes((album / "photo1.jpg").read_bytes())
    settings = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for form, lines in (([], 7), (["--json"], 7)):
        arguments = ["caption", *with_model(model), *form, "."]
        done = start(arguments, settings, cwd=album, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == lines
        assert not done.stderr


def test_output_goes_to_a_file(openblip: Any, album: Path) -> None:
    expected = openblip("caption", ".")[1]
    code, lines, [summary] = openblip("caption --output captions.txt", ".")
    assert (code, lines) == (0, [])
    assert summary.startswith("openblip: 6 done, 0 failed, 0 skipped; ")
    assert (album / "captions.txt").read_text().splitlines() == expected
    code, _, errors = openblip("caption --output no/such/folder.txt", ".")
    assert code == 1
    assert len(errors) == 1


# --sidecar


def test_sidecars_are_written_skipped_and_replaced(openblip: Any, album: Path) -> None:
    texts = [line.partition(": ")[2] for line in openblip("caption", ".")[1]]
    code, out, [summary] = openblip("caption --sidecar", ".")
    assert (code, out) == (0, [])
    assert summary.startswith("openblip: 6 done, 0 failed, 0 skipped; ")
    sidecars = [album / f"photo{index}.txt" for index in range(6)]
    assert [path.read_text() for path in sidecars] == [f"{text}\n" for text in texts]
    sidecars[2].write_text("mine")
    sidecars[4].unlink()
    code, out, [summary] = openblip("caption --sidecar", ".")
    assert (code, out) == (0, [])
    assert summary.startswith("openblip: 1 done, 0 failed, 5 skipped (they have their file: --existing replace writes ")
    assert sidecars[2].read_text() == "mine"
    assert openblip("caption --sidecar --overwrite --num-captions 2 --json", ".")[0] == 0
    assert len(sidecars[2].read_text().splitlines()) == 2
    assert not [path.name for path in album.iterdir() if path.suffix not in (".jpg", ".txt")]


def test_sidecars_that_cannot_be(openblip: Any, album: Path) -> None:
    Image.new("RGB", (5, 5)).save(album / "photo0.png")
    (album / "list.txt").write_bytes((album / "photo1.jpg").read_bytes())
    code, _, errors = openblip(
        "caption --sidecar", "photo0.jpg", "photo0.png", "list.txt", "http://127.0.0.1:9/a.jpg", "photo1.jpg"
    )
    assert code == 1
    assert "photo0.png would share photo0.txt" in errors[0]
    assert "list.txt would share" in errors[1]
    assert "leave out --sidecar" in errors[2]
    assert [error[:40] for error in errors[3:]] == ["openblip: 2 done, 3 failed, 0 skipped; 0"]
    assert (album / "list.txt").read_bytes() == (album / "photo1.jpg").read_bytes()


def test_a_sidecar_is_whole_or_absent(openblip: Any, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up at the second photo."""
    real = Path.write_text

    def write(path: Path, text: str, **options: Any) -> int:
        real(path, text[:3], **options)
        if "photo1" in path.name:
            raise OSError(28, "No space left on device")
        return real(path, text, **options)

    monkeypatch.setattr(Path, "write_text", write)
    code, _, errors = openblip("caption --sidecar", ".")
    assert code == 1
    assert errors[0] == "openblip: error: photo1.txt cannot be written: No space left on device"
    assert sorted(path.name for path in album.glob(".*")) == []
    assert sorted(path.name for path in album.glob("*.txt")) == [f"photo{index}.txt" for index in (0, 2, 3, 4, 5)]
