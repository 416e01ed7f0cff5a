"""OpenAI's routes: chat completions, embeddings and models, each done by the same requests as the other routes. Knows
HTTP and OpenAI's formats; what a conversation asks for is `openai_chat`'s to say."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import log
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI, Request
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.responses import Response as HTTPResponse

from openblip.errors import ModelNotFound
from openblip.serve.events import CaptionEvents
from openblip.serve.openai.chat import as_task, asked, check_supported, unsupported
from openblip.serve.openai.errors import OpenAIErrors, error_of
from openblip.serve.openai.schemas import (
    ChatCompletion,
    ChatRequest,
    Choice,
    Embeddings,
    EmbeddingsRequest,
    EmbeddingsUsage,
    ErrorResponse,
    Extra,
    Logprobs,
    Model,
    Models,
    ReplyMessage,
    TokenLogprob,
    Usage,
    Vector,
)
from openblip.serve.problems import Problem, ProblemError
from openblip.serve.schemas import AnswerRequest, CaptionRequest, CaptionResult, EmbedRequest, PictureResult
from openblip.serve.service import Service, begun, unless_gone
from openblip.serve.worker import Worker
from openblip.tasks.inquiries import Inquiry
from openblip.types import Caption, CaptionPiece

REQUESTS: tuple[type[BaseModel], ...] = (ChatRequest, EmbeddingsRequest)
_SEP = "[SEP]"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": about}
    for status, about in (
        (400, "The body cannot be read."), (401, "A key is needed."), (404, "The model is not served."),
        (408, "The body came too slowly."), (413, "The body is too large."), (415, "Not JSON."),
        (422, "A value or a picture cannot be used, or BLIP cannot do it."),
        (429, "Too much work is waiting, or too many requests; see Retry-After."),
        (503, "Not ready, or shutting down."), (504, "It took too long."),
    )
}  # fmt: skip
_ALL: dict[int | str, dict[str, Any]] = {status: _ERRORS[status] for status in (401, 429)}
_ONE: dict[int | str, dict[str, Any]] = {404: _ERRORS[404], **_ALL}


def add_openai(app: FastAPI, service: Service) -> None:
    """Add the routes, and have all errors on them told as OpenAI's clients read them."""
    doors = _Doors(service)
    chat: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}, **_ERRORS}
    _add(app, "chat/completions", doors.chat, ChatRequest, ChatCompletion, "A caption or an answer.", chat)
    _add(app, "embeddings", doors.embeddings, EmbeddingsRequest, Embeddings, "Unit vectors of texts and pictures.")

    @app.get("/v1/models", summary="The models that are served.", operation_id="models", responses=_ALL)
    async def models() -> Models:
        return Models(data=[doors.model(name) for name in service.sets.names])

    @app.get("/v1/models/{name:path}", summary="One of them.", operation_id="model", responses=_ONE)
    async def model(name: str) -> Model:
        if name not in service.sets.names:
            served = ", ".join(service.sets.names)
            raise ModelNotFound(f"the model {name[:80]!r} is not served here: name one of {served}")
        return doors.model(name)

    app.add_middleware(OpenAIErrors)


def _add(
    app: FastAPI,
    path: str,
    call: Callable[..., Any],
    schema: type[BaseModel],
    answer: type[BaseModel],
    about: str,
    responses: dict[int | str, dict[str, Any]] = _ERRORS,
) -> None:
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}}
    app.add_api_route(
        f"/v1/{path}",
        call,
        methods=["POST"],
        summary=about,
        operation_id=path.replace("/", "_"),
        response_model=answer,
        responses=responses,
        openapi_extra={"requestBody": {"required": True, "content": body}},
    )


