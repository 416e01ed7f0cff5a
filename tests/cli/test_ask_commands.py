"""`openblip answer`, `analyze` and `embed`, in this process with a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openblip.pipeline import Blip
from openblip.types import GenerateOptions

QUESTIONS = ["is the dog young", "a red hat"]
MANY = [
    f"{size} {colour} {what}" for size in ("small", "large") for colour in ("red", "blue") for what in ("dog", "cat")
]


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


# answer


def test_answers_from_a_file(openblip: Any, album: Path, blip: Blip) -> None:
    (album / "list.txt").write_text("".join(f"  {each} \n\n" for each in [*MANY, MANY[0]]), encoding="utf-8-sig")
    (album / "list.json").write_text(json.dumps(MANY))
    expected = blip.answer("photo0.jpg", QUESTIONS, answers=MANY)
    lines = [f"{answer.probability:.4f} {answer.question} {answer.text}" for answer in expected]
    assert {answer.text for answer in expected} <= set(MANY)
    for name in ("list.txt", "list.json"):
        assert openblip("answer photo0.jpg --answers", name, *QUESTIONS) == (0, lines, [])
    both = openblip("answer photo0.jpg --json --answer two --answers list.txt", *QUESTIONS)[1][0]
    together = blip.answer("photo0.jpg", QUESTIONS, answers=["two", *MANY])
    assert json.loads(both)["answers"] == plain([answer.to_dict() for answer in together])


def test_thousands_of_answers(openblip: Any, album: Path) -> None:
    """As many as in the original's list."""
    answers = [f"{first} {second} {third}" for first in MANY for second in MANY for third in range(49)]
    (album / "list").write_text("\n".join(answers))
    code, lines, errors = openblip("answer --json photo0.jpg --answers list", *QUESTIONS)
    assert (code, errors) == (0, [])
    assert len(answers) == 3136
    for found in json.loads(lines[0])["answers"]:
        assert found["text"] in answers
        assert len(found["others"]) == 4


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("list", b"\n \n", "list holds no answers"),
        ("list", b"\xff\xfe", "list cannot be read"),
        ("list.json", b"[1, 2]", "list.json is no list of answers"),
        ("list.json", b'{"a": 1}', "list.json is no list of answers"),
        ("list.json", b"yes", "list.json cannot be read"),
    ],
)
def test_a_list_that_is_none(name: str, content: bytes, says: str, openblip: Any, album: Path) -> None:
    (album / name).write_bytes(content)
    code, lines, errors = openblip("answer photo0.jpg q --answers", name)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith(f"openblip: error: {says}")


def test_an_answer_that_is_too_long(openblip: Any, album: Path) -> None:
    code, lines, errors = openblip("answer photo0.jpg q --answer two --answer", "dog " * 40)
    assert (code, lines) == (1, [])
    assert "the answer 'dog dog" in errors[0]
    assert "is too long for the 32 positions of the model" in errors[0]


def test_the_search_of_an_answer(openblip: Any, album: Path, blip: Blip) -> None:
    def said(*flags: str) -> Any:
        return json.loads(openblip("answer --json photo0.jpg", *flags, *QUESTIONS)[1][0])["answers"]

    assert said() == plain([each.to_dict() for each in blip.answer("photo0.jpg", QUESTIONS)])
    assert said() == plain(
        [each.to_dict() for each in blip.answer("photo0.jpg", QUESTIONS, GenerateOptions.for_answers())]
    )
    options = GenerateOptions(num_beams=5, max_length=4, min_length=1)
    wide = said("--num-beams", "5", "--max-length", "4")
    assert wide == plain([each.to_dict() for each in blip.answer("photo0.jpg", QUESTIONS, options)])
    assert [len(each["others"]) for each in wide] == [4, 4]


# analyze


def test_everything_at_once(openblip: Any, album: Path, blip: Blip) -> None:
    texts, options = ["a dog", "two birds at sea"], GenerateOptions(num_return=2, length_penalty=0.5)
    [expected] = blip.analyze(
        "photo0.jpg",
        caption=True,
        prompt="a",
        options=options,
        questions=QUESTIONS,
        answers=MANY,
        texts=texts,
        embed=True,
    )
    asked = [f"--question={each}" for each in QUESTIONS] + [f"--text={each}" for each in texts]
    asked += [f"--answer={each}" for each in MANY] + ["--embed", "photo0.jpg"]
    command = "analyze --caption --prompt a --num-captions 2 --length-penalty 0.5"
    code, [line], errors = openblip(f"{command} --json", *asked)
    assert (code, errors) == (0, [])
    assert json.loads(line) == {"source": "photo0.jpg", **plain(expected.to_dict())}
    code, lines, errors = openblip(command, *asked)
    assert (code, errors) == (0, [])
    captions = [f"caption {each.probability:.4f} {each.text}" for each in expected.captions]
    answers = [f"answer {each.probability:.4f} {each.question} {each.text}" for each in expected.answers]
    best, worst = sorted(expected.matches, key=lambda each: -each.probability)
    matches = [f"match {each.probability:.4f} {each.similarity:+.4f} {each.text}" for each in (best, worst)]
    assert lines == [*captions, *answers, *matches, "embedding of 24 numbers (--json prints them)"]
    assert [line.removeprefix("answer ") for line in answers] == openblip(
        "answer photo0.jpg", *QUESTIONS, *[f"--answer={each}" for each in MANY]
    )[1]
    assert [line.removeprefix("match ") for line in matches] == openblip("match photo0.jpg", *texts)[1]


