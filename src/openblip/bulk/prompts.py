"""A list of photos with prompts of their own -> the single pictures, each with its prompt.

Knows the two forms of a line. Opens no picture and knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from openblip.bulk.sources import Found, find_images, identity
from openblip.errors import InputError, OpenBlipError

Prompted = tuple[Found, str]
"""A picture and what its captions start with."""


def find_prompted(lines: Iterable[str], name: str, default: str = "") -> Iterator[Prompted]:
    """Every picture that the lines name, once with each of its prompts, read as they come.

    A line is a photo, a tab and its prompt, or {"source": photo, "prompt": prompt}; without a prompt it takes the
    default. A photo is whatever `find_images` takes: those of a folder or a glob share their prompt. name: of the list,
    for the error that stands in a line's place where it cannot be read.
    """
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            photo, prompt = _parse(line.rstrip("\r\n"), default)
        except OpenBlipError as error:
            yield InputError(f"line {number} of {name} {error}"), ""
            continue
        for found in find_images([photo]):
            if not isinstance(found, InputError):
                if (key := (identity(found), prompt)) in seen:
                    continue
                seen.add(key)
            yield found, prompt


def _parse(line: str, default: str) -> tuple[str, str]:
    if not line.startswith("{"):
        photo, tab, prompt = line.partition("\t")
        return photo, prompt if tab else default
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error}): write a photo, a tab and a prompt, or one JSON object") from error
    photo, prompt = record.get("source"), record.get("prompt", default)
    if not isinstance(photo, str) or not isinstance(prompt, str):
        raise InputError('is no pair of texts: write {"source": "dog.jpg", "prompt": "a photo of"}')
    return photo, prompt
