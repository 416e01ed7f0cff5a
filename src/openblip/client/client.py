"""`Client`: the calls of `Blip` against a running `openblip serve`. Knows the connection; what is sent and what comes
back are `requests` and `results`."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
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


class Client:
    """A service at an address: `Client("http://localhost:8000").caption("photo.jpg")`.

    The methods take and give what those of `Blip` do: pictures are paths, bytes, PIL images or arrays, or a list of
    them; a file goes as it is, an image or array as PNG, and an http(s) address as that, for a service that fetches
    them. What comes back is a list that also tells the model's revision and what was cached (`Results`).

    model: asked unless a call names another; "" is the service's first. api_key: sent with every request, else
    OPENBLIP_API_KEY where it is set. timeout_s: of one try. retries: for what may pass: no connection, 429, 502, 503
    and 504.

    Every method raises what `Blip` raises on its input (ImageError, TextError, OptionError, InputError, ModelNotFound,
    ModelError) and ServiceError where the service cannot be reached or does not serve. One client may be used by
    several threads. Raises OptionError on an address or key that cannot be one, and MissingExtra.
    """

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

        self._http = httpx2.Client(**arguments)
        self.model, self._retries, self._shown = model, retries, shown(self._http.base_url)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._http.close()

    def caption(
        self,
        images: ImageSource | Sequence[ImageSource],
        prompt: str = "",
        options: GenerateOptions | None = None,
        *,
        model: str = "",
    ) -> Results[Caption]:
        """One caption a picture. prompt: what all of them start with."""
        check_one_each(options)
        return one_each(self.captions(images, prompt, options, model=model))

    def captions(
        self,
        images: ImageSource | Sequence[ImageSource],
        prompt: str = "",
        options: GenerateOptions | None = None,
        *,
        model: str = "",
    ) -> Results[list[Caption]]:
        """`options.num_return` captions a picture."""
        return self._run(caption_call(images, prompt, options, model or self.model))

    def caption_stream(
        self, image: ImageSource, prompt: str = "", options: GenerateOptions | None = None, *, model: str = ""
    ) -> RemoteCaptionStream:
        """The caption of one picture in pieces, as it grows. Retried until it begins, and not after."""
        post = stream_post(image, prompt, options, model or self.model)
        return RemoteCaptionStream(self._send("POST", post.path, post.arguments(), stream=True), self._shown)

    def answer(
        self,
        images: ImageSource | Sequence[ImageSource],
        questions: str | Sequence[str],
        options: GenerateOptions | None = None,
        answers: Sequence[str] | None = None,
        *,
        model: str = "",
    ) -> Results[Answer]:
        """Answers to questions: pairs in order, or one of either with many of the other."""
        return self._run(answer_call(images, questions, options, answers, model or self.model))

    def match(
        self, images: ImageSource | Sequence[ImageSource], texts: str | Sequence[str], *, model: str = ""
    ) -> Results[Match]:
        """How well each text describes its picture: pairs in order, or one of either with many of the other."""
        return self._run(match_call(images, texts, model or self.model))

    def embed(self, images: ImageSource | Sequence[ImageSource], *, model: str = "") -> Results[Embedding]:
        """Unit vectors of pictures."""
        return self._run(embed_call(images, model or self.model))

    def ground(
        self,
        images: ImageSource | Sequence[ImageSource],
        phrases: str | Sequence[str] | None = None,
        options: GroundOptions | None = None,
        *,
        model: str = "",
    ) -> Results[list[Grounding]]:
        """Where in each picture each phrase is, as `Blip.ground`."""
        return self._run(ground_call(images, phrases, options, model or self.model))

    def embed_texts(self, texts: str | Sequence[str], *, model: str = "") -> Results[Embedding]:
        """Unit vectors of texts."""
        return self._run(embed_texts_call(texts, model or self.model))

    def analyze(
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
        return self._run(
            analyze_call(
                images, caption=caption, prompt=prompt, options=options, questions=questions, answers=answers,
                texts=texts, embed=embed, ground=ground, phrases=phrases, ground_options=ground_options,
                model=model or self.model,
            )
        )  # fmt: skip

    def search(
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
        post = search_post(
            words, image, like=like, weight=weight, by_picture=by_picture, limit=limit, where=where, rerank=rerank,
            budget_ms=budget_ms, hybrid=hybrid,
        )  # fmt: skip
        return found_of(parsed_answer(self._send("POST", post.path, post.arguments())))

    def add_images(
        self, images: ImageSource | Sequence[ImageSource], captions: str | Sequence[str] = (), *, caption: bool = False
    ) -> list[LibraryImage]:
        """Keep pictures in the service's library; those that are there stay. captions: what is known of them, one each;
        caption: give those without one the model's."""
        found: list[LibraryImage] = []
        for post in add_posts(images, captions, caption):
            found += added_of(parsed_answer(self._send("POST", post.path, post.arguments())))
        return found

    def images(self, where: str = "") -> Iterator[LibraryImage]:
        """The pictures of the library that a filter lets through, in the order of their ids, asked for as they are
        read."""
        after, ended = "", False
        while not ended:
            asked = {"params": {"where": where, "after": after, "limit": PAGE}}
            page, after = page_of(parsed_answer(self._send("GET", "/v1/images", asked)))
            yield from page
            ended = not after

    def thumbnail(self, identity: str, side: int = 320) -> bytes:
        """A JPEG whose longer side has so many pixels."""
        answer = self._send("GET", f"/v1/images/{identity}/thumbnail", {"params": {"side": side}})
        return answer.content

    def delete_image(self, identity: str) -> None:
        """Take a picture out of the library; its file too where it came over HTTP. Raises ServiceError where there is
        none."""
        self._send("DELETE", f"/v1/images/{identity}", {})

    def models(self) -> list[ServedModel]:
        """Those that are served, the first of which is asked where none is named."""
        return models_of(parsed_answer(self._send("GET", "/v1/models", {})))

    def ready(self) -> bool:
        """Whether the service takes work now; False too where it cannot be reached. Not retried."""
        import httpx2

        try:
            return self._http.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def _run(self, call: Call[T]) -> Results[T]:
        return call.read([parsed_answer(self._send("POST", post.path, post.arguments())) for post in call.posts])

    def _send(self, method: str, path: str, arguments: dict[str, Any], *, stream: bool = False) -> httpx2.Response:
        """A good answer, after as many tries as it takes and are allowed."""
        import httpx2

        attempts = Attempts(self._retries)
        while True:
            try:
                request = self._http.build_request(method, path, **arguments)
                response = self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                try:
                    response.read()
                finally:
                    response.close()
            except httpx2.RequestError as error:
                wait = wait_after_error(attempts, self._shown, error)
            else:
                wait = wait_after_refusal(attempts, response)
            time.sleep(wait)