def test_one_thing_alone(openblip: Any, album: Path, blip: Blip) -> None:
    [line] = openblip("analyze photo1.jpg --caption")[1]
    assert line.split(" ", 2)[2] == blip.caption("photo1.jpg")[0].text
    record = json.loads(openblip("analyze photo1.jpg --embed --json")[1][0])
    assert (record["captions"], record["answers"], record["matches"]) == ([], [], [])
    assert record["embedding"]["vector"] == blip.embed_images("photo1.jpg")[0].tolist()
    code, lines, errors = openblip("analyze missing.jpg --caption")
    assert (code, lines, len(errors)) == (1, [], 1)


# embed


def test_vectors_as_json_lines(openblip: Any, album: Path, blip: Blip) -> None:
    photos, texts = [f"photo{index}.jpg" for index in range(6)], ["a dog", "two birds"]
    (album / "cut.jpg").write_bytes((album / "photo0.jpg").read_bytes()[:200])
    flags = [f"--text={text}" for text in texts]
    code, lines, errors = openblip("embed", "missing.jpg", ".", *flags)
    assert code == 1
    assert ["missing.jpg does not exist" in errors[0], "cut.jpg looks like JPEG" in errors[1]] == [True, True]
    assert len(errors) == 2
    records = [json.loads(line) for line in lines]
    assert [record.get("source") for record in records] == [*photos, None, None]
    assert [record.get("text") for record in records[6:]] == texts
    assert {record["model"] for record in records} == {"tiny"}
    vectors = np.array([record["vector"] for record in records])
    np.testing.assert_allclose(vectors[:6], blip.embed_images(photos), atol=1e-5)
    np.testing.assert_allclose(vectors[6:], blip.embed_texts(texts), atol=1e-5)
    code, out, reported = openblip("embed --output vectors.jsonl", "missing.jpg", ".", *flags)
    assert (code, out, reported[:-1]) == (1, [], errors)
    assert (album / "vectors.jsonl").read_text().splitlines() == lines
    assert len(openblip("embed", *flags)[1]) == 2


def test_vectors_as_arrays(openblip: Any, album: Path, blip: Blip) -> None:
    code, lines, errors = openblip("embed --output vectors.npz --text", "a dog", "photo?.jpg", "missing.jpg")
    assert (code, lines, len(errors)) == (1, [], 2)
    with np.load(album / "vectors.npz") as arrays:
        assert arrays["sources"].tolist() == [f"photo{index}.jpg" for index in range(6)]
        assert arrays["texts"].tolist() == ["a dog"]
        assert arrays["model"] == "tiny"
        assert arrays["image_vectors"].dtype == np.float32
        np.testing.assert_allclose(arrays["image_vectors"], blip.embed_images(arrays["sources"].tolist()), atol=1e-5)
        np.testing.assert_allclose(arrays["text_vectors"], blip.embed_texts("a dog"), atol=1e-5)
    code, lines, errors = openblip("embed --output nothing.npz", "missing.jpg")
    assert (code, lines, len(errors)) == (1, [], 2)
    assert "missing.jpg" in errors[0]
    assert openblip("embed --output texts.npz --text", "a dog")[:2] == (0, [])
    with np.load(album / "texts.npz") as arrays:
        assert (arrays["sources"].shape, len(arrays["image_vectors"]), arrays["text_vectors"].shape) == (
            (0,),
            0,
            (1, 24),
        )
    assert not list(album.glob(".*"))


@pytest.mark.parametrize("name", ["no/such/folder.npz", "no/such/folder.jsonl"])
def test_vectors_that_cannot_be_written(name: str, openblip: Any, album: Path) -> None:
    code, lines, errors = openblip("embed . --output", name)
    assert (code, lines, len(errors)) == (1, [], 1)
    assert name in errors[0]


def test_photos_of_stdin(openblip: Any, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", iter(["photo1.jpg\n", "photo0.jpg\n"]))
    assert [json.loads(line)["source"] for line in openblip("embed -")[1]] == ["photo1.jpg", "photo0.jpg"]
