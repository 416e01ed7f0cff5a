"""`Client`: the calls of `Blip` against a running `openblip serve`. Knows the connection; what is sent and what comes
back are `requests` and `results`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from openblip.client.requests import (
    Call,
    Post,
    analyze_call,
    answer_call,
    caption_call,
    embed_call,
    embed_texts_call,
    match_call,
    stream_post,
)
from openblip.client.results import Results, ServedModel, error_of, models_of, not_ours, piece_of
from openblip.client.retries import STATUSES, Attempts, Retries
from openblip.errors import InputError, MissingExtra, OpenBlipError, OptionError, ServiceError
from openblip.image import ImageSource
from openblip.types import Analysis, Answer, Caption, CaptionPiece, Embedding, GenerateOptions, Match

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
KEY_VARIABLE = "OPENBLIP_API_KEY"
_CONNECT_S = 5.0


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
        self._http = _connection(url, api_key or os.environ.get(KEY_VARIABLE, ""), timeout_s)
        self.model, self._retries = model, retries
        self._shown = str(self._http.base_url.copy_with(userinfo=b"")).rstrip("/")  # a password is nobody's to read

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
        if options is not None and options.num_return != 1:
            raise OptionError(f"caption gives one text a picture, not num_return={options.num_return}: use captions")
        found = self.captions(images, prompt, options, model=model)
        return Results([texts[0] for texts in found], found.model, found.revision, found.served)

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
        return RemoteCaptionStream(self._begun(stream_post(image, prompt, options, model or self.model)), self._shown)

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
        model: str = "",
    ) -> Results[Analysis]:
        """Everything about each picture at once, as `Blip.analyze`."""
        return self._run(
            analyze_call(
                images, caption=caption, prompt=prompt, options=options, questions=questions, answers=answers,
                texts=texts, embed=embed, model=model or self.model,
            )
        )  # fmt: skip

    def models(self) -> list[ServedModel]:
        """Those that are served, the first of which is asked where none is named."""
        return models_of(_parsed(self._send("GET", "/v1/models", {})))

    def ready(self) -> bool:
        """Whether the service takes work now; False too where it cannot be reached. Not retried."""
        import httpx2

        try:
            return self._http.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def _run(self, call: Call[T]) -> Results[T]:
        return call.read([_parsed(self._send("POST", post.path, post.arguments())) for post in call.posts])

    def _begun(self, post: Post) -> httpx2.Response:
        return self._send("POST", post.path, post.arguments(), stream=True)

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
            except (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ConnectTimeout) as error:
                wait = attempts.wait_s(_unreachable(self._shown, error))
            except httpx2.RequestError as error:  # a time-out among them: it had its time
                raise _unreachable(self._shown, error) from error
            else:
                failure = error_of(response.status_code, _json_or_none(response.content))
                if response.status_code not in STATUSES:
                    raise failure
                wait = attempts.wait_s(failure, response.headers.get("retry-after"))
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
        if self._caption is None:
            raise InputError("the caption has not been read to its end: iterate over all pieces of the stream first")
        return self._caption

    def _run(self) -> Generator[CaptionPiece, None, None]:
        import httpx2

        try:
            for event in httpx2.EventSource(self._response):
                found = piece_of(event.event, json.loads(event.data))
                if isinstance(found, Caption):
                    self._caption = found
                    return
                yield found
        except httpx2.RequestError as error:
            raise _unreachable(self._shown, error) from error
        except ValueError as error:
            if isinstance(error, OpenBlipError):
                raise
            raise not_ours(str(error)) from error
        finally:
            self._response.close()
        raise ServiceError("the stream ended before the caption did: ask again")


def _connection(url: str, api_key: str, timeout_s: float) -> httpx2.Client:
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise MissingExtra("httpx2", "client") from error
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise OptionError(f"{url!r} is no address: give http://host:port") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise OptionError(f"{url!r} is no address of a service: give http://host:port")
    if not timeout_s > 0:
        raise OptionError(f"timeout_s={timeout_s!r} is out of range: give a positive number")
    if not (api_key.isascii() and api_key.isprintable()):
        raise OptionError("the API key holds characters that no key has: give it as it was made")
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
    return httpx2.Client(base_url=parsed, headers=headers, timeout=timeout)


def _parsed(response: httpx2.Response) -> Mapping[str, Any]:
    found = _json_or_none(response.content)
    if not isinstance(found, dict):
        raise not_ours(response.text, response.status_code)
    return found


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _unreachable(url: str, error: Exception) -> ServiceError:
    why = " ".join(str(error).split()) or type(error).__name__
    return ServiceError(f"no answer from {url} ({why}): check that it runs there")
