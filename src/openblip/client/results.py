"""Answers of the service -> the results that `Blip` gives, and what the service says beside them. Knows its JSON, no
connection."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from typing import Any, TypeVar

from openblip.errors import (
    ImageError,
    InputError,
    ModelError,
    ModelNotFound,
    OpenBlipError,
    OptionError,
    ServiceError,
    TextError,
)
from openblip.types import Analysis, Answer, Box, Caption, CaptionPiece, Embedding, Grounding, Match

T = TypeVar("T")
_SHOWN = 200  # characters of an answer that is not the service's
_INPUT_STATUSES = (400, 413, 415, 422)
_ERRORS: dict[str, type[OpenBlipError]] = {
    "image": ImageError, "text": TextError, "option": OptionError, "model_not_found": ModelNotFound,
    "model": ModelError,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServedTiming:
    """Seconds: waiting and reading of the picture, encoding and search of its batch; all 0 where it was cached."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    preprocess_s: float = 0.0
    encode_s: float = 0.0
    search_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Served:
    """How one picture of a request was served. cached: whether its result was there already."""

    cached: bool
    timing: ServedTiming


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the service. loaded: whether it is in memory; tasks and revision: of one that is."""

    name: str
    loaded: bool
    tasks: tuple[str, ...]
    revision: str


class Results(list[T]):
    """What `Blip` gives for the same call, and what the service says of it.

    model, revision: of the model that was asked. served: one entry a picture of each request that it took.
    """

    def __init__(self, items: Iterable[T], model: str, revision: str, served: Sequence[Served]) -> None:
        super().__init__(items)
        self.model, self.revision, self.served = model, revision, tuple(served)

    @property
    def cached(self) -> bool:
        """Whether all of it was there already."""
        return all(each.cached for each in self.served)


def results_of(answers: Sequence[Mapping[str, Any]], items: Callable[[Analysis], Iterable[T]]) -> Results[T]:
    """Results of the answers of one call's requests, in order. items: what of each picture is wanted.

    Raises what the service says is wrong with the first picture that it could not use, and ServiceError where an answer
    is not the service's.
    """
    found: list[T] = []
    served: list[Served] = []
    try:
        for answer in answers:
            for result in answer["results"]:
                if result["error"] is not None:
                    raise error_of(result["error"]["status"], result["error"])
                found += items(_analysis(result))
                served.append(Served(result["cached"], known(ServedTiming, result["timing"])))
        model, revision = (answers[0]["model"], answers[0]["revision"]) if answers else ("", "")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, OpenBlipError):
            raise
        raise not_ours(str(answers)) from error
    return Results(found, model, revision, served)


def vectors_of(answers: Sequence[Mapping[str, Any]]) -> Results[Embedding]:
    """Results of /v1/embeddings. Raises ServiceError where an answer is not the service's."""
    try:
        found = [Embedding(tuple(each["embedding"]), answer["model"]) for answer in answers for each in answer["data"]]
        model, revision = (answers[0]["model"], answers[0]["system_fingerprint"]) if answers else ("", "")
    except (KeyError, TypeError) as error:
        raise not_ours(str(answers)) from error
    return Results(found, model, revision, ())


def models_of(answer: Mapping[str, Any]) -> list[ServedModel]:
    """Those of /v1/models. Raises ServiceError where the answer is not the service's."""
    try:
        return [
            ServedModel(each["id"], each["loaded"], tuple(each["tasks"]), each["revision"]) for each in answer["data"]
        ]
    except (KeyError, TypeError) as error:
        raise not_ours(str(answer)) from error


def one_each(found: Results[list[Caption]]) -> Results[Caption]:
    """The one caption of each picture."""
    return Results([texts[0] for texts in found], found.model, found.revision, found.served)


def piece_of_event(name: str, data: str) -> CaptionPiece | Caption:
    """An event of a stream. Raises what a problem says, and ServiceError where it is not the service's."""
    try:
        content = json.loads(data)
        if name == "piece":
            return known(CaptionPiece, content)
        if name == "caption":
            return known(Caption, content)
        if name == "problem":
            raise error_of(content["status"], content)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, OpenBlipError):
            raise
        raise not_ours(data) from error
    raise not_ours(name)


def read_caption(caption: Caption | None) -> Caption:
    """That of a stream. Raises InputError where there is none yet."""
    if caption is None:
        raise InputError("the caption has not been read to its end: iterate over all pieces of the stream first")
    return caption


def broken_off() -> ServiceError:
    """For a stream without an end."""
    return ServiceError("the stream ended before the caption did: ask again")


def error_of(status: int, problem: Any) -> OpenBlipError:
    """The error that `Blip` would raise, where it is the input's; else ServiceError. problem: as the service tells it,
    as problem details or, on OpenAI's routes, in OpenAI's form."""
    told = problem.get("error", problem) if isinstance(problem, dict) else {}
    detail = told.get("detail", told.get("message")) if isinstance(told, dict) else None
    if not isinstance(detail, str):
        return ServiceError(f"the service answered {status} without saying why: look at its log", status)
    code = str(told.get("code", ""))
    if code in _ERRORS:
        return _ERRORS[code](detail)
    return InputError(detail) if status in _INPUT_STATUSES else ServiceError(detail, status, code)


def not_ours(answer: str, status: int | None = None) -> ServiceError:
    """For what no `openblip serve` would answer."""
    shown = " ".join(answer.split())[:_SHOWN]
    return ServiceError(f"the answer is not that of an openblip service ({shown!r}): check the address", status)


def _analysis(result: Mapping[str, Any]) -> Analysis:
    embedding = result["embedding"]
    return Analysis(
        captions=tuple(known(Caption, each) for each in result["captions"]),
        answers=tuple(known(Answer, each) for each in result["answers"]),
        matches=tuple(known(Match, each) for each in result["matches"]),
        embedding=None if embedding is None else known(Embedding, embedding),
        groundings=tuple(_grounding(each) for each in result.get("groundings", ())),
    )


def _grounding(content: Mapping[str, Any]) -> Grounding:
    """With the heatmap as `Blip` gives it, of the PNG that was sent."""
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(base64.b64decode(content["heatmap"]))) as picture:
        heatmap = np.asarray(picture, np.float32) / np.float32(255)
    plain = {**content, "boxes": [known(Box, each) for each in content["boxes"]], "heatmap": heatmap}
    return known(Grounding, plain)


def known(kind: type[T], content: Mapping[str, Any]) -> T:
    """The fields that this version knows, since a newer service may send more; lists become tuples."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _frozen(content[name]) for name in names if name in content})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
