"""The FastAPI application: routes, errors and what the machine's keepers ask. Knows HTTP; what is done is the
service's."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.responses import Response as HTTPResponse

from openblip.errors import OpenBlipError
from openblip.serve import problems
from openblip.serve.batcher import Closed, Refused
from openblip.serve.events import CaptionEvents
from openblip.serve.guard.headers import BoundedHead, SecurityHeaders, cors, docs_policy
from openblip.serve.metrics import MEDIA_TYPE
from openblip.serve.observe import Observed
from openblip.serve.openai.routes import REQUESTS as OPENAI_REQUESTS
from openblip.serve.openai.routes import add_openai
from openblip.serve.page import BUILT, add_page
from openblip.serve.problems import ProblemError
from openblip.serve.schemas import (
    AnalyzeRequest,
    AnswerRequest,
    CaptionRequest,
    EmbedRequest,
    GroundRequest,
    MatchRequest,
    PictureRequest,
    Response,
)
from openblip.serve.search.photos import Photos
from openblip.serve.search.routes import REQUESTS as SEARCH_REQUESTS
from openblip.serve.search.routes import add_search
from openblip.serve.service import Load, Service
from openblip.serve.settings import ServeSettings

REQUESTS: dict[str, type[PictureRequest]] = {
    "caption": CaptionRequest, "answer": AnswerRequest, "match": MatchRequest, "embed": EmbedRequest,
    "ground": GroundRequest, "analyze": AnalyzeRequest,
}  # fmt: skip
_ABOUT = {
    "caption": "Captions of pictures.",
    "answer": "Answers to questions about pictures.",
    "match": "How well texts describe pictures: ITM probability and ITC cosine.",
    "embed": "Unit vectors of pictures.",
    "ground": "Where in pictures words are: points, boxes, heatmaps and overlays.",
    "analyze": "Any mix of tasks about pictures, each of which is encoded once.",
}
_PROBLEM_SCHEMA = {"schema": {"$ref": "#/components/schemas/Problem"}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": about, "content": {problems.MEDIA_TYPE: _PROBLEM_SCHEMA}}
    for status, about in (
        (400, "The body cannot be read."), (401, "A key is needed."), (404, "The model is not served."),
        (408, "The body came too slowly."), (413, "The body is too large."), (415, "Neither JSON nor a form."),
        (422, "A value or a picture cannot be used."),
        (429, "Too much work is waiting, or too many requests; see Retry-After."),
        (503, "Not ready, or shutting down."), (504, "It took too long."),
    )
}  # fmt: skip
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["piece", "caption", "problem"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_EVENTS: dict[str, Any] = {"text/event-stream": {"itemSchema": _EVENT}}
_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}


_OPERATION = ("/healthz", "/readyz", "/metrics")
_COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def create_app(settings: ServeSettings, load: Load, failed: Callable[[BaseException], None] | None = None) -> FastAPI:
    """The application; its state has the `service`. load: a model by its name. failed: told why it cannot start."""
    service = Service(settings, load)
    photos = Photos(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(service.start(photos.start))
        if failed is not None:
            starting.add_done_callback(lambda task: _tell(task, failed))
        tasks = [starting]
        if settings.figures_s:
            figures = service.figures.write(settings.figures_s, lambda: service.ready, sys.stdout)
            tasks.append(asyncio.create_task(figures))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await photos.stop()
            await service.stop()

    async def admit(request: Request) -> None:
        await service.admission.check(request)

    app = FastAPI(
        title="openblip",
        description="Captions, answers, matches, embeddings and regions of pictures.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # `_add_docs` gives it a Content-Security-Policy
        redoc_url=None,
        dependencies=[Depends(admit)],
        telemetry=_traces(),
        redirect_slashes=False,  # the address that it redirects to is made of what the client says the host is
    )
    app.state.service = service
    _add_tasks(app, service)
    _add_operation(app, service)
    _add_docs(app)
    _add_problems(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    app.add_middleware(cors, origins=settings.origins)
    app.add_middleware(BoundedHead)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Observed, metrics=service.metrics)
    add_search(app, service, photos)
    add_openai(app, service)
    add_page(app, BUILT if settings.page else None)
    return app


def _traces() -> TelemetryConfig:
    """Spans of requests, with what `Service` says of their pictures, where the environment names a collector; /metrics
    and the log have the rest."""
    return {
        "tracing": any(os.environ.get(name) for name in _COLLECTORS),
        "auto_configure": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": lambda scope: scope.get("path") in _OPERATION,
    }


def _tell(starting: asyncio.Task[None], failed: Callable[[BaseException], None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        failed(error)


def _add_tasks(app: FastAPI, service: Service) -> None:
    for task, schema in REQUESTS.items():
        app.add_api_route(
            f"/v1/{task}",
            _route(service, schema),
            methods=["POST"],
            summary=_ABOUT[task],
            operation_id=task,
            response_model=Response,
            responses=_PROBLEMS | ({200: {"content": _EVENTS}} if schema is CaptionRequest else {}),
            openapi_extra={"requestBody": _body_schema(schema)},
        )


def _route(service: Service, schema: type[PictureRequest]) -> Callable[[Request], Awaitable[HTTPResponse]]:
    async def call(request: Request) -> HTTPResponse:
        found = await service.answer(request, schema)
        if isinstance(found, bytes):
            return HTTPResponse(found, media_type="application/json")
        return CaptionEvents(*found)

    return call


def _body_schema(schema: type[PictureRequest]) -> dict[str, Any]:
    """As OpenAPI documents a body that is read by hand: JSON, and a form with files."""
    return {
        "required": True,
        "content": {
            "application/json": {"schema": _reference(schema.__name__)},
            "multipart/form-data": {"schema": _reference(f"{schema.__name__}Form")},
        },
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the bodies that FastAPI does not read itself."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        template = "#/components/schemas/{model}"
        read_by_hand = (*REQUESTS.values(), *SEARCH_REQUESTS)
        _, described = models_json_schema(
            [(each, "validation") for each in (*read_by_hand, *OPENAI_REQUESTS)], ref_template=template
        )
        known = document["components"]["schemas"]
        for name, schema in described["$defs"].items():
            known.setdefault(name, schema)
        for each in read_by_hand:
            known[f"{each.__name__}Form"] = _form_schema(known[each.__name__])
        app.openapi_schema = document
    return app.openapi_schema


def _form_schema(schema: dict[str, Any]) -> dict[str, Any]:
    options = {"type": "string", "contentMediaType": "application/json", "description": "The options as JSON."}
    fields = {name: options if name == "options" else value for name, value in schema["properties"].items()}
    bounds = {name: value for name, value in fields["images"].items() if name in ("minItems", "maxItems")}
    fields["images"] = {"type": "array", **bounds, "items": {"type": "string", "format": "binary"}}
    return {**schema, "properties": fields}


def _add_operation(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_class=PlainTextResponse, summary="Whether the process answers.")
    async def healthz() -> str:
        return "ok"

    @app.get(
        "/readyz",
        response_class=PlainTextResponse,
        summary="Whether the model is loaded and warm, and work is taken.",
        responses={503: {"description": "Not ready, or shutting down.", "content": _TEXT}},
    )
    async def readyz() -> HTTPResponse:
        if service.ready:
            return PlainTextResponse("ready")
        return PlainTextResponse("draining" if service.draining else "loading", 503)

    @app.get("/metrics", response_class=PlainTextResponse, summary="Figures for Prometheus.")
    async def metrics() -> HTTPResponse:
        service.metrics.waiting.set(service.waiting)
        service.metrics.in_hand.set(service.in_hand)
        return HTTPResponse(service.metrics.text(), media_type=MEDIA_TYPE)


def _add_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(openapi_url="/openapi.json", title=app.title)
        page.headers["content-security-policy"] = docs_policy(bytes(page.body).decode())
        return page


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> JSONResponse:
        return problems.response(error.problem, error.headers)

    @app.exception_handler(OpenBlipError)
    async def ours(request: Request, error: OpenBlipError) -> JSONResponse:
        return problems.response(problems.problem_of(error))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        found = problems.busy(error.retry_after_s)
        return problems.response(found.problem, found.headers)

    @app.exception_handler(Closed)
    async def closed(request: Request, error: Closed) -> JSONResponse:
        found = problems.draining()
        return problems.response(found.problem, found.headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        found = ProblemError(error.status_code, "http", str(error.detail))
        return problems.response(found.problem, dict(error.headers or {}))
