"""Requests counted, bounded, answered and drained. Knows the models and what a request may cost; routes are `app`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

from opentelemetry import trace
from starlette.requests import Request

from openblip.errors import ImageError, InputError
from openblip.image import ImageLimits
from openblip.pipeline import Blip
from openblip.serve import problems
from openblip.serve.bodies import Schema, Uploads, read_body
from openblip.serve.cache import ResultCache
from openblip.serve.figures import Figures, Level
from openblip.serve.guard.addresses import FetchSettings, PictureFetcher
from openblip.serve.guard.admission import Admission
from openblip.serve.metrics import Metrics
from openblip.serve.problems import Problem, ProblemError
from openblip.serve.schemas import CaptionRequest, PictureRequest
from openblip.serve.sets import ModelSets
from openblip.serve.settings import ServeSettings
from openblip.serve.worker import Worker
from openblip.tasks.inquiries import Inquiry
from openblip.types import Caption, CaptionPiece, GenerateOptions

LOG = logging.getLogger("openblip.serve")
Load = Callable[[str], Blip]
T = TypeVar("T")


class Stream(NamedTuple):
    """A growing caption. close: to be called in the end, whatever was read."""

    pieces: AsyncIterator[CaptionPiece | Caption]
    close: Callable[[], Awaitable[None]]


class Service:
    """Models behind one door. load: a model by its name, called in a thread."""

    def __init__(self, settings: ServeSettings, load: Load) -> None:
        self.settings, self._load, self.metrics = settings, load, Metrics()
        self.sets = ModelSets(settings.models, self._worker, memory_bytes=settings.memory_bytes, idle_s=settings.idle_s)
        self.warm, self.draining, self._level = False, False, Level()
        self.figures = Figures(self.metrics, self._level, lambda: self.waiting, settings.figures_name)
        self._notice_until = float("inf")
        self.admission = Admission(settings, self.metrics.saw_rate)
        self._fetcher = (
            PictureFetcher(FetchSettings(max_bytes=settings.max_body_bytes)) if settings.fetch_urls else None
        )
        self._uploads = Uploads(settings.max_upload_bytes)
        self._cache = ResultCache(settings.cache(), self.metrics.saw_cache)
        self._engine_threads = ThreadPoolExecutor(settings.lanes, thread_name_prefix="openblip-engine")
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send work."""
        return self.warm and not self.draining

    async def start(self, further: Callable[[], Awaitable[None]] | None = None) -> None:
        """Open the cache, load the first model and warm it, and do what else must be done before work is taken. Raises
        what those raise."""
        started = time.perf_counter()
        await self._cache.open()
        await self.sets.start()
        if further is not None:
            await further()
        self.warm = True
        LOG.info("ready", extra={"fields": {"seconds": round(time.perf_counter() - started, 3)}})

    def begin_drain(self) -> None:
        """From now on `ready` is false; work is taken for `notice_s` more, and then none."""
        if not self.draining:
            self.draining, self._notice_until = True, time.monotonic() + self.settings.notice_s

    async def drain(self) -> bool:
        """`begin_drain`, and wait for what is in hand, `drain_s` at most. Returns whether all was finished."""
        self.begin_drain()
        await asyncio.sleep(max(0.0, self._notice_until - time.monotonic()))
        try:
            await asyncio.wait_for(self._idle.wait(), self.settings.drain_s)
        except TimeoutError:
            LOG.warning("drain ended early", extra={"fields": {"requests": self.in_hand}})
        return not self.in_hand

    async def stop(self) -> None:
        """End threads and the cache."""
        self.begin_drain()
        await self.sets.stop(0.0)
        await self._cache.close()
        await self.admission.close()
        if self._fetcher is not None:
            self._fetcher.close()
        self._engine_threads.shutdown(wait=False, cancel_futures=True)

    @property
    def in_hand(self) -> int:
        """Requests that are being worked on."""
        return self._level.value

    @property
    def waiting(self) -> int:
        """Pictures that wait for the engine."""
        return sum(worker.batcher.waiting for worker in self.sets.loaded.values())

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Counts a request that is being worked on. Raises ProblemError where none is taken."""
        if not self.warm:
            raise ProblemError(503, "not_ready", "the model is not loaded yet: ask again", {"retry-after": "1"})
        if time.monotonic() > self._notice_until:
            raise problems.draining()
        if self.in_hand >= self.settings.max_requests:
            raise self.busy()
        self._level.add(1)
        self._idle.clear()
        try:
            yield
        finally:
            self._level.add(-1)
            if not self.in_hand:
                self._idle.set()

    def busy(self) -> ProblemError:
        """429, with the time that the work in hand will take."""
        waits = [worker.batcher.retry_after_s() for worker in self.sets.loaded.values()]
        return problems.busy(max(waits, default=1))

    async def answer(self, request: Request, schema: type[PictureRequest]) -> bytes | Stream:
        """What a task's route does: the response as JSON, or as a stream, which the caller closes. Raises ProblemError
        or OpenBlipError."""
        async with AsyncExitStack() as stack:
            body = await stack.enter_async_context(self.taken(request, schema))
            if not isinstance(body, CaptionRequest) or not body.stream:
                return await unless_gone(request, self.results(body), self.settings.timeout_s)
            stream = await self.stream(stack, body)
            return Stream(await begun(stream, self.settings.timeout_s), stack.pop_all().aclose)

    @asynccontextmanager
    async def taken(self, request: Request, schema: type[Schema]) -> AsyncIterator[Schema]:
        """A request's body; request and body count until the block is left. Raises ProblemError."""
        async with self.request():
            with self._uploads.of(self.busy) as arrived:
                yield await read_body(request, schema, self.settings, arrived)

    async def results(self, body: PictureRequest) -> bytes:
        """A request's response as JSON. Raises ProblemError or OpenBlipError."""
        inquiry = body.inquiry()
        self.check(len(body.images), inquiry)
        async with self.sets.use(body.model) as worker:
            worker.check(inquiry)
            found = await all_of(self._one(worker, image, inquiry) for image in body.images)
            head = json.dumps({"model": worker.blip.name, "revision": worker.revision})[:-1]
        failed = [each for each in found if isinstance(each, Problem)]
        if len(failed) == len(found):  # nothing came of it: the request is what is wrong
            raise ProblemError.of(failed[0])
        pieces = [_failed(each) if isinstance(each, Problem) else each for each in found]
        return head.encode() + b',"results":[' + b",".join(pieces) + b"]}"

    async def stream(self, stack: AsyncExitStack, body: CaptionRequest) -> AsyncGenerator[CaptionPiece | Caption, None]:
        """The pieces of a caption; the model is held, and the search goes on, until the stack is closed."""
        if len(body.images) != 1:
            raise ProblemError(422, "stream", "a stream is of one picture: send one, or leave out stream")
        self.check(1, body.inquiry())
        worker = await stack.enter_async_context(self.sets.use(body.model))
        pieces = worker.stream(await self.content(body.images[0]), body.prompt, body.generate_options())
        stack.push_async_callback(pieces.aclose)
        return pieces

    def check(self, images: int, inquiry: Inquiry) -> None:
        """Raise ProblemError on more than a request may ask."""
        limits, answers = self.settings, inquiry.answers or ()
        pictures = min(limits.max_images, limits.max_queue)  # of more some would never find a place
        if images > pictures:
            raise ProblemError(422, "too_many", f"{images} pictures are more than {pictures}: send fewer")
        if max(map(len, (inquiry.questions, inquiry.texts, inquiry.phrases, answers))) > limits.max_texts:
            most = f"at most {limits.max_texts} questions, texts, phrases or answers: send fewer"
            raise ProblemError(422, "too_many", most)
        if any(
            len(text) > limits.max_text_characters
            for text in (inquiry.prompt, *inquiry.questions, *inquiry.texts, *inquiry.phrases, *answers)
        ):
            raise ProblemError(422, "text", f"a text is longer than {limits.max_text_characters} characters: cut it")
        for options in (inquiry.caption, inquiry.answering):
            self._check_options(options)

    def _check_options(self, options: GenerateOptions | None) -> None:
        limits = self.settings
        if options is not None and max(options.rows, options.num_return) > limits.max_rows:
            raise ProblemError(422, "option", f"at most {limits.max_rows} beams or texts a picture: ask for fewer")
        if options is not None and options.max_length > limits.max_length:
            raise ProblemError(422, "option", f"max_length={options.max_length} is above {limits.max_length}: lower it")

    async def _worker(self, name: str) -> Worker:
        blip, settings = await asyncio.to_thread(self._load, name), self.settings
        worker = Worker(
            blip,
            self._cache,
            ImageLimits(max_bytes=settings.max_body_bytes, max_pixels=settings.max_pixels),
            engine_threads=self._engine_threads,
            max_queue=settings.max_queue,
            max_batch=settings.max_batch,
            encodings_bytes=settings.encodings_bytes,
            count=self.metrics.saw_cache,
            seen=self.metrics.saw_batch,
        )
        await worker.warm()
        return worker

    async def _one(self, worker: Worker, picture: bytes | str, inquiry: Inquiry) -> bytes | Problem:
        """A picture's result as JSON, or why there is none."""
        try:
            examined = await worker.examine(await self.content(picture), inquiry)
        except InputError as error:
            return problems.problem_of(error)
        timing = {"queue_s": examined.queue_s, **asdict(examined.timing)}
        if not examined.cached:
            self.metrics.saw_stages(timing)
        trace.get_current_span().add_event("picture", {"openblip.cached": examined.cached, **timing})
        rest = json.dumps({"cached": examined.cached, "timing": timing, "error": None})
        return examined.analysis[:-1] + b"," + rest[1:].encode()  # one object of two: nothing is parsed again

    async def content(self, picture: bytes | str) -> bytes:
        """The bytes of a picture, fetched where it is an address. Raises ImageError."""
        if isinstance(picture, bytes):
            return picture
        if self._fetcher is None:
            raise ImageError("addresses are not fetched here: send the picture itself, as base64 or a data URL")
        return await self._fetcher.fetch(picture)


