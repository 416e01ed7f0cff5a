"""`openblip caption --stream`: the words of one caption as they come."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from openblip.pipeline import Blip
from openblip.tasks.stream import CaptionStream
from openblip.types import CaptionPiece, GenerateOptions


@pytest.mark.parametrize("how", ["", "--sample --seed 3 --top-p 1", "--prompt two --max-length 12"])
def test_the_words_are_the_line_without_stream(how: str, openblip: Any, album: Path) -> None:
    for photo in ("photo0.jpg", "photo1.jpg"):
        greedy = [] if "--sample" in how else ["--num-beams", "1"]
        expected = openblip("caption", *how.split(), *greedy, photo)
        assert len(expected[1]) == 1
        assert openblip("caption --stream", *how.split(), photo) == expected


def test_pieces_and_the_whole_as_json(openblip: Any, album: Path, blip: Blip) -> None:
    code, lines, errors = openblip("caption --stream --json", "photo?.jpg", "photo0.jpg")
    assert (code, lines) == (2, [])
    code, lines, errors = openblip("caption --stream --json", "photo0.*")
    assert (code, errors) == (0, [])
    *pieces, last = [json.loads(line) for line in lines]
    assert lines[-1] == openblip("caption --json --num-beams 1 photo0.jpg")[1][0]
    [caption] = blip.caption("photo0.jpg", options=GenerateOptions(num_beams=1))
    assert last == {"source": "photo0.jpg", "captions": [json.loads(json.dumps(caption.to_dict()))]}
    assert {piece["source"] for piece in pieces} == {"photo0.jpg"}
    assert "".join(piece["piece"]["text"] for piece in pieces) == caption.text
    assert [token for piece in pieces for token in piece["piece"]["tokens"]] == list(caption.tokens)
    assert len(pieces) > 3


class Screen(StringIO):
    """What has been flushed."""

    shown = ""

    def flush(self) -> None:
        self.shown = self.getvalue()


def test_each_word_is_shown_before_the_next_is_sought(
    openblip: Any, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [line] = openblip("caption --num-beams 1 photo0.jpg")[1]
    screen, seen, following = Screen(), list[str](), CaptionStream.__next__

    def look(stream: CaptionStream) -> CaptionPiece:
        seen.append(screen.shown)
        return following(stream)

    monkeypatch.setattr(CaptionStream, "__next__", look)
    monkeypatch.setattr("sys.stdout", screen)
    assert openblip("caption --stream photo0.jpg")[0] == 0
    assert screen.shown == f"{line}\n"
    assert seen[0] == "photo0.jpg: "
    assert all(line.startswith(part) for part in seen)
    assert [len(part.split()) for part in seen] == list(range(1, len(line.split()) + 1))


def test_errors_come_before_any_word(openblip: Any, album: Path) -> None:
    (album / "broken.jpg").write_bytes((album / "photo0.jpg").read_bytes()[:200])
    for photo, says in (("missing.jpg", "does not exist"), ("broken.jpg", "damaged"), ("no*.jpg", "no file matches")):
        code, lines, errors = openblip("caption --stream", photo)
        assert (code, lines, len(errors)) == (1, [], 1)
        assert says in errors[0]


def test_ctrl_c_leaves_what_was_shown(openblip: Any, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    following, asked = CaptionStream.__next__, list[int]()

    def interrupted(stream: CaptionStream) -> CaptionPiece:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return following(stream)

    [line] = openblip("caption --num-beams 1 photo0.jpg")[1]
    monkeypatch.setattr(CaptionStream, "__next__", interrupted)
    code, lines, errors = openblip("caption --stream photo0.jpg")
    assert (code, errors[-1]) == (130, "openblip: error: interrupted")
    assert line.startswith(lines[0])


def test_output_goes_to_a_file(openblip: Any, album: Path) -> None:
    expected = openblip("caption --num-beams 1 photo0.jpg")[1]
    assert openblip("caption --stream photo0.jpg --output said.txt") == (0, [], [])
    assert (album / "said.txt").read_text().splitlines() == expected
