"""`openblip eval`, in this process with a tiny random model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from openblip.bulk.shards import read_shards
from openblip.evaluate import evaluate_captions, evaluate_retrieval
from openblip.pipeline import Blip
from openblip.types import GenerateOptions
from shard_files import write_shard

QUESTIONS = [{"question": "is the dog young", "answer": "dog"}, {"question": "two", "answer": "two", "kind": "count"}]


@pytest.fixture
def shards(album: Path) -> list[Path]:
    """Three photos each, with captions and questions."""
    photos = sorted(album.glob("*.jpg"))
    return [
        write_shard(
            album / f"dev-{part}.tar",
            (
                (photo.stem, photo.read_bytes(), {"captions": [f"a dog {index}", "two dogs"], "qa": QUESTIONS})
                for index, photo in enumerate(photos[3 * part : 3 * part + 3])
            ),
        )
        for part in range(2)
    ]


def result_of(answer: tuple[int, list[str], list[str]]) -> Any:
    code, lines, errors = answer
    assert (code, errors) == (0, [])
    return json.loads("\n".join(lines))


def test_captions(openblip: Any, blip: Blip, shards: list[Path]) -> None:
    expected = evaluate_captions(blip, read_shards(shards))
    result = result_of(openblip("eval caption --no-reference --json dev-*.tar"))
    assert (result["images"], result["cider"]) == (6, pytest.approx(expected.scores.cider))
    assert "reference" not in result
    by_option = result_of(openblip("eval caption --no-reference --json --data", str(shards[0]), "--data", "dev-1.tar"))
    assert by_option["cider"] == result["cider"]
    table = "\n".join(openblip("eval caption --num-beams 1 --no-reference --limit 4", str(shards[0].parent))[1])
    assert "4 images, beam 1" in table
    assert "CIDEr-D" in table


def test_the_reference_tools_are_asked_and_what_is_left_out_is_said(
    openblip: Any, shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "no-java-here"))
    result = result_of(openblip("eval caption --json --num-beams 1 dev-0.tar"))
    assert result["reference"]["scores"]["CIDEr"] == pytest.approx(result["cider"], abs=1e-6)
    assert set(result["reference"]["left_out"]) == {"PTB tokenizer", "METEOR", "SPICE"}
    lines = openblip("eval caption --num-beams 1 dev-0.tar")[1]
    assert any(line.startswith("METEOR left out: needs Java") for line in lines)


def test_captions_without_the_reference_tools(
    openblip: Any, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("pycocoevalcap")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    lines = openblip("eval caption --num-beams 1 dev-0.tar")[1]
    assert lines[-1] == ("pycocoevalcap left out: pycocoevalcap is not installed: run 'pip install openblip[eval]'")


def test_retrieval_as_a_curve(openblip: Any, blip: Blip, shards: list[Path]) -> None:
    expected = evaluate_retrieval(blip, read_shards(shards), [0, 2, 4])
    result = result_of(openblip("eval retrieval --json --rerank 0,2,4 dev-*.tar"))
    assert [point["rerank"] for point in result["curve"]] == [0, 2, 4]
    assert result["curve"] == json.loads(json.dumps([point.to_dict() for point in expected.curve]))
    assert result_of(openblip("eval retrieval --json --rerank 2 --data dev-0.tar --limit 2"))["itc"]["images"] == 2
    assert "R@1" in "\n".join(openblip("eval retrieval --rerank 0 dev-0.tar")[1])
    for depths in ("many", "1,", "-1"):
        code, lines, errors = openblip("eval retrieval dev-0.tar --rerank", depths)
        assert (code, lines, len(errors)) == (2, [], 1)


def test_vqa(openblip: Any, blip: Blip, shards: list[Path], album: Path) -> None:
    result = result_of(openblip("eval vqa --json dev-*.tar --output vqa.json"))
    assert (result["images"], result["questions"], result["how"]) == (6, 12, "generate")
    rows = json.loads((album / "vqa.json").read_text(encoding="utf-8"))["answers"]
    assert rows[2]["answer"] == blip.answer("photo1.jpg", "is the dog young")[0].text
    ranked = result_of(openblip("eval vqa --json --answer dog --answer two --limit 2 dev-0.tar --prior dev-1.tar"))
    assert (ranked["how"], ranked["prior"], ranked["questions"]) == ("rank", 1.0, 4)
    (album / "answers.txt").write_text("dog\ntwo\n", encoding="utf-8")
    assert result_of(openblip("eval vqa --json --answers answers.txt dev-0.tar"))["how"] == "rank"
    line = {"key": "photo4", "qa": [{"question": "a red hat", "answers": {"red": 1.0}, "kind": "colour"}]}
    (album / "dev.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    lines = openblip("eval vqa --questions dev.jsonl --prior dev.jsonl dev-*.tar")[1]
    assert lines[0].startswith(f"{blip.name}: 1 images, 1 questions, answers written, ")
    assert lines[-1].endswith("| 1.000 |")


def test_other_forms_of_data(openblip: Any, blip: Blip, album: Path) -> None:
    rows = [f"photo{index}.jpg,a dog {index},is the dog young,two" for index in range(4)]
    (album / "test.csv").write_text("\n".join(["file_name,caption,frage,answer", *rows]) + "\n", encoding="utf-8")
    captions = result_of(openblip("eval caption --no-reference --json test.csv --output one.json"))
    assert captions["images"] == 4
    rows = json.loads((album / "one.json").read_text(encoding="utf-8"))["captions"]
    assert [row["key"] for row in rows] == [f"photo{index}.jpg" for index in range(4)]
    assert result_of(openblip("eval retrieval --rerank 0 --json test.csv --limit 3"))["itc"]["images"] == 3
    result = result_of(openblip("eval vqa --json test.csv --question-column frage --gallery page.html"))
    assert (result["images"], result["questions"]) == (4, 4)
    for photo in sorted(album.glob("photo*.jpg"))[:5]:
        photo.with_suffix(".txt").write_text("a dog\ntwo dogs\n", encoding="utf-8")
    code, lines, errors = openblip("eval caption --no-reference .")
    assert (code, lines, len(errors)) == (1, [], 1)
    assert "of the data cannot be used: " in errors[0]
    code, lines, errors = openblip("eval vqa test.csv")
    assert "no column is called question: name it with --question-column" in errors[0]
    for wrong in (
        "eval vqa test.csv --question-column frage --questions more.jsonl",
        "eval caption test.csv dev-0.tar",
    ):
        assert openblip(wrong)[0] == 1
    assert openblip("eval caption")[0] == 2


def test_two_runs_are_compared(
    openblip: Any, shards: list[Path], album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from openblip import cli

    openblip("eval caption --no-reference --num-beams 1 dev-*.tar --output one.json")
    openblip("eval caption --no-reference --num-beams 4 dev-*.tar --output two.json")
    assert cli.run(["eval", "compare", "one.json", "two.json", "--draws", "200", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert (result["images"], result["draws"]) == (6, 200)
    assert result["low"] <= result["difference"] <= result["high"]
    assert cli.run(["eval", "compare", "one.json", "two.json"]) == 0
    assert "6 images, 10000 draws" in capsys.readouterr().out
    assert cli.run(["eval", "compare", "one.json", "missing.json"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_galleries(openblip: Any, shards: list[Path], album: Path) -> None:
    for command in ("caption --no-reference", "vqa", "retrieval --rerank 0"):
        assert openblip(f"eval {command} dev-*.tar --gallery page.html --limit 4")[0] == 0
        assert (album / "page.html").read_text(encoding="utf-8").count("<article>") == 4
    code, lines, errors = openblip("eval caption --no-reference dev-0.tar dev-0.tar --gallery page.html")
    assert (code, lines) == (1, [])
    assert "6 pictures have 3 keys" in errors[0]
    for option in ("--output", "--gallery"):
        code, lines, errors = openblip("eval caption --no-reference dev-0.tar", option, "no/such/folder")
        assert (code, lines, len(errors)) == (2, [], 1)
    code, lines, errors = openblip("eval retrieval --rerank 0 dev-0.tar --output .")
    assert (code, len(errors)) == (2, 1)


def test_agreement(openblip: Any, blip: Blip, album: Path) -> None:
    rows = [f"photo{index}.jpg,a dog {word},{index}" for index in range(4) for word in ("runs", "sits")]
    (album / "ratings.csv").write_text("\n".join(["image,text,rating", *rows]) + "\n", encoding="utf-8")
    result = result_of(openblip("eval agreement --json ratings.csv"))
    assert result["pairs"] == 8
    assert -1 <= result["itm"]["tau_b"] <= 1
    assert "Kendall tau-b" in "\n".join(openblip("eval agreement ratings.csv")[1])


def test_no_data(openblip: Any, album: Path) -> None:
    for command in ("caption", "vqa", "retrieval"):
        code, lines, errors = openblip(f"eval {command}")
        assert (code, lines, len(errors)) == (2, [], 1)
        assert "name WebDataset shards" in errors[0]
        code, lines, errors = openblip(f"eval {command} nowhere-*.tar")
        assert (code, lines, len(errors)) == (1, [], 1)


def test_the_prompt_and_the_search_reach_the_captions(
    openblip: Any, blip: Blip, shards: list[Path], album: Path
) -> None:
    options = GenerateOptions(num_beams=2, max_length=9)
    result = evaluate_captions(blip, read_shards(shards[:1]), options, "a picture of")
    openblip(
        "eval caption --no-reference --num-beams 2 --max-length 9 --prompt",
        "a picture of",
        "dev-0.tar",
        "--output",
        "a.json",
    )
    rows = json.loads((album / "a.json").read_text(encoding="utf-8"))["captions"]
    assert [row["caption"] for row in rows] == list(result.scores.captions)


def test_grounding(openblip: Any, album: Path, blip: Blip) -> None:
    objects = [{"category": "dog", "bbox": [0, 0, 60, 40]}, {"category": "cup", "bbox": [0, 0, 0, 0]}]
    values = {"captions": ["two dogs"], "objects": objects, "original_size": [60, 40]}
    rows = [(f"photo{index}", (album / f"photo{index}.jpg").read_bytes(), values) for index in range(3)]
    write_shard(album / "boxes.tar", rows)
    result = result_of(openblip("eval grounding --json boxes.tar --output all.json"))
    assert (result["cases"], result["accuracy"], result["centre"]["first"]) == (6, 0.5, 0.5)
    assert len(json.loads((album / "all.json").read_text())["pointed"]) == 6
    seen = result_of(
        openblip("eval grounding --json boxes.tar --seen-in boxes.tar --at-least 3 --limit 2 --no-windows")
    )
    assert (seen["cases"], seen["left_out"], seen["accuracy"], seen["windows"]) == (2, 2, 1.0, 0)
    assert "| raw attention, one look |" in "\n".join(openblip("eval grounding boxes.tar")[1])
    code, _, [error] = openblip("eval grounding boxes.tar --seen-in boxes.tar --at-least 4")
    assert (code, "none of 6 cases" in error) == (1, True)