def _failed(problem: Problem) -> bytes:
    empty: dict[str, Any] = {
        "captions": [],
        "answers": [],
        "matches": [],
        "embedding": None,
        "groundings": [],
        "cached": False,
        "timing": {},
    }
    return json.dumps({**empty, "error": problem.model_dump()}).encode()


async def all_of(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; where one raises, the others are cancelled, and that is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def unless_gone(request: Request, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """The work's result; it is cancelled when the client goes or the time is up."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        if gone in done:
            raise ProblemError(400, "gone", "the client went away")  # nobody reads it; the log does
        raise _timeout(timeout_s)
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def begun(
    pieces: AsyncGenerator[CaptionPiece | Caption, None], timeout_s: float
) -> AsyncIterator[CaptionPiece | Caption]:
    """The same pieces, of which the first one is there: what is wrong with the request is raised now. All must come in
    that time."""
    end = asyncio.get_running_loop().time() + timeout_s
    first = await _in_time(anext(pieces), end, timeout_s)

    async def rest() -> AsyncIterator[CaptionPiece | Caption]:
        yield first
        with suppress(StopAsyncIteration):
            while True:
                yield await _in_time(anext(pieces), end, timeout_s)

    return rest()


async def _in_time(work: Awaitable[T], end: float, timeout_s: float) -> T:
    try:
        async with asyncio.timeout_at(end):
            return await work
    except TimeoutError:
        raise _timeout(timeout_s) from None


def _timeout(timeout_s: float) -> ProblemError:
    return ProblemError(504, "timeout", f"it took longer than {timeout_s:g} s: ask again, or for less")


async def _disconnected(request: Request) -> None:
    """Ends when the client goes; the body is read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
