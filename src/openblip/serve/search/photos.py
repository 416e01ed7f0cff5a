"""What the library's routes do: pictures encoded by the service's model, kept, shown, found. Knows the service and a
library; HTTP is `routes`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np

from openblip.engine import Floats
from openblip.errors import DataError, ImageError, InputError, OptionError, TextError
from openblip.image import ImageLimits, open_header
from openblip.library import Library, Record
from openblip.serve import problems
from openblip.serve.problems import ProblemError
from openblip.serve.search.schemas import (
    Added,
    AddedImage,
    AddRequest,
    LibraryHit,
    LibraryImage,
    LibraryImages,
    SearchRequest,
    SearchResponse,
)
from openblip.serve.search.writer import Addition, Writer, stored_beside
from openblip.serve.service import Service, all_of
from openblip.serve.worker import Worker
from openblip.tasks.inquiries import Inquiry
from openblip.thumbnail import thumbnail
from openblip.types import GenerateOptions

LOG = logging.getLogger("openblip.serve")
T = TypeVar("T")
_THREADS = 4
_MAX_WHERE = 2000


class Photos:
    """The library that OPENBLIP_LIBRARY names, behind the routes; without one every call says how to turn it on."""

    def __init__(self, service: Service) -> None:
        self._service = service
        settings = service.settings
        self._limits = ImageLimits(max_bytes=settings.max_body_bytes, max_pixels=settings.max_pixels)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="openblip-library")
        self._library: Library | None = None
        self._writer: Writer | None = None

    async def start(self) -> None:
        """Open the library, or make an empty one. Raises DataError where it is another model's, MissingExtra."""
        settings = self._service.settings
        if not settings.library:
            return
        async with self._service.sets.use("") as worker:
            library = await self._in_thread(partial(Library.create, settings.library, worker.blip))
        stored = stored_beside(settings.library, settings.library_folder)
        if stored is not None:
            self._writer = Writer(library, stored, self._limits, self._threads)
        self._library = library

    async def stop(self) -> None:
        """Finish what is being written."""
        if self._writer is not None:
            await self._writer.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def add(self, body: AddRequest) -> Added:
        """Raises ProblemError where no picture could be used, or more is asked than a request may."""
        self._opened()
        self._check(body)
        inquiry = Inquiry(embed=True, caption=GenerateOptions() if body.caption else None)
        captions = body.captions or [""] * len(body.images)
        async with self._service.sets.use("") as worker:
            worker.check(inquiry)
            found = await all_of(
                self._added(worker, image, caption.strip(), inquiry)
                for image, caption in zip(body.images, captions, strict=True)
            )
        errors = [each.error for each in found if each.error is not None]
        if len(errors) == len(found):
            raise ProblemError.of(errors[0])
        return Added(results=found)

    async def page(self, where: str, after: str, limit: int) -> LibraryImages:
        """Raises ProblemError, or OptionError on a filter that says nothing."""
        library = self._opened()
        _check_texts(where)
        with _as_problems():
            records = await self._in_thread(partial(library.page, where, after, limit))
            total = await self._in_thread(library.__len__)
        last = records[-1].id if len(records) == limit else ""
        images = [LibraryImage(**LibraryImage.values(record)) for record in records]
        return LibraryImages(images=images, after=last, total=total)

    async def image(self, identity: str) -> LibraryImage:
        """Raises ProblemError where there is none."""
        return LibraryImage(**LibraryImage.values(await self._record(identity)))

    async def thumbnail(self, identity: str, side: int) -> tuple[str, Callable[[], Awaitable[bytes]]]:
        """What the thumbnail follows from, and how to have it as a JPEG. Raises ProblemError."""
        record = await self._record(identity)
        data = partial(self._read, record, lambda data: thumbnail(data, side, self._limits))
        return f"{record.facts.sha256[:32]}-{side}", data

    async def picture(self, identity: str) -> tuple[str, Callable[[], Awaitable[tuple[bytes, str]]]]:
        """The same of the picture itself, with its media type."""
        record = await self._record(identity)
        return record.facts.sha256[:32], partial(self._read, record, lambda data: (data, _media_type(data)))

    async def delete(self, identity: str) -> None:
        """Raises ProblemError where there is none."""
        self._opened()
        with _as_problems():
            if not await self._writing().delete(identity):
                raise _unknown(identity)

    async def search(self, body: SearchRequest) -> SearchResponse:
        """The query's picture is encoded with others'; the rest takes its turn in a thread that computes."""
        library, query, options = self._opened(), body.query(), body.options()
        if max(map(len, (body.words, body.where))) > min(self._service.settings.max_text_characters, _MAX_WHERE):
            raise ProblemError(422, "text", "the words or the filter are too long: cut them")
        _check_texts(body.words, body.where)
        async with self._service.sets.use("") as worker:
            worker.batcher.admit()
            picture: Floats | None = None
            if body.images:
                picture, _ = await self._seen(worker, body.images[0], Inquiry(embed=True))
            with _as_problems():
                found = await worker.batcher.run(partial(library.search, worker.blip, query, options, picture=picture))
            name, revision = worker.blip.name, worker.revision
        hits = [LibraryHit.of(hit) for hit in found.hits]
        return SearchResponse(
            model=name, revision=revision, hits=hits, reranked=found.reranked, searched_ms=found.searched_ms,
            reranked_ms=found.reranked_ms,
        )  # fmt: skip

    def _opened(self) -> Library:
        if not self._service.settings.library:
            raise ProblemError(
                404, "no_library", "this service has no photo library: start it with OPENBLIP_LIBRARY=photos.lance"
            )
        if self._library is None:
            raise ProblemError(503, "not_ready", "the library is not open yet: ask again", {"retry-after": "1"})
        return self._library

    def _writing(self) -> Writer:
        if self._writer is None:
            detail = "a library on object storage takes pictures only where OPENBLIP_LIBRARY_FOLDER is set: index them"
            raise ProblemError(422, "library", detail)
        return self._writer

    def _check(self, body: AddRequest) -> None:
        self._service.check(len(body.images), Inquiry())
        self._writing()
        if self._opened().holds != "photos":
            raise InputError(
                "the library is of a catalogue, which pictures are not added to: index the catalogue again"
            )
        if body.captions and len(body.captions) != len(body.images):
            raise InputError(
                f"{len(body.captions)} captions do not go with {len(body.images)} pictures: give one each, or none"
            )
        _check_texts(*body.captions)
        most = self._service.settings.max_text_characters
        if any(len(each) > most for each in body.captions):
            raise OptionError(f"a caption is longer than {most} characters: cut it")

    async def _added(self, worker: Worker, picture: bytes | str, caption: str, inquiry: Inquiry) -> AddedImage:
        try:
            data = await self._service.content(picture)
            vector, proposed = await self._seen(worker, data, inquiry)
            with _as_problems():
                record, created = await self._writing().add(Addition(data, vector, caption or proposed))
        except InputError as error:
            return AddedImage(error=problems.problem_of(error))
        return AddedImage(image=LibraryImage(**LibraryImage.values(record)), created=created)

    async def _seen(self, worker: Worker, picture: bytes | str, inquiry: Inquiry) -> tuple[Floats, str]:
        """The unit vector of a picture, and its caption where one is asked for. Raises ImageError."""
        examined = await worker.examine(await self._service.content(picture), inquiry)
        analysis = json.loads(examined.analysis)
        captions = analysis["captions"]
        vector = np.asarray(analysis["embedding"]["vector"], np.float32)
        return vector, captions[0]["text"] if captions else ""

    async def _record(self, identity: str) -> Record:
        library = self._opened()
        with _as_problems():
            record = await self._in_thread(partial(library.get, identity))
        if record is None:
            raise _unknown(identity)
        return record

    async def _read(self, record: Record, made: Callable[[bytes], T]) -> T:
        library = self._opened()
        try:
            return await self._in_thread(lambda: made(library.picture(record)))
        except (ImageError, DataError):
            LOG.warning("a picture of the library is gone", extra={"fields": {"picture": record.name}})
            detail = f"the file of {record.id} is gone, or is no picture any more: index again"
            raise ProblemError(404, "picture_gone", detail) from None

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _check_texts(*texts: str) -> None:
    """Raise TextError on half a character, which JSON can write and nothing can keep."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(f"a text holds half a character (at place {error.start}): send whole ones") from None


def _unknown(identity: str) -> ProblemError:
    return ProblemError(404, "no_picture", f"there is no picture {identity[:40]!r} in the library: give the id of one")


@contextmanager
def _as_problems() -> Iterator[None]:
    """A library that cannot be read or written: clients are told that it is so, the log why."""
    try:
        yield
    except DataError as error:
        LOG.warning("the library failed", extra={"fields": {"error": str(error)}})
        detail = "the library cannot be read or written now: ask again; the service's log says why"
        raise ProblemError(503, "library", detail, {"retry-after": "1"}) from error


def _media_type(data: bytes) -> str:
    return f"image/{str(open_header(data).format).lower()}"
