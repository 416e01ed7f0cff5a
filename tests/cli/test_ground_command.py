"""`openblip ground`, in this process with a tiny random model, on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip import Blip, Grounding, GroundOptions
from openblip.regions import mask_of


def line_of(found: Grounding) -> str:
    boxes = [f"{box.left:.0f},{box.top:.0f},{box.right:.0f},{box.bottom:.0f}" for box in found.boxes]
    return f"{found.probability:.4f} {found.peak[0]:.0f},{found.peak[1]:.0f} {' '.join(boxes)} {found.phrase}"


def test_a_line_a_phrase_or_json(openblip: Any, album: Path, blip: Blip) -> None:
    phrases = ["the dog", "a red hat"]
    [expected] = blip.ground("photo0.jpg", phrases)
    assert openblip("ground photo0.jpg", *phrases) == (0, [line_of(found) for found in expected], [])
    code, [line], errors = openblip("ground --json photo0.jpg", *phrases)
    assert (code, errors) == (0, [])
    groundings = json.loads(json.dumps([found.to_dict() for found in expected]))
    assert json.loads(line) == {"source": "photo0.jpg", "groundings": groundings}


def test_without_a_phrase_those_of_its_caption(openblip: Any, album: Path, blip: Blip) -> None:
    [expected] = blip.ground("photo1.jpg")
    assert openblip("ground photo1.jpg")[1] == [line_of(found) for found in expected]


def test_options_are_heeded(openblip: Any, album: Path, blip: Blip) -> None:
    [[expected]] = blip.ground("photo0.jpg", "the dog", GroundOptions(windows=False, threshold=0.9))
    assert openblip("ground --no-windows --threshold 0.9 photo0.jpg", "the dog")[1] == [line_of(expected)]
    code, lines, [error] = openblip("ground --threshold 0 photo0.jpg", "the dog")
    assert (code, lines) == (2, [])
    assert "threshold=0.0 is out of range" in error


def test_overlay_mask_and_array_of_one_phrase(openblip: Any, album: Path, blip: Blip) -> None:
    [[expected]] = blip.ground("photo0.jpg", "the dog")
    code, _, errors = openblip("ground photo0.jpg --overlay new/o.png --mask m.PNG --array heat.npy", "the dog")
    assert (code, errors) == (0, [])
    with Image.open("new/o.png") as drawn, Image.open("photo0.jpg") as photo:
        assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", photo.size)
        assert np.abs(np.asarray(drawn, np.int64) - np.asarray(photo, np.int64)).max() > 50
    with Image.open("m.PNG") as mask:
        np.testing.assert_array_equal(np.asarray(mask), mask_of(expected))
    np.testing.assert_array_equal(np.load("heat.npy"), expected.heatmap[None])


def test_a_picture_a_phrase_in_a_folder(openblip: Any, album: Path) -> None:
    code, lines, errors = openblip("ground photo0.jpg --overlay out/deep --mask out", "the dog", "Ein Hündchen/..")
    assert (code, len(lines), errors) == (0, 2, [])
    names = ["1-the-dog.png", "2-ein-h-ndchen.png"]
    assert sorted(path.name for path in (album / "out/deep").iterdir()) == names
    assert sorted(path.name for path in (album / "out").glob("*.png")) == names


@pytest.mark.parametrize(
    ("arguments", "phrases", "code", "says"),
    [
        ("ground missing.jpg", ["a dog"], 1, "missing.jpg does not exist"),
        ("ground photo0.jpg", [" "], 1, "text 1 of 1 is empty"),
        ("ground photo0.jpg --overlay o.png", ["a dog", "a cat"], 2, "name a folder"),
        ("ground photo0.jpg --mask o.jpg", ["a dog"], 2, "name a folder"),
        ("ground photo0.jpg --array heat.txt", ["a dog"], 2, "name a file that ends in .npy"),
        (
            "ground photo0.jpg --array no/heat.npy",
            ["a dog"],
            2,
            "no/heat.npy cannot be written: No such file or directory: name another place",
        ),
        ("ground photo0.jpg --overlay photo1.jpg/x.png", ["a dog"], 2, "photo1.jpg/x.png cannot be written"),
        (
            "ground photo0.jpg --overlay out --mask out",
            ["dog"],
            2,
            "--mask would write over out/1-dog.png, which is that",
        ),
        ("ground photo0.jpg --overlay out --mask out/1-dog.png", ["dog"], 2, "which is that of --overlay"),
        ("ground photo0.jpg --overlay out --mask ./out", [], 2, "which is that of --overlay"),
        ("ground p.png --overlay ./p.png", ["dog"], 2, "--overlay would write over p.png, which is the photo"),
        ("ground 1-dog.png --mask .", ["cat", "dog"], 1, "1-dog.png does not exist"),
        ("analyze photo0.jpg --embed --phrase dog", [], 2, "give --ground too"),
    ],
)
def test_what_cannot_be_done_is_said(
    openblip: Any, album: Path, arguments: str, phrases: list[str], code: int, says: str
) -> None:
    found, _, errors = openblip(arguments, *phrases)
    assert found == code
    assert says in errors[-1]


def test_the_photo_and_what_is_there_stay_where_writing_goes_wrong(
    openblip: Any, album: Path, blip: Blip, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = blip.ground("photo0.jpg")[0][0].phrase
    named = album / f"1-{'-'.join(first.split())}.png"
    (album / "photo0.jpg").rename(named)
    before = named.read_bytes()
    code, _, errors = openblip(f"ground {named.name} --mask .")
    assert (code, named.read_bytes()) == (2, before)
    assert f"--mask would write over {named.name}, which is the photo: name another place" in errors[-1]

    def full(image: Image.Image, path: Path, **options: str) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (album / "m.png").write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", full)
    code, _, errors = openblip("ground photo1.jpg --mask m.png dog")
    assert (code, (album / "m.png").read_bytes()) == (2, b"old")
    assert "m.png cannot be written: No space left on device: name another place" in errors[-1]
    assert not list(album.glob(".*"))


def test_analyze_says_where_things_are(openblip: Any, album: Path, blip: Blip) -> None:
    [[expected]] = blip.ground("photo0.jpg", "the dog")
    assert openblip("analyze photo0.jpg --ground --phrase", "the dog")[1] == [f"ground {line_of(expected)}"]
