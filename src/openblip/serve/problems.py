"""Errors as RFC 9457 has them: application/problem+json with type, title, status and detail. Knows HTTP statuses, no
route."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse

from openblip.errors import (
    CheckpointError,
    ImageError,
    InputError,
    ModelError,
    ModelNotFound,
    OpenBlipError,
    OptionError,
    TextError,
)
from openblip.serve.batcher import Closed, Refused

MEDIA_TYPE = "application/problem+json"
_MAX_DETAIL = 1000
"""Characters: an error names the value, which may be as long as a body."""


class Problem(BaseModel):
    """Why a request, or one of its pictures, was not answered."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str


def _problem(status: int, code: str, detail: str) -> Problem:
    shown = detail if len(detail) <= _MAX_DETAIL else f"{detail[: _MAX_DETAIL // 2]} … {detail[-_MAX_DETAIL // 2 :]}"
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=shown, code=code)


class ProblemError(Exception):
    """A problem on its way to the client."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.problem = _problem(status, code, detail)
        self.headers = headers or {}

    @classmethod
    def of(cls, problem: Problem) -> ProblemError:
        """One that was made before."""
        return cls(problem.status, problem.code, problem.detail)


_OF_ERRORS: tuple[tuple[type[OpenBlipError], int, str], ...] = (
    (ImageError, 422, "image"),
    (TextError, 422, "text"),
    (OptionError, 422, "option"),
    (InputError, 422, "input"),
    (ModelNotFound, 404, "model_not_found"),
    (CheckpointError, 500, "checkpoint"),
    (ModelError, 422, "model"),
)


def busy(retry_after_s: int) -> ProblemError:
    """429, with when to come back."""
    detail = f"too much work is waiting: ask again in {retry_after_s} s"
    return ProblemError(429, "busy", detail, {"retry-after": str(retry_after_s)})


def draining() -> ProblemError:
    """503 of a service that takes nothing more."""
    return ProblemError(503, "draining", "the service is shutting down: ask another", {"retry-after": "5"})


def problem_of(error: OpenBlipError) -> Problem:
    """What a client is told of it: its one line, which names the value and the remedy."""
    for kind, status, code in _OF_ERRORS:
        if isinstance(error, kind):
            return _problem(status, code, str(error))
    return Problem(title="Internal Server Error", status=500, detail="the request could not be served", code="internal")


def problem_of_any(error: Exception) -> Problem:
    """What a client is told of any failure; of one that nobody foresaw, nothing but that it happened."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, Refused):
        return busy(error.retry_after_s).problem
    if isinstance(error, Closed):
        return draining().problem
    if isinstance(error, OpenBlipError):
        return problem_of(error)
    return Problem(title="Internal Server Error", status=500, detail="the request could not be served", code="internal")


def response(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """As it is sent."""
    content: dict[str, Any] = problem.model_dump()
    return JSONResponse(content, problem.status, headers, MEDIA_TYPE)
