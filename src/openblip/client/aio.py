"""`Client` for asyncio. Knows the connection; what is sent and what comes back are `requests` and `results`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from openblip.client.connection import (
    arguments_of,
    parsed_answer,
    shown,
    unreachable,
    wait_after_error,
    wait_after_refusal,
)
from openblip.client.library import (
    PAGE,
    LibraryFound,
    LibraryImage,
    add_posts,
    added_of,
    found_of,
    page_of,
    search_post,
)
from openblip.client.requests import (
    Call,
    analyze_call,
    answer_call,
    caption_call,
    check_one_each,
    embed_call,
    embed_texts_call,
    ground_call,
    match_call,
    stream_post,
)
from openblip.client.results import Results, ServedModel, broken_off, models_of, one_each, piece_of_event, read_caption
from openblip.client.retries import Attempts, Retries
from openblip.image import ImageSource
from openblip.types import (
    Analysis,
    Answer,
    Caption,
    CaptionPiece,
    Embedding,
    GenerateOptions,
    Grounding,
    GroundOptions,
    Match,
)

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same calls, awaited. Files are read in a thread."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        model: str = "",
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries = Retries(),  # noqa: B008 (frozen)
    ) -> None:
        arguments = arguments_of(url, api_key, timeout_s)
        import httpx2

        self._http = httpx2.AsyncClient(**arguments)
        self.model, self._retries, self._shown = model, retries, shown(self._http.base_url)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give up the connections."""
        await self._http.aclose()

    async def caption(
        self,
        images: ImageSource | Sequence[ImageSource],
        prompt: str = "",
        options: GenerateOptions | None = None,
        *,
        model: str = "",
    ) -> Results[Caption]:
        """One caption a picture. prompt: what all of them start with."""
        check_one_each(options)
        return one_each(await self.captions(images, prompt, options, model=model))

    async def captions(
        self,
        images: ImageSource | Sequence[ImageSource],
        prompt: str = "",
        options: GenerateOptions | None = None,
        *,
        model: str = "",
    ) -> Results[list[Caption]]:
        """`options.num_return` captions a picture."""
        return await self._run(caption_call(images, prompt, options, model or self.model))

    async def caption_stream(
        self, image: ImageSource, prompt: str = "", options: GenerateOptions | None = None, *, model: str = ""
    ) -> AsyncCaptionStream:
        """The caption of one picture in pieces, as it grows. Retried until it begins, and not after."""
        post = await asyncio.to_thread(stream_post, image, prompt, options, model or self.model)
        return AsyncCaptionStream(await self._send("POST", post.path, post.arguments(), stream=True), self._shown)

    async def answer(
        self,
        images: ImageSource | Sequence[ImageSource],
        questions: str | Sequence[str],
        options: GenerateOptions | None = None,
        answers: Sequence[str] | None = None,
        *,
        model: str = "",
    ) -> Results[Answer]:
        """Answers to questions: pairs in order, or one of either with many of the other."""
        return await self._run(answer_call(images, questions, options, answers, model or self.model))

    async def match(
        self, images: ImageSource | Sequence[ImageSource], texts: str | Sequence[str], *, model: str = ""
    ) -> Results[Match]:
        """How well each text describes its picture: pairs in order, or one of either with many of the other."""
        return await self._run(match_call(images, texts, model or self.model))

    async def embed(self, images: ImageSource | Sequence[ImageSource], *, model: str = "") -> Results[Embedding]:
        """Unit vectors of pictures."""
        return await self._run(embed_call(images, model or self.model))

    async def ground(
        self,
        images: ImageSource | Sequence[ImageSource],
        phrases: str | Sequence[str] | None = None,
        options: GroundOptions | None = None,
        *,
        model: str = "",
    ) -> Results[list[Grounding]]:
        """Where in each picture each phrase is, as `Blip.ground`."""
        return await self._run(ground_call(images, phrases, options, model or self.model))

    async def embed_texts(self, texts: str | Sequence[str], *, model: str = "") -> Results[Embedding]:
        """Unit vectors of texts."""
        return await self._run(embed_texts_call(texts, model or self.model))

    async def analyze(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        caption: bool = False,
        prompt: str = "",
        options: GenerateOptions | None = None,
        questions: str | Sequence[str] = (),
        answers: Sequence[str] | None = None,
        texts: str | Sequence[str] = (),
        embed: bool = False,
        ground: bool = False,
        phrases: str | Sequence[str] | None = None,
        ground_options: GroundOptions | None = None,
        model: str = "",
    ) -> Results[Analysis]:
        """Everything about each picture at once, as `Blip.analyze`."""
        return await self._run(
            analyze_call(
                images, caption=caption, prompt=prompt, options=options, questions=questions, answers=answers,
                texts=texts, embed=embed, ground=ground, phrases=phrases, ground_options=ground_options,
                model=model or self.model,
            )
        )  # fmt: skip

    async def search(
        self,
        words: str = "",
        image: ImageSource | None = None,
        *,
        like: str = "",
        weight: float | None = None,
        by_picture: float | None = None,
        limit: int = 10,
        where: str = "",
        rerank: int | None = None,
        budget_ms: float = 300.0,
        hybrid: bool | None = None,
    ) -> LibraryFound:
        """Pictures of the service's library by words, a picture, or both; see `openblip.library.Query` and
        `SearchOptions`."""
        post = await asyncio.to_thread(
            search_post,
            words, image, like=like, weight=weight, by_picture=by_picture, limit=limit, where=where, rerank=rerank,
            budget_ms=budget_ms, hybrid=hybrid,
        )  # fmt: skip
        return found_of(parsed_answer(await self._send("POST", post.path, post.arguments())))

    async def add_images(
        self, images: ImageSource | Sequence[ImageSource], captions: str | Sequence[str] = (), *, caption: bool = False
    ) -> list[LibraryImage]:
        """Keep pictures in the service's library; those that are there stay. captions: what is known of them, one each;
        caption: give those without one the model's."""
        found: list[LibraryImage] = []
        posts = add_posts(images, captions, caption)
        while (post := await asyncio.to_thread(next, posts, None)) is not None:
            found += added_of(parsed_answer(await self._send("POST", post.path, post.arguments())))
        return found

    async def images(self, where: str = "") -> AsyncIterator[LibraryImage]:
        """The pictures of the library that a filter lets through, in the order of their ids, asked for as they are
        read."""
        after, ended = "", False
        while not ended:
            asked = {"params": {"where": where, "after": after, "limit": PAGE}}
            page, after = page_of(parsed_answer(await self._send("GET", "/v1/images", asked)))
            for each in page:
                yield each
            ended = not after

    async def thumbnail(self, identity: str, side: int = 320) -> bytes:
        """A JPEG whose longer side has so many pixels."""
        answer = await self._send("GET", f"/v1/images/{identity}/thumbnail", {"params": {"side": side}})
        return answer.content

    async def delete_image(self, identity: str) -> None:
        """Take a picture out of the library; its file too where it came over HTTP. Raises ServiceError where there is
        none."""
        await self._send("DELETE", f"/v1/images/{identity}", {})

    async def models(self) -> list[ServedModel]:
        """Those that are served, the first of which is asked where none is named."""
        return models_of(parsed_answer(await self._send("GET", "/v1/models", {})))

    async def ready(self) -> bool:
        """Whether the service takes work now; False too where it cannot be reached. Not retried."""
        import httpx2

        try:
            return (await self._http.get("/readyz")).status_code == 200
        except httpx2.HTTPError:
            return False

    async def _run(self, call: Call[T]) -> Results[T]:
        answers = []
        while (post := await asyncio.to_thread(next, call.posts, None)) is not None:
            answers.append(parsed_answer(await self._send("POST", post.path, post.arguments())))
        return call.read(answers)

    async def _send(
        self, method: str, path: str, arguments: dict[str, Any], *, stream: bool = False
    ) -> httpx2.Response:
        """A good answer, after as many tries as it takes and are allowed."""
        import httpx2

        attempts = Attempts(self._retries)
        while True:
            try:
                request = self._http.build_request(method, path, **arguments)
                response = await self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                try:
                    await response.aread()
                finally:
                    await response.aclose()
            except httpx2.RequestError as error:
                wait = wait_after_error(attempts, self._shown, error)
            else:
                wait = wait_after_refusal(attempts, response)
            await asyncio.sleep(wait)


class AsyncCaptionStream:
    """`RemoteCaptionStream` for asyncio: `async with` and `async for`."""

    def __init__(self, response: httpx2.Response, shown: str) -> None:
        self._response, self._shown = response, shown
        self._caption: Caption | None = None
        self._pieces = self._run()

    def __aiter__(self) -> AsyncCaptionStream:
        return self

    async def __anext__(self) -> CaptionPiece:
        return await anext(self._pieces)

    async def __aenter__(self) -> AsyncCaptionStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """No further piece comes."""
        await self._pieces.aclose()
        await self._response.aclose()

    @property
    def caption(self) -> Caption:
        """The whole caption. Raises InputError before the last piece was read."""
        return read_caption(self._caption)

    async def _run(self) -> AsyncGenerator[CaptionPiece, None]:
        import httpx2

        try:
            async for event in httpx2.EventSource(self._response):
                found = piece_of_event(event.event, event.data)
                if isinstance(found, Caption):
                    self._caption = found
                    return
                yield found
        except httpx2.RequestError as error:
            raise unreachable(self._shown, error) from error
        finally:
            await self._response.aclose()
        raise broken_off()
