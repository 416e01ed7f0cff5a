"""Data to fine-tune on: each form gives the same records; what is wrong is told at once, with file and line."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from openblip.datasets.columns import Columns
from openblip.datasets.examples import Picture, Question, fingerprint
from openblip.datasets.read import Found, read_pictures
from openblip.errors import DataError
from openblip.train.finetune_config import FinetuneConfig
from openblip.train.finetune_data import read_sets, split, texts_a_picture

CAPTIONS = {"one.png": ["a dog runs", "the dog"], "two.png": ["a cat sits on the left"]}
QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "one.png": [{"question": "what is it", "answers": ["dog", "dog", "cat", "dog"]}],
    "two.png": [{"question": "what is it", "answer": "cat"}, {"question": "who", "answers": {"man": 3, "boy": 1}}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, name in enumerate(CAPTIONS):
        Image.new("RGB", (20 + place, 10), (40 * place, 0, 0)).save(tmp_path / name)
    return tmp_path


def said(found: Found) -> dict[str, tuple[str, ...]]:
    assert not found.faults
    return {picture.shard.name: picture.captions for picture in found.pictures}


EXPECTED = {"one.png": ("a dog runs", "the dog"), "two.png": ("a cat sits on the left",)}


def write_sidecars(folder: Path) -> str:
    for name, captions in CAPTIONS.items():
        (folder / name).with_suffix(".txt").write_text("\n".join([*captions, ""]), encoding="utf-8")
    return str(folder)


def write_csv(folder: Path, suffix: str = ".csv") -> str:
    table = folder / f"table{suffix}"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writerow(["file_name", "caption"])
        writer.writerows([name, caption] for name, captions in CAPTIONS.items() for caption in captions)
    return str(table)


def write_json_lines(folder: Path) -> str:
    table = folder / "table.jsonl"
    lines = (json.dumps({"image": name, "captions": captions}) for name, captions in CAPTIONS.items())
    table.write_text("\n".join(lines), encoding="utf-8")
    return str(table)


def write_records(folder: Path) -> str:
    document = folder / "records.json"
    document.write_text(json.dumps([{"image": name, "captions": texts} for name, texts in CAPTIONS.items()]))
    return str(document)


def write_parquet(folder: Path) -> str:
    table = folder / "table.parquet"
    rows = [(name, caption) for name, captions in CAPTIONS.items() for caption in captions]
    columns = {"path": [name for name, _ in rows], "text": [caption for _, caption in rows]}
    pyarrow.parquet.write_table(pyarrow.table(columns), table)
    return str(table)


def write_coco(folder: Path) -> str:
    document = folder / "captions.json"
    names = list(CAPTIONS)
    annotations = [
        {"image_id": names.index(name), "caption": caption} for name, texts in CAPTIONS.items() for caption in texts
    ]
    images = [{"id": place, "file_name": name} for place, name in enumerate(names)]
    document.write_text(json.dumps({"images": images, "annotations": annotations}))
    return str(document)


def write_metadata(folder: Path) -> str:
    Path(write_csv(folder)).rename(folder / "metadata.csv")
    return str(folder)


FORMS = {
    "sidecars": write_sidecars, "csv": write_csv, "tsv": lambda folder: write_csv(folder, ".tsv"),
    "json lines": write_json_lines, "records": write_records, "parquet": write_parquet, "coco": write_coco,
    "metadata": write_metadata,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_records(folder: Path, form: str) -> None:
    found = read_pictures([FORMS[form](folder)], "captions")
    assert said(found) == EXPECTED
    by_name = {picture.shard.name: picture for picture in found.pictures}
    assert by_name["two.png"].sided
    assert by_name["two.png"].read().size == (21, 10)


def test_shards_give_the_same_records(folder: Path) -> None:
    shard = folder / "shards" / "train-0000.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        for name, captions in CAPTIONS.items():
            content = {"captions": captions, "qa": QUESTIONS[name]}
            for suffix, data in ((".json", json.dumps(content).encode()), (".png", (folder / name).read_bytes())):
                member = tarfile.TarInfo(Path(name).stem + suffix)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    for source in (shard, shard.parent, shard.parent / "*.tar"):
        found = read_pictures([str(source)], "captions")
        assert [picture.captions for picture in found.pictures] == list(EXPECTED.values())
        assert [picture.read().size for picture in found.pictures] == [(20, 10), (21, 10)]
    questions = read_pictures([str(shard)], "questions").pictures
    assert [len(picture.questions) for picture in questions] == [1, 2]


def shares(pictures: list[Picture]) -> dict[str, tuple[Question, ...]]:
    return {picture.shard.name: picture.questions for picture in pictures}


ASKED = {
    "one.png": (Question("what is it", (("dog", 0.75), ("cat", 0.25)), 4),),
    "two.png": (Question("what is it", (("cat", 1.0),), 1), Question("who", (("man", 0.75), ("boy", 0.25)))),
}


def test_answers_have_their_share(folder: Path) -> None:
    table = folder / "qa.jsonl"
    table.write_text("\n".join(json.dumps({"image": name, "qa": qa}) for name, qa in QUESTIONS.items()))
    assert shares(read_pictures([str(table)], "questions").pictures) == ASKED


def test_questions_stand_in_tables_and_beside_pictures(folder: Path) -> None:
    table = folder / "qa.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer"])
        writer.writerow(["one.png", "What is it?", '["dog", "dog", "cat", "dog"]'])
        writer.writerow(["two.png", "What is it?", "Cat"])
    [one], [two] = shares(read_pictures([str(table)], "questions").pictures).values()
    assert one.answers == (("dog", 0.75), ("cat", 0.25))
    assert two == Question("what is it?", (("cat", 1.0),), 1)
    (folder / "one.txt").write_text("what is it?\tdog\n")
    (folder / "two.txt").write_text("what is it?\tcat\tkitten\n")
    found = read_pictures([str(folder)], "questions")
    assert shares(found.pictures)["two.png"] == (Question("what is it?", (("cat", 0.5), ("kitten", 0.5)), 2),)


def test_questions_and_annotations_of_vqa_belong_together(folder: Path) -> None:
    Image.new("RGB", (9, 9)).save(folder / "COCO_val2014_000000000042.jpg")
    questions, annotations = folder / "questions.json", folder / "annotations.json"
    questions.write_text(json.dumps({"questions": [{"question_id": 7, "image_id": 42, "question": "What is it?"}]}))
    people = [{"answer": "dog", "answer_id": 1}] * 9 + [{"answer": "cat", "answer_id": 2}]
    annotations.write_text(json.dumps({"annotations": [{"question_id": 7, "image_id": 42, "answers": people}]}))
    [picture] = read_pictures([str(questions), str(annotations)], "questions").pictures
    assert picture.shard.name == "COCO_val2014_000000000042.jpg"
    assert picture.questions == (Question("what is it?", (("dog", 0.9), ("cat", 0.1)), 10),)
    with pytest.raises(DataError, match="belong together: name the annotations too"):
        read_pictures([str(questions)], "questions")
    with pytest.raises(DataError, match="openblip train vqa"):
        read_pictures([str(questions), str(annotations)], "captions")


def test_paths_may_start_from_another_folder_and_columns_have_any_name(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    table = folder / "elsewhere" / "table.csv"
    table.write_text("foto,titel\none.png,ein hund\n", encoding="utf-8")
    found = read_pictures([str(table)], "captions", str(folder), Columns(image="foto", caption="titel"))
    assert said(found) == {"one.png": ("ein hund",)}
    with pytest.raises(
        DataError,
        match=r"table\.csv, line 2: no column is called image or .*--image-column, of foto, titel",
    ):
        read_pictures([str(table)], "captions", str(folder))
    with pytest.raises(DataError, match="there is no column 'title': --caption-column may be one of foto, titel"):
        read_pictures([str(table)], "captions", str(folder), Columns(image="foto", caption="title"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"image,caption\none.png\n", r"t\.csv, line 2 has not the 2 cells"),
        ("t.csv", b"image,caption\none.png,a dog, running\n", r"t\.csv, line 2 has not the 2 cells"),
        ("t.csv", b"image,caption\none.png,caf\xe9\n", r"t\.csv: .*UTF-8"),
        ("t.jsonl", b'{"image": "one.png", "caption": "a dog"}\n{"image"', r"t\.jsonl, line 2 is not JSON"),
        ("t.jsonl", b'["one.png", "a dog"]', r"t\.jsonl, line 1 is no JSON object"),
        ("t.json", b'{"images": [{"id": 1}], "annotations": []}', r"t\.json, entry 1 of images has no file_name"),
        ("t.json", b'{"images": [], "annotations": [{"image_id": 3, "caption": "a"}]}', "no image with the id 3"),
        ("t.json", b'{"images": []}', 'has no list "annotations"'),
        ("t.json", b'{"licence": 3}', "give COCO captions"),
        ("t.json", b"3", "holds a int, no entries"),
        ("t.json", b"{", r"cannot read .*t\.json"),
        ("t.parquet", b"PAR1 is no parquet", r"cannot read the table .*t\.parquet"),
        ("t.tar", b"no tar" * 200, r"t\.tar"),
        ("t.txt", b"a dog", r"t\.txt"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_line(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_pictures([str(folder / name)], "captions")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["nothing.csv", "nothing.json", "nothing", "nothing-*.tar", "nothing.tar"])
def test_what_is_not_there_is_told(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match="nothing"):
        read_pictures([str(tmp_path / source)], "captions")
    with pytest.raises(DataError, match="there is no data"):
        read_pictures([], "captions")


def test_single_entries_that_are_no_use_are_all_told(folder: Path) -> None:
    table = folder / "t.jsonl"
    rows = [
        {"image": "one.png", "caption": "a dog"}, {"image": "three.png", "caption": "a cat"},
        {"image": "two.png", "caption": " . "}, {"image": "two.png", "caption": 7}, {"image": None, "caption": "a"},
        {"image": {"bytes": "x"}, "caption": "a"},
    ]  # fmt: skip
    table.write_text("\n".join(map(json.dumps, rows)))
    found = read_pictures([str(table)], "captions")
    assert [picture.captions for picture in found.pictures] == [("a dog",)]
    assert [fault.partition(": ")[0].rpartition(", ")[2] for fault in found.faults] == [
        f"line {n}" for n in range(2, 7)
    ]
    for fault, reason in zip(
        found.faults,
        ("there is no picture", "empty", "7 is no text", "no path", "pictures within the table"),
        strict=True,
    ):
        assert reason in fault


def test_faults_of_questions_are_told(folder: Path) -> None:
    table = folder / "t.jsonl"
    rows = [
        {"image": "one.png", "question": "", "answer": "dog"}, {"image": "one.png", "question": "what", "answers": []},
        {"image": "one.png", "question": "what", "answers": {"dog": -1}},
        {"image": "one.png", "question": "what", "answers": {"dog": 0}},
        {"image": "one.png", "question": "what", "answer": "[broken"}, {"image": "one.png", "qa": ["what"]},
        {"image": "one.png", "question": "how many", "answer": 3},
    ]  # fmt: skip
    table.write_text("\n".join(map(json.dumps, rows)))
    found = read_pictures([str(table)], "questions")
    assert found.pictures[0].questions == (Question("how many", (("3", 1.0),), 1),)
    reasons = ("is no question", "has no answers", "weights from 0 up", "weight above 0", "no JSON", "is no question")
    for fault, reason in zip(found.faults, reasons, strict=True):
        assert reason in fault


def test_folders_tell_what_is_missing(folder: Path) -> None:
    write_sidecars(folder)
    (folder / "two.txt").unlink()
    Image.new("RGB", (5, 5)).save(folder / "zero.png")
    (folder / "zero.txt").write_text("\n")
    found = read_pictures([str(folder)], "captions")
    assert [picture.shard.name for picture in found.pictures] == ["one.png"]
    assert [fault.endswith(end) for fault, end in zip(found.faults, ("no two.txt beside it", "is empty"), strict=True)]
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        read_pictures([str(folder / "empty")], "captions")


def config(folder: Path, **changes: Any) -> FinetuneConfig:
    return FinetuneConfig(data=(str(folder),), **changes)


def test_broken_pictures_are_found_before_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sidecars(folder)
    whole = (folder / "one.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.txt").write_text("a dog\n")
    (folder / "none.png").write_bytes(b"")
    (folder / "none.txt").write_text("a dog\n")
    sets = read_sets(config(folder), 24)
    assert [picture.shard.name for picture in sets.train] == ["one.png", "two.png"]
    assert len(sets.faults) == 2
    assert "cut.png" in sets.faults[0]
    assert "none.txt, line 1" in sets.faults[1]
    with pytest.raises(DataError, match=r"2 entries .*--skip-broken"):
        sets.check(skip_broken=False)
    assert "cut.png" in capsys.readouterr().err
    sets.check(skip_broken=True)
    assert len(read_sets(config(folder), 24, decode=False).train) == 4


def test_a_picture_is_either_learned_from_or_measured_on(folder: Path) -> None:
    write_sidecars(folder)
    with pytest.raises(DataError, match=r"2 pictures are in data and in dev .*one\.png"):
        read_sets(config(folder, dev=(write_csv(folder),)), 24)


def test_a_share_is_set_aside_by_the_seed() -> None:
    pictures = [Picture(Path("x"), place, 1, ("a dog",)) for place in range(50)]
    train, dev = split(pictures, 0.2, 3, 100)
    assert len(dev) == 10
    assert sorted(picture.offset for picture in train + dev) == list(range(50))
    assert split(pictures, 0.2, 3, 100) == (train, dev)
    assert split(pictures, 0.2, 4, 100) != (train, dev)
    assert [len(part) for part in split(pictures[:2], 0.9, 0, 100)] == [1, 1]
    assert [len(part) for part in split(pictures, 0.2, 3, 4)] == [46, 4], "what is not measured on is learned from"
    assert fingerprint(train) != fingerprint(dev)


def test_texts_a_step_are_what_the_pictures_have_on_average() -> None:
    def pictures(*counts: int) -> list[Picture]:
        return [Picture(Path("x"), place, 1, ("a dog",) * count) for place, count in enumerate(counts)]

    assert texts_a_picture(FinetuneConfig(), pictures(1, 1, 1)) == 1
    assert texts_a_picture(FinetuneConfig(), pictures(2, 3, 5)) == 3
    assert texts_a_picture(FinetuneConfig(), pictures(20, 20)) == 5
    assert texts_a_picture(FinetuneConfig(texts_per_image=7), pictures(1)) == 7