class RemoteCaptionStream:
    """An iterator over a growing caption: `CaptionPiece`s, whose texts joined are the caption's.

    After the last piece `caption` is the whole. Leaving its `with` block, or `close`, ends the search at the service.
    Raises ServiceError where the connection breaks off, and what the service says is wrong.
    """

    def __init__(self, response: httpx2.Response, shown: str) -> None:
        self._response, self._shown = response, shown
        self._caption: Caption | None = None
        self._pieces = self._run()

    def __iter__(self) -> RemoteCaptionStream:
        return self

    def __next__(self) -> CaptionPiece:
        return next(self._pieces)

    def __enter__(self) -> RemoteCaptionStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """No further piece comes."""
        self._pieces.close()
        self._response.close()

    @property
    def caption(self) -> Caption:
        """The whole caption. Raises InputError before the last piece was read."""
        return read_caption(self._caption)

    def _run(self) -> Generator[CaptionPiece, None, None]:
        import httpx2

        try:
            for event in httpx2.EventSource(self._response):
                found = piece_of_event(event.event, event.data)
                if isinstance(found, Caption):
                    self._caption = found
                    return
                yield found
        except httpx2.RequestError as error:
            raise unreachable(self._shown, error) from error
        finally:
            self._response.close()
        raise broken_off()
