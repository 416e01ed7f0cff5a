"""`openblip tag`: labels of the command line and of files, and broken photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openblip.pipeline import Blip
from openblip.types import TagOptions

LABELS = ["dog", "cat", "bus", "tree"]


def test_tags_as_lines_and_as_json(openblip: Any, album: Path, blip: Blip) -> None:
    (album / "labels.txt").write_text("\n".join(LABELS[1:]) + "\n")
    options = TagOptions(("the {}",), screen=4, threshold=0.0, top=3)
    expected = blip.tag([f"photo{index}.jpg" for index in range(6)], LABELS, options)
    [alone] = blip.tag("photo3.jpg", LABELS, options)
    arguments = ["--label", "dog", "--labels", "labels.txt", "--template", "the {}", "--threshold", "0", "--top", "3"]
    code, lines, errors = openblip("tag .", *arguments)
    assert (code, errors) == (0, [])
    assert lines == [f"photo{index}.jpg: {', '.join(tag.label for tag in tags)}" for index, tags in enumerate(expected)]
    assert len({line.partition(":")[2] for line in lines}) > 1
    code, lines, _ = openblip("tag --json photo3.jpg", *arguments)
    assert json.loads(lines[0]) == {"source": "photo3.jpg", "tags": [tag.to_dict() for tag in alone]}


def test_a_broken_photo_is_reported(openblip: Any, album: Path) -> None:
    (album / "photo2.jpg").write_bytes(b"rubbish")
    code, lines, errors = openblip("tag . --screen 0 --top 2")
    assert (code, len(errors)) == (1, 1)
    assert errors[0].startswith("openblip: error: photo2.jpg")
    assert [line.partition(":")[0] for line in lines] == [f"photo{index}.jpg" for index in (0, 1, 3, 4, 5)]
    assert all(len(line.partition(": ")[2].split(", ")) == 2 for line in lines)


def test_tags_to_a_table_and_to_files_beside_the_photos(openblip: Any, album: Path) -> None:
    given = ["--label", "dog", "--label", "cat", "--threshold", "0"]
    lines = openblip("tag .", *given)[1]
    assert openblip("tag . --sidecar --trigger ohwx", *given)[0] == 0
    beside = [f"{photo.name}: {photo.with_suffix('.txt').read_text()}" for photo in sorted(album.glob("*.jpg"))]
    assert beside == [line.replace(": ", ": ohwx, ") + "\n" for line in lines]
    assert openblip("tag . -o tags.jsonl", *given)[0] == 0
    rows = [json.loads(line) for line in (album / "tags.jsonl").read_text().splitlines()]
    assert [f"{row['source']}: {', '.join(tag['label'] for tag in row['tags'])}" for row in rows] == lines


def test_what_cannot_be_tagged_with(openblip: Any, album: Path) -> None:
    assert openblip("tag photo0.jpg --labels none.txt")[0] == 2
    assert openblip("tag photo0.jpg --template dog")[2] == [
        "openblip: error: template 'dog' has no place for the label: write \"a photo of {}\""
    ]
    assert openblip("tag photo0.jpg --threshold 2")[0] == 2
