"""Messages as OpenAI's client sends them, and its errors. Knows no test."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai
import pytest

QUESTION = "what is on the table"


def data_url(photo: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"


def user(*parts: str | Path) -> Any:
    """A user's message of texts and pictures."""
    return {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": data_url(part), "detail": "low"}}
            if isinstance(part, Path)
            else {"type": "text", "text": part}
            for part in parts
        ],
    }


def system(text: str) -> Any:
    return {"role": "system", "content": text}


def assistant(text: str) -> Any:
    return {"role": "assistant", "content": text}


def refusal(call: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    return caught.value
