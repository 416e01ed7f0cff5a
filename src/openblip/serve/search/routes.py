"""The library's routes: /v1/images and /v1/search. Knows HTTP; what is done is `photos`' to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response as HTTPResponse

from openblip.serve import problems
from openblip.serve.search.photos import Photos
from openblip.serve.search.schemas import (
    Added,
    AddRequest,
    LibraryImage,
    LibraryImages,
    SearchRequest,
    SearchResponse,
)
from openblip.serve.service import Service, unless_gone

REQUESTS: tuple[type[BaseModel], ...] = (AddRequest, SearchRequest)
T = TypeVar("T")
_PROBLEM = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ABOUT = {
    400: "The body cannot be read.", 401: "A key is needed.", 404: "No such picture, or no library.",
    408: "The body came too slowly.", 413: "The body is too large.", 415: "Neither JSON nor a form.",
    422: "A value or a picture cannot be used.",
    429: "Too much work is waiting, or too many requests; see Retry-After.",
    503: "Not ready, shutting down, or the library cannot be reached.", 504: "It took too long.",
}  # fmt: skip
_NO_BODY = (401, 404, 422, 429, 503, 504)
_JPEG: dict[str, Any] = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}
_PICTURE: dict[str, Any] = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "It is what If-None-Match names."}}
_KEPT = "private, max-age=300"  # a file may change, and be indexed again
_Identity = Annotated[str, Path(pattern="^[0-9a-f]{20}$", description="The id of a picture.")]


def add_search(app: FastAPI, service: Service, photos: Photos) -> None:
    """Add the routes."""
    _add_posts(app, service, photos)
    _add_listing(app, service, photos)
    _add_files(app, service, photos)


def _add_posts(app: FastAPI, service: Service, photos: Photos) -> None:
    async def add(request: Request) -> HTTPResponse:
        async with service.taken(request, AddRequest) as body:
            return _json(await unless_gone(request, photos.add(body), service.settings.timeout_s))

    async def search(request: Request) -> HTTPResponse:
        async with service.taken(request, SearchRequest) as body:
            return _json(await unless_gone(request, photos.search(body), service.settings.timeout_s))

    for path, call, schema, answer, about in (
        ("images", add, AddRequest, Added, "Add pictures to the library: kept, and found from then on."),
        ("search", search, SearchRequest, SearchResponse, "Pictures of the library, by words, a picture, or both."),
    ):
        app.add_api_route(
            f"/v1/{path}",
            call,
            methods=["POST"],
            summary=about,
            operation_id="add_images" if schema is AddRequest else path,
            response_model=answer,
            responses=_problems(*_ABOUT),
            openapi_extra={"requestBody": _body(schema)},
        )


def _add_listing(app: FastAPI, service: Service, photos: Photos) -> None:
    @app.get(
        "/v1/images", summary="The pictures of the library.", operation_id="images", responses=_problems(*_NO_BODY)
    )
    async def images(
        request: Request,
        where: Annotated[str, Query(max_length=2000, description="A filter, as in a search.")] = "",
        after: Annotated[str, Query(pattern="^([0-9a-f]{20})?$", description="Of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> LibraryImages:
        return await _held(service, request, photos.page(where, after, limit))

    @app.get("/v1/images/{id}", summary="A picture's record.", operation_id="image", responses=_problems(*_NO_BODY))
    async def image(request: Request, id: _Identity) -> LibraryImage:  # noqa: A002 (its name in the address)
        return await _held(service, request, photos.image(id))

    @app.delete(
        "/v1/images/{id}",
        status_code=204,
        summary="Take a picture out of the library.",
        description="A file that came over HTTP is deleted too; one that was indexed where it lies is not.",
        operation_id="delete_image",
        responses=_problems(*_NO_BODY),
    )
    async def delete(request: Request, id: _Identity) -> None:  # noqa: A002
        await _held(service, request, photos.delete(id))


def _add_files(app: FastAPI, service: Service, photos: Photos) -> None:
    @app.get(
        "/v1/images/{id}/thumbnail",
        summary="A small JPEG of a picture.",
        operation_id="thumbnail",
        response_class=HTTPResponse,
        responses=_problems(*_NO_BODY) | {200: {"content": _JPEG}} | _SAME,
    )
    async def thumbnail(
        request: Request,
        id: _Identity,  # noqa: A002
        side: Annotated[int, Query(ge=16, le=1024, description="Of the longer side, in pixels.")] = 320,
    ) -> HTTPResponse:
        async def made() -> HTTPResponse:
            tag, jpeg = await photos.thumbnail(id, side)
            return await _unless_same(request, tag, _with_type(jpeg, "image/jpeg"))

        return await _held(service, request, made())

    @app.get(
        "/v1/images/{id}/picture",
        summary="A picture as it was indexed.",
        operation_id="picture",
        response_class=HTTPResponse,
        responses=_problems(*_NO_BODY) | {200: {"content": _PICTURE}} | _SAME,
    )
    async def picture(request: Request, id: _Identity) -> HTTPResponse:  # noqa: A002
        async def made() -> HTTPResponse:
            tag, data = await photos.picture(id)
            return await _unless_same(request, tag, data)

        return await _held(service, request, made())


async def _held(service: Service, request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work of a request without a body, which counts while it is done."""
    try:
        async with service.request():
            return await unless_gone(request, work, service.settings.timeout_s)
    finally:
        work.close()


def _with_type(call: Callable[[], Awaitable[bytes]], kind: str) -> Callable[[], Awaitable[tuple[bytes, str]]]:
    async def both() -> tuple[bytes, str]:
        return await call(), kind

    return both


async def _unless_same(request: Request, tag: str, call: Callable[[], Awaitable[tuple[bytes, str]]]) -> HTTPResponse:
    """The bytes, or 304 where the client has them."""
    headers = {"etag": f'"{tag}"', "cache-control": _KEPT}
    if any(each.strip() in ("*", headers["etag"]) for each in request.headers.get("if-none-match", "").split(",")):
        return HTTPResponse(status_code=304, headers=headers)
    data, kind = await call()
    return HTTPResponse(data, media_type=kind, headers=headers)


def _json(answer: BaseModel) -> HTTPResponse:
    return HTTPResponse(answer.model_dump_json(), media_type="application/json")


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": _ABOUT[status], "content": _PROBLEM} for status in statuses}


def _body(schema: type[BaseModel]) -> dict[str, Any]:
    """As OpenAPI documents a body that is read by hand: JSON, and a form with files."""
    kinds = {"application/json": schema.__name__, "multipart/form-data": f"{schema.__name__}Form"}
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}} for kind, name in kinds.items()}
    return {"required": True, "content": content}
