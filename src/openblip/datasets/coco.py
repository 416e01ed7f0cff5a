"""JSON documents: COCO's captions (images and annotations), questions and annotations of VQA v2, lists of records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openblip.datasets.collector import Collector
from openblip.errors import DataError
from openblip.image import SUFFIXES

_NUMBER = re.compile(r"(\d+)$")


def read_documents(documents: Sequence[Path], collector: Collector) -> None:
    """All documents together, since those of VQA v2 belong to each other. Raises DataError that names document and
    entry."""
    questions: dict[Any, tuple[Path, dict[str, Any]]] = {}
    answers: list[tuple[str, dict[str, Any]]] = []
    for document in documents:
        values = _read_json(document)
        if isinstance(values, list):
            _read_records(document, values, collector)
        elif "questions" in values:
            for where, entry in _entries(document, values, "questions", ("question_id", "image_id", "question")):
                if entry["question_id"] in questions:
                    raise DataError(f"{where}: the question_id {entry['question_id']} is there twice")
                questions[entry["question_id"]] = document, entry
            if "annotations" in values:
                answers += _entries(document, values, "annotations", ("question_id", "answers"))
        elif "images" in values:
            _read_captions(document, values, collector)
        elif "annotations" in values:
            answers += _entries(document, values, "annotations", ("question_id", "answers"))
        else:
            raise DataError(
                f"{document} holds {', '.join(list(values)[:5]) or 'nothing'}: give COCO captions (images and "
                "annotations), or questions and annotations of VQA v2"
            )
    if questions or answers:
        _read_questions(questions, answers, collector)


def _read_records(document: Path, values: list[Any], collector: Collector) -> None:
    for number, row in enumerate(values, 1):
        where = f"{document}, entry {number}"
        if not isinstance(row, dict):
            raise DataError(f'{where} is no JSON object: write {{"image": "dog.jpg", "caption": "a dog"}}')
        image = row[collector.columns.find(list(row), "image", where)]
        if isinstance(image, str) and image:
            collector.add_file(image, document.parent, where, row)
        else:
            collector.faults.append(f"{where}: {str(image)[:40]!r} is no path of a picture")


def _read_captions(document: Path, values: dict[str, Any], collector: Collector) -> None:
    if collector.wanted != "captions":
        raise DataError(f"{document} holds captions, not questions: give questions and annotations of VQA v2")
    files = {}
    for where, entry in _entries(document, values, "images", ("id", "file_name")):
        if not isinstance(entry["file_name"], str):
            raise DataError(f"{where}: its file_name {entry['file_name']!r} is no text")
        files[entry["id"]] = entry["file_name"]
    for where, entry in _entries(document, values, "annotations", ("image_id", "caption")):
        if entry["image_id"] not in files:
            raise DataError(f"{where}: there is no image with the id {entry['image_id']!r}")
        collector.add_file(files[entry["image_id"]], document.parent, where, [entry["caption"]])


def _read_questions(
    questions: dict[Any, tuple[Path, dict[str, Any]]], answers: list[tuple[str, dict[str, Any]]], collector: Collector
) -> None:
    if collector.wanted != "questions":
        raise DataError("these are questions, not captions: fine-tune with 'openblip train vqa'")
    if not questions or not answers:
        lacking = "questions" if answers else "annotations"
        raise DataError(f"questions and annotations of VQA v2 belong together: name the {lacking} too")
    folder = collector.images or next(iter(questions.values()))[0].parent
    files = numbered_pictures(folder)
    for where, entry in answers:
        if entry["question_id"] not in questions:
            raise DataError(f"{where}: there is no question with the question_id {entry['question_id']!r}")
        _, question = questions[entry["question_id"]]
        file = files.get(str(question["image_id"]))
        if file is None:
            collector.faults.append(
                f"{where}: there is no picture in {folder} whose name ends in {question['image_id']}"
            )
            continue
        record = {"qa": [{"question": question["question"], "answers": entry["answers"]}]}
        collector.add_file(str(file.absolute()), folder, where, record)


def numbered_pictures(folder: Path) -> dict[str, Path]:
    """The pictures in a folder and below by the number that their names end in, as COCO_val2014_000000000042.jpg.

    Raises DataError where two have the same number.
    """
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and (number := _NUMBER.search(file.stem)):
            key = str(int(number[1]))
            if key in found:
                raise DataError(f"{found[key]} and {file} have the same number: name the folder of one of them")
            found[key] = file
    return found


def _entries(
    document: Path, values: dict[str, Any], name: str, wanted: Iterable[str]
) -> list[tuple[str, dict[str, Any]]]:
    rows, found = values.get(name), []
    if not isinstance(rows, list):
        raise DataError(f'{document} has no list "{name}": is it whole?')
    for number, row in enumerate(rows, 1):
        where = f"{document}, entry {number} of {name}"
        missing = [key for key in wanted if not isinstance(row, dict) or key not in row]
        if missing:
            raise DataError(f"{where} has no {' and no '.join(missing)}")
        if any(isinstance(row[key], (list, dict)) for key in ("id", "image_id", "question_id") if key in row):
            raise DataError(f"{where}: an id must be a number or a text")
        found.append((where, row))
    return found


def _read_json(document: Path) -> Any:
    try:
        values = json.loads(document.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {document}: {error}") from error
    if not isinstance(values, (dict, list)):
        raise DataError(f"{document} holds a {type(values).__name__}, no entries")
    return values