class _Doors:
    """What the routes do."""

    def __init__(self, service: Service) -> None:
        self._service, self._started = service, int(time.time())

    def model(self, name: str) -> Model:
        worker = self._service.sets.loaded.get(name)
        if worker is None:
            return Model(id=name, created=self._started, loaded=False)
        tasks: list[str] = [*worker.blip.tasks]
        return Model(id=name, created=self._started, loaded=True, tasks=tasks, revision=worker.revision)

    async def chat(self, request: Request) -> HTTPResponse:
        service = self._service
        async with AsyncExitStack() as stack:
            body = await stack.enter_async_context(service.taken(request, ChatRequest))
            check_supported(body, service.settings.max_rows)
            wanted = asked(body.messages)
            service.check(1, Inquiry(prompt=wanted.prefix, questions=(wanted.text,)))
            using = stack.enter_async_context(service.sets.use(body.model))
            worker = await unless_gone(request, using, service.settings.timeout_s)
            part = worker.blip.part("answer" if wanted.is_question else "caption")
            task = as_task(body, wanted, part, service.settings.max_length)
            reply = _Reply(service, worker, body, task)
            if isinstance(task, CaptionRequest) and body.stream:
                pieces = await service.stream(stack, task)
                first = await begun(pieces, service.settings.timeout_s)
                return CaptionEvents(first, stack.pop_all().aclose, reply.event, _data("[DONE]"), chunk_of)
            whole = reply.completion(
                _only(await unless_gone(request, service.results(task), service.settings.timeout_s))
            )
        if body.stream:
            return HTTPResponse(reply.events(whole), media_type="text/event-stream")
        return _json(whole)

    async def embeddings(self, request: Request) -> HTTPResponse:
        async with self._service.taken(request, EmbeddingsRequest) as body:
            return _json(await unless_gone(request, self._embedded(body), self._service.settings.timeout_s))

    async def _embedded(self, body: EmbeddingsRequest) -> Embeddings:
        texts = [item for item in body.input if isinstance(item, str)]
        pictures: list[bytes | str] = [item for item in body.input if isinstance(item, bytes)]
        self._service.check(len(pictures), Inquiry(texts=tuple(texts)))
        async with self._service.sets.use(body.model) as worker:
            part = worker.blip.part("embed")
            width = part.config.projection
            if body.dimensions not in (None, width):
                raise unsupported("dimensions", f"the vectors of this model have {width}: leave it out")
            of_texts, tokens = await worker.embed_texts(texts) if texts else ([], 0)
            of_pictures = await self._picture_vectors(pictures, body.model)
            tokens += part.config.vision.tokens * len(pictures)
            each = {str: iter(of_texts), bytes: iter(of_pictures)}
            data = [_vector(index, next(each[type(item)]), body) for index, item in enumerate(body.input)]
            usage = EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens)
            model = body.model or self._service.sets.names[0]
            return Embeddings(data=data, model=model, system_fingerprint=worker.revision, usage=usage)

    async def _picture_vectors(self, pictures: list[bytes | str], model: str) -> list[list[float]]:
        if not pictures:
            return []
        found = json.loads(await self._service.results(EmbedRequest(images=pictures, model=model)))["results"]
        return [_usable(result)["embedding"]["vector"] for result in found]


