"""`openblip moderate`: mini on real photos, from judgements over thresholds to decisions; and what cannot be used."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance, ImageOps

from command_line import COMMAND

POLICY = """# people are looked at
[labels.person]  # anybody
phrases = ["a person", "a man", "a woman in a suit"]
questions = ["who is in the picture?"]
words = ["call me"]
on_words = "block"

[labels.cat]
phrases = ["a cat"]
"""


def moderate(*arguments: str, folder: Path) -> tuple[int, list[str], list[str]]:
    """In a process of its own: (exit code, lines of stdout, lines of stderr)."""
    command = [*COMMAND, "moderate", *arguments, "--precision", "f32"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def variants(photo: Path) -> dict[str, Image.Image]:
    image = Image.open(photo).convert("RGB")
    width, height = image.size
    return {
        "mirrored": ImageOps.mirror(image),
        "bright": ImageEnhance.Brightness(image).enhance(1.2),
        "left": image.crop((0, 0, width * 9 // 10, height)),
        "right": image.crop((width // 10, 0, width, height)),
    }


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, samples: list[Path]) -> Path:
    """Variants of the sample photos, sorted by hand: two show a person, two do not. The photos themselves lie beside
    the folder, in `new`, and two of them with a text."""
    folder = tmp_path_factory.mktemp("moderation")
    (folder / "new").mkdir()
    for photo in samples:
        inner = folder / "judged" / ("person" if photo.stem in ("astronaut", "camera") else "none")
        inner.mkdir(parents=True, exist_ok=True)
        for name, image in variants(photo).items():
            image.save(inner / f"{photo.stem}-{name}.jpg")
        shutil.copy(photo, folder / "new")
    (folder / "new" / "coffee.txt").write_text("Nice cup.\nＣａｌｌ  me!", encoding="utf-8")
    (folder / "new" / "chelsea.txt").write_text("Recall meetings", encoding="utf-8")
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    return folder


def test_from_judgements_to_decisions(judged: Path) -> None:
    code, lines, errors = moderate("calibrate", "judged", "--policy", "policy.toml", "--write", folder=judged)
    assert (code, errors) == (0, ["openblip: thresholds written to policy.toml"])
    assert lines[0].startswith("person: 8 pictures show it, 8 do not; screen = ")
    assert [line.split(" = ")[0] for line in lines[1:3]] == ["  review", "  block"]
    assert all("held out: precision " in line for line in lines[1:3])
    assert lines[3] == "cat: 0 pictures show it, 16 do not: too few, its thresholds stay"
    written = (judged / "policy.toml").read_text(encoding="utf-8")
    kept = [line for line in written.splitlines() if not line.startswith(("screen", "review", "block"))]
    assert kept == POLICY.splitlines()

    code, lines, errors = moderate("new", "--sidecars", "--policy", "policy.toml", "--json", folder=judged)
    assert (code, errors) == (0, [])
    found = {Path(row["source"]).stem: row for row in map(json.loads, lines)}
    decisions = {name: row["decision"] for name, row in found.items()}
    assert decisions == {"astronaut": "block", "camera": "block", "chelsea": "allow", "coffee": "block"}
    person, cat = found["camera"]["labels"]
    assert person["probability"] >= person["block"] >= person["review"]
    assert person["answers"][0]["question"] == "who is in the picture?"
    assert person["answers"][0]["text"] == "man"
    width, height = Image.open(judged / "new" / "camera.jpg").size
    assert person["regions"]
    for box in person["regions"]:
        assert 0 <= box["left"] < box["right"] <= width
        assert 0 <= box["top"] < box["bottom"] <= height
    assert (cat["decision"], cat["answers"], cat["regions"]) == ("allow", [], [])
    [words] = found["coffee"]["words"]
    assert (words["words"], words["found"], found["coffee"]["text"][words["start"]]) == (
        "call me",
        "Ｃａｌｌ  me",
        "Ｃ",
    )
    assert found["chelsea"]["words"] == []


def test_a_text_of_another_picture_is_a_signal(judged: Path) -> None:
    (judged / "text.toml").write_text("[text]\nmatch = 0.02\n")
    arguments = ["new/coffee.jpg", "new/chelsea.jpg", "--policy", "text.toml"]
    code, lines, errors = moderate(*arguments, "--text", "a man on a snowboard jumps over the snow", folder=judged)
    assert (code, errors) == (0, [])
    assert [line.split(" 0.")[0] for line in lines] == [
        "new/coffee.jpg: review text does not match",
        "new/chelsea.jpg: review text does not match",
    ]


# In this process, with a tiny random model


def test_broken_photos_and_texts_do_not_end_the_run(openblip: Any, album: Path) -> None:
    (album / "photo1.jpg").write_bytes(b"rubbish")
    (album / "photo2.txt").write_bytes(b"\xff\xfe")
    (album / "photo3.txt").write_text("a red dog")
    (album / "p.toml").write_text("labels.dog = {phrases = ['a dog'], words = ['red dog'], review = 0.0}\n")
    code, lines, errors = openblip("moderate . --sidecars --policy p.toml")
    assert code == 1
    assert len(errors) == 2
    assert any("photo1.jpg" in error for error in errors)
    assert any("photo2.txt cannot be read" in error for error in errors)
    assert [line.split(" dog ")[0] for line in lines] == [f"photo{index}.jpg: review" for index in (0, 3, 4, 5)]
    assert lines[1].endswith("; dog in the text (red dog)")


def test_a_table_of_posts_to_a_table_of_decisions(openblip: Any, album: Path) -> None:
    rows = [{"image": f"photo{index}.jpg", "post": post} for index, post in enumerate(["a dog", "free money", "x"])]
    (album / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (album / "p.toml").write_text("labels.spam = {words = ['free money'], on_words = 'block'}\ntext.match = 0.0\n")
    code, lines, _ = openblip("moderate posts.jsonl --text-column post --policy p.toml -o out.csv")
    assert (code, lines) == (0, [])
    with (album / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["source"], row["decision"], row["reasons"]) for row in found] == [
        ("photo0.jpg", "allow", ""),
        ("photo1.jpg", "block", "spam in the text (free money)"),
        ("photo2.jpg", "allow", ""),
    ]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("labels.a.phrases = 'gun'", "p.toml: labels.a.phrases='gun' is no list of texts"),
        ("[labels", "p.toml is no TOML"),
    ],
)
def test_what_cannot_be_used_is_said(openblip: Any, album: Path, policy: str, says: str) -> None:
    (album / "p.toml").write_text(policy)
    code, lines, errors = openblip("moderate photo0.jpg --policy p.toml")
    assert (code, lines, len(errors)) == (2, [], 1)
    assert says in errors[0]


def test_a_folder_that_nobody_judged(openblip: Any, album: Path) -> None:
    (album / "p.toml").write_text("labels.dog.phrases = ['a dog']")
    code, _, errors = openblip("moderate calibrate . --policy p.toml")
    assert (code, len(errors)) == (1, 1)
    assert "holds no judged pictures: give it sub-folders called dog, none" in errors[0]
    assert openblip("moderate calibrate . --policy p.toml --block-precision 2")[0] == 2


def test_the_threshold_of_texts(openblip: Any, album: Path) -> None:
    words = "red blue green white black brown yellow small large young".split()
    for number, word in enumerate(words):
        photo = album / f"photo{number}.jpg"
        if number >= 6:
            shutil.copy(album / f"photo{number - 6}.jpg", photo)
        photo.with_suffix(".txt").write_text(f"a {word} dog")
    (album / "p.toml").write_text("[text]\nmatch = 0.5  # by hand\n")
    code, lines, errors = openblip("moderate calibrate-text . --policy p.toml --pass 0.8 --write")
    assert (code, errors) == (0, ["openblip: threshold written to p.toml"])
    assert (album / "p.toml").read_text() == f"[text]\n{lines[0].partition(' (')[0]}  # by hand\n"
    decided = openblip("moderate . --sidecars --policy p.toml")[1]
    assert sum(" allow" in line for line in decided) == 8


def test_the_group_tells_its_commands(openblip: Any) -> None:
    from click.testing import CliRunner

    from openblip.cli import commands

    shown = CliRunner().invoke(commands, ["moderate", "--help"]).output
    assert "calibrate" in shown
    assert "decide" in shown
