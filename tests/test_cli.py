"""The command line, mostly in this process with a tiny random model; in one of its own where a terminal, a pipe, a
signal or the clock matters."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip import cli
from openblip.checkpoint import save_checkpoint
from openblip.config import TASKS
from openblip.errors import ImageError
from openblip.pipeline import Blip
from test_image import png
from tiny import random_tensors, tiny_config, write_vocabulary

COMMAND = [sys.executable, "-m", "openblip"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random checkpoint."""
    folder = tmp_path_factory.mktemp("model")
    config = replace(tiny_config("vit"), tasks=TASKS)
    save_checkpoint(folder / "tiny", config, random_tensors(config), write_vocabulary(folder))
    return str(folder / "tiny")


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: six photos that differ."""
    monkeypatch.chdir(tmp_path)
    for index in range(6):
        coarse = np.random.default_rng(index).integers(0, 256, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((60, 40), Image.Resampling.NEAREST).save(tmp_path / f"photo{index}.jpg")
    return tmp_path


@pytest.fixture(scope="module")
def blip(model: str) -> Blip:
    """That model, loaded once."""
    return Blip.load(model, precision="f32", threads=1)


@pytest.fixture
def openblip(model: str, blip: Blip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process: (exit code, lines of stdout, lines of stderr)."""

    def load(name: str, *, engine: str, precision: str, threads: int) -> Blip:
        assert (name, engine, precision, threads) == (model, "openvino", "f32", 1)
        return blip

    def call(command: str, *arguments: str) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(Blip, "load", load)
        code = cli.run([*command.split(), *arguments, *with_model(model)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return call


def start(
    arguments: Sequence[str], settings: dict[str, str] | None = None, **streams: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], text=True, check=False, timeout=120, env={**os.environ, **(settings or {})}, **streams
    )


def with_model(model: str) -> list[str]:
    return ["--model", model, "--precision", "f32", "--threads", "1"]


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
    ("arguments", "says"),
    [
        ("caption", "PHOTO"),
        ("caption photo0.jpg --num-beams 0", "num_beams=0 is out of range"),
        ("caption photo0.jpg --num-beams 2 --num-captions 3", "num_return=3 needs"),
        ("caption photo0.jpg --sample --num-beams 2", "num_beams=1"),
        ("caption photo0.jpg --min-length 30", "min_length=30"),
        ("caption photo0.jpg --top-p many", "'many' is not a valid float"),
        ("caption photo0.jpg --precision f8", "'f8' is not one of"),
        ("caption photo0.jpg --max-length 400", "max_length=400"),
        ("match photo0.jpg", "TEXT"),
        ("embed photo0.jpg", "No such command 'embed'"),
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
    assert openblip("caption --output captions.txt", ".") == (0, [], [])
    assert (album / "captions.txt").read_text().splitlines() == expected
    code, _, errors = openblip("caption --output no/such/folder.txt", ".")
    assert code == 1
    assert len(errors) == 1


# --sidecar


def test_sidecars_are_written_skipped_and_replaced(openblip: Any, album: Path) -> None:
    texts = [line.partition(": ")[2] for line in openblip("caption", ".")[1]]
    assert openblip("caption --sidecar", ".") == (0, [], ["openblip: 6 caption files written"])
    sidecars = [album / f"photo{index}.txt" for index in range(6)]
    assert [path.read_text() for path in sidecars] == [f"{text}\n" for text in texts]
    sidecars[2].write_text("mine")
    sidecars[4].unlink()
    code, out, errors = openblip("caption --sidecar", ".")
    assert (code, out) == (0, [])
    assert errors == ["openblip: 1 caption files written, 5 photos skipped that have one (--overwrite replaces it)"]
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
    assert errors[3:] == ["openblip: 2 caption files written"]
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


# Terminals, pipes and signals


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
    assert capsys.readouterr().err.splitlines() == [cli.ABOUT_MINI]
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


# The other commands


def test_match(openblip: Any, album: Path, blip: Blip) -> None:
    texts = ["a dog on the grass", "a train", "two birds at sea"]
    expected = blip.match("photo0.jpg", texts)
    best_first = sorted(expected, key=lambda match: -match.probability)
    code, lines, errors = openblip("match", "photo0.jpg", *texts)
    assert (code, errors) == (0, [])
    assert [line.split(" ", 2)[2] for line in lines] == [match.text for match in best_first]
    assert [float(line.split(" ")[0]) for line in lines] == pytest.approx([m.probability for m in best_first], abs=1e-4)
    record = json.loads(openblip("match --json", "photo0.jpg", *texts)[1][0])
    assert record["source"] == "photo0.jpg"
    assert [match["text"] for match in record["matches"]] == [match.text for match in best_first]
    code, lines, errors = openblip("match", "missing.jpg", "a dog")
    assert (code, lines, len(errors)) == (1, [], 1)


def test_answer(openblip: Any, album: Path, blip: Blip) -> None:
    questions = ["is the dog young", "a red hat"]
    expected = blip.answer("photo0.jpg", questions)
    code, lines, errors = openblip("answer", "photo0.jpg", *questions)
    assert (code, errors) == (0, [])
    assert lines == [f"{answer.probability:.4f} {answer.question} {answer.text}" for answer in expected]
    record = json.loads(openblip("answer --json --answer dog --answer cat", "photo0.jpg", questions[0])[1][0])
    [answer] = record["answers"]
    assert {answer["text"], answer["others"][0][0]} == {"dog", "cat"}
    code, lines, errors = openblip("answer", "missing.jpg", "a dog")
    assert (code, lines, len(errors)) == (1, [], 1)


def shard(path: Path, photos: list[Path]) -> Path:
    with tarfile.open(path, "w") as archive:
        for index, photo in enumerate(photos):
            record = json.dumps({"captions": [f"a dog {index}", "two dogs"]}).encode()
            for name, data in ((f"{index:04d}.jpg", photo.read_bytes()), (f"{index:04d}.json", record)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, BytesIO(data))
    return path


def test_evaluations(openblip: Any, album: Path) -> None:
    shard(album / "dev-0.tar", sorted(album.glob("*.jpg"))[:3])
    shard(album / "dev-1.tar", sorted(album.glob("*.jpg"))[3:])
    code, lines, errors = openblip("eval caption --json --data", "dev-*.tar")
    assert (code, errors) == (0, [])
    result = json.loads("\n".join(lines))
    assert result["images"] == 6
    assert result["cider"] >= 0
    code, lines, errors = openblip("eval retrieval --json --rerank 2 --data dev-0.tar --data dev-1.tar --limit 4")
    assert (code, errors) == (0, [])
    assert json.loads("\n".join(lines))["itc"]["images"] == 4
    assert "CIDEr" in "\n".join(openblip("eval caption --num-beams 1 --data", str(album))[1])
    assert "R@1" in "\n".join(openblip("eval retrieval --rerank 0 --data", str(album))[1])
    code, lines, errors = openblip("eval caption --data nowhere-*.tar")
    assert (code, lines, len(errors)) == (1, [], 1)


def test_pretrain_is_handed_its_config(
    album: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = pytest.importorskip("openblip.train.loop")
    calls: list[tuple[Path, bool]] = []
    monkeypatch.setattr(loop, "run_pretrain", lambda config, *, resume: calls.append((config, resume)))
    assert cli.run(["train", "pretrain", "--config", "mini.toml"]) == 0
    assert cli.run(["train", "pretrain", "--config", "mini.toml", "--resume"]) == 0
    assert calls == [(Path("mini.toml"), False), (Path("mini.toml"), True)]
    assert cli.run(["train", "pretrain"]) == 2


def test_pretrain_without_torch_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "openblip.train.loop", raising=False)
    assert cli.run(["train", "pretrain", "--config", "mini.toml"]) == 1
    assert "pip install openblip[train]" in capsys.readouterr().err


def test_errors_of_photos_are_of_the_tree(album: Path) -> None:
    """What the list reports is what the library raises."""
    from openblip.bulk.photo_list import PhotoList

    errors: list[Exception] = []
    photos = PhotoList(["nothing-*.jpg", "photo0.jpg"], None, sidecar=False, overwrite=False, report=errors.append)
    assert list(photos) == [Path("photo0.jpg")]
    assert [type(error) for error in errors] == [ImageError]
    assert (photos.total, photos.done, photos.failed) == (2, 1, 1)