class _Reply:
    """Results of a task in OpenAI's form, whole or as chunks of a stream."""

    def __init__(
        self, service: Service, worker: Worker, body: ChatRequest, task: CaptionRequest | AnswerRequest
    ) -> None:
        self._task, self._logprobs = task, bool(body.logprobs)
        self._is_answer = isinstance(task, AnswerRequest)
        self._part = worker.blip.part("answer" if self._is_answer else "caption")
        self._with_usage = body.stream_options is not None and body.stream_options.include_usage
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()),
            "model": body.model or service.sets.names[0], "system_fingerprint": worker.revision,
        }  # fmt: skip
        self._begun = False

    def completion(self, found: PictureResult) -> ChatCompletion:
        """The whole of it."""
        if self._is_answer:
            text = found.answers[0].text
            reason, tokens = self._ended(text)
            choices = [Choice(index=0, message=ReplyMessage(content=text), finish_reason=reason)]
        else:
            choices = [self._choice(index, caption) for index, caption in enumerate(found.captions)]
            tokens = sum(len(caption.tokens) for caption in found.captions)
        extra = Extra(task="answer" if self._is_answer else "caption", cached=found.cached, timing=found.timing)
        return ChatCompletion(**self._head, choices=choices, usage=self._usage(tokens), openblip=extra)

    def event(self, piece: CaptionPiece | Caption) -> bytes:
        """A piece of a growing caption; of the whole one, what ends it."""
        if isinstance(piece, CaptionPiece):
            shown = _logprobs(piece) if self._logprobs and piece.tokens else None
            return self._delta(piece.text, None if shown is None else shown.model_dump())
        return self._end(_reason(piece), self._usage(len(piece.tokens)))

    def events(self, whole: ChatCompletion) -> bytes:
        """A stream of what is there already."""
        [choice] = whole.choices
        return (
            self._delta(choice.message.content, None) + self._end(choice.finish_reason, whole.usage) + _data("[DONE]")
        )

    def _choice(self, index: int, caption: CaptionResult) -> Choice:
        shown = _logprobs(caption) if self._logprobs else None
        return Choice(
            index=index, message=ReplyMessage(content=caption.text), logprobs=shown, finish_reason=_reason(caption)
        )

    def _ended(self, answer: str) -> tuple[Literal["stop", "length"], int]:
        """Why an answer ended, and its tokens, [SEP] included; [DEC] before them counts for the bound."""
        tokens = len(self._part.tokenizer.caption_prompt(answer)) - 1
        bound = self._task.inquiry().answering.max_length
        return ("length", tokens) if tokens >= bound - 1 else ("stop", tokens + 1)

    def _usage(self, generated: int) -> Usage:
        tokenizer, vision = self._part.tokenizer, self._part.config.vision
        if isinstance(self._task, AnswerRequest):
            read = int(tokenizer.encode_grounded(self._task.questions, self._part.config.text.max_positions).lengths[0])
        else:
            read = len(tokenizer.caption_prompt(self._task.prompt))
        read += vision.tokens
        return Usage(prompt_tokens=read, completion_tokens=generated, total_tokens=read + generated)

    def _delta(self, text: str, logprobs: dict[str, Any] | None) -> bytes:
        delta = {"content": text} if self._begun else {"role": "assistant", "content": text}
        self._begun = True
        return self._chunk([{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}])

    def _end(self, reason: str, usage: Usage) -> bytes:
        chunks = self._chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}])
        return chunks + (self._chunk([], usage.model_dump()) if self._with_usage else b"")

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices}
        return _data(chunk | {"usage": usage} if self._with_usage else chunk)


def chunk_of(problem: Problem) -> bytes:
    """A problem within a stream."""
    return _data(error_of(problem))


def _reason(caption: Caption | CaptionResult) -> Literal["stop", "length"]:
    return "stop" if caption.tokens and caption.tokens[-1] == _SEP else "length"


def _logprobs(text: CaptionResult | CaptionPiece) -> Logprobs:
    least = np.finfo(np.float64).tiny  # a probability may have been rounded to 0
    return Logprobs(
        content=[
            TokenLogprob(token=token, bytes=list(token.encode()), logprob=log(max(probability, least)))
            for token, probability in zip(text.tokens, text.token_probabilities, strict=True)
        ]
    )


def _only(results: bytes) -> PictureResult:
    [found] = json.loads(results)["results"]
    return PictureResult.model_validate(found)


def _usable(result: dict[str, Any]) -> dict[str, Any]:
    if result["error"] is not None:
        raise ProblemError.of(Problem(**result["error"]))
    return result


def _vector(index: int, values: list[float], body: EmbeddingsRequest) -> Vector:
    packed = base64.b64encode(np.array(values, "<f4").tobytes()).decode()
    return Vector(index=index, embedding=packed if body.encoding_format == "base64" else values)


def _json(answer: BaseModel) -> HTTPResponse:
    return HTTPResponse(answer.model_dump_json(), media_type="application/json")


def _data(content: dict[str, Any] | str) -> bytes:
    return format_sse_event(data_str=content if isinstance(content, str) else json.dumps(content))
