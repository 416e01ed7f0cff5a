"""What a client sent -> one of the schemas: JSON, or a form with files. Bounded before it is read. Knows HTTP bodies,
no task."""

from __future__ import annotations

import asyncio
import json
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from openblip.serve.problems import ProblemError
from openblip.serve.settings import ServeSettings

Schema = TypeVar("Schema", bound=BaseModel)
_FILES = "images"
_MAX_VALUES = 200_000
"""Of a JSON body: 32 MB of empty lists would be 760 MB of Python's."""


class Uploads:
    """The bytes of all bodies in hand, at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0

    @contextmanager
    def of(self, refuse: Callable[[], Exception]) -> Iterator[Callable[[int], None]]:
        """A call that counts bytes as they arrive, until the `with` block ends; it raises what `refuse` makes where
        there are too many."""
        own = 0

        def count(size: int) -> None:
            nonlocal own
            if self._bytes + size > self._max_bytes:
                raise refuse()
            own += size
            self._bytes += size

        try:
            yield count
        finally:
            self._bytes -= own


async def read_body(
    request: Request, schema: type[Schema], settings: ServeSettings, arrived: Callable[[int], None] = lambda size: None
) -> Schema:
    """Raises ProblemError: 413 where it is too large, 415 where it is neither JSON nor a form, 400 where it is broken,
    408 where it takes too long to come, 422 where a value does not fit; and what `arrived` raises, which is told the
    bytes that came."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    _check_length(request, settings.max_body_bytes)
    _bound(request, settings.max_body_bytes, arrived)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            if kind == "application/json":
                values = _parsed(await request.body())
            elif kind == "multipart/form-data":
                values = await _form(request, schema, settings)
            else:
                raise ProblemError(
                    415, "media_type", f"{kind or 'no type'}: send application/json or multipart/form-data"
                )
    except TimeoutError:
        raise ProblemError(
            408, "slow", f"the body took longer than {settings.body_timeout_s:g} s: send it faster"
        ) from None
    except ClientDisconnect:
        raise ProblemError(400, "gone", "the client went away") from None
    return _validated(schema, values)


def _check_length(request: Request, limit: int) -> None:
    """Raise ProblemError where a body says that it is too large, or says nothing that can be understood."""
    length = request.headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdigit()):
        raise ProblemError(400, "content_length", f"content-length {length[:40]!r} is no number")
    if length is not None and int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, "too_large", f"the request is larger than {limit:,} bytes: send fewer or smaller pictures")


def _parsed(body: bytes) -> Any:
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise ProblemError(400, "json", f"the body has more than {_MAX_VALUES:,} values: ask for less at once")
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ProblemError(400, "json", "the body is nested too deeply") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, "json", f"the body is not JSON: {error}") from error
    except ValueError as error:  # of Python's bound on digits
        raise ProblemError(400, "json", "a number of the body has too many digits") from error


async def _form(request: Request, schema: type[BaseModel], settings: ServeSettings) -> dict[str, Any]:
    """Files are pictures, texts the other fields; `options` is JSON, lists are fields that are there several times."""
    try:
        form = await request.form(
            max_files=settings.max_images, max_fields=settings.max_texts + 20, max_part_size=settings.max_body_bytes
        )
    except HTTPException as error:  # starlette's answer to a form that it cannot read
        raise ProblemError(400, "form", str(error.detail)) from error
    try:
        return await _values(form, schema)
    finally:
        await form.close()


def _bound(request: Request, limit: int, told: Callable[[int], None]) -> None:
    """Count what arrives: a body may come without a length."""
    receive, arrived = request._receive, 0

    async def bounded() -> Any:
        nonlocal arrived
        message = await receive()
        size = len(message.get("body", b""))
        arrived += size
        if arrived > limit:
            raise _too_large(limit)
        told(size)
        return message

    request._receive = bounded


async def _values(form: FormData, schema: type[BaseModel]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in dict.fromkeys(form.keys()):
        given = form.getlist(name)
        if name == _FILES:
            values[name] = [await each.read() if isinstance(each, UploadFile) else each for each in given]
        elif any(isinstance(each, UploadFile) for each in given):
            raise ProblemError(422, "form", f"{name} is a file: files go under the name {_FILES}")
        elif _is_list(schema, name):
            values[name] = list(given)
        elif len(given) > 1:
            raise ProblemError(422, "form", f"{name} is there {len(given)} times: give it once")
        else:
            values[name] = _parsed(str(given[0]).encode()) if name == "options" else given[0]
    return values


def _is_list(schema: type[BaseModel], name: str) -> bool:
    field = schema.model_fields.get(name)
    kinds = (field.annotation, *typing.get_args(field.annotation)) if field else ()
    return any(typing.get_origin(kind) is list for kind in kinds)


def _validated(schema: type[Schema], values: Any) -> Schema:
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise ProblemError(422, "invalid", f"{where}: {first['msg']}") from error
