"""What users ask for: forms as a browser sends them, and how often each task is asked. Knows no server and no
Locust."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

BOUNDARY = "openblip-load-7f3a9c51d2"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
TASKS: dict[str, float] = {"caption": 0.40, "answer": 0.20, "match": 0.15, "embed": 0.15, "analyze": 0.10}
QUESTIONS = (
    "what is in the picture?", "what colour is it?", "how many people are there?", "where was this taken?",
    "is it day or night?", "what is the animal doing?",
)  # fmt: skip
TEXTS = (
    "a dog runs through the grass", "two people at a table", "a cat sleeps on a couch", "a street with cars at night",
    "a plate of food", "a bird on a branch", "a man takes a photo", "a child plays in the water",
)  # fmt: skip


def form(pictures: Sequence[bytes], fields: Sequence[tuple[str, str]] = ()) -> bytes:
    """The body of a request: pictures as files under `images`, then the fields."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="photo.jpg"\r\n'
    head += "Content-Type: image/jpeg\r\n\r\n"
    parts = [head.encode() + picture + b"\r\n" for picture in pictures]
    parts += [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def fields_of(task: str, random: Random) -> list[tuple[str, str]]:
    """What is asked with a picture: one question, four texts, and of everything something for `analyze`."""
    question = ("questions", random.choice(QUESTIONS))
    texts = [("texts", text) for text in random.sample(TEXTS, 4)]
    if task == "answer":
        return [question]
    if task == "match":
        return texts
    if task == "analyze":
        return [("caption", json.dumps(True)), question, *texts[:2], ("embed", json.dumps(True))]
    return []
