"""Pictures and what is asked of them -> requests of the service. Knows its routes and forms, no connection."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar

from openblip.client.results import Results, results_of, vectors_of
from openblip.errors import ImageError, InputError, OptionError
from openblip.image import ImageSource, is_url, load_image, shown_name
from openblip.pictures import as_list
from openblip.types import Analysis, Answer, Caption, Embedding, GenerateOptions, Grounding, GroundOptions, Match

T = TypeVar("T")
Fields = Mapping[str, Any]
_PICTURES, _BYTES, _TEXTS = 8, 16_000_000, 32  # of one request; a single picture may be larger


@dataclass(frozen=True, slots=True)
class Post:
    """One request: a form with files, or JSON where there are none."""

    path: str
    fields: Fields
    files: tuple[bytes, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """Those of httpx2's `request`."""
        if not self.files:
            return {"json": self.fields}
        form = {name: _in_form(value) for name, value in self.fields.items()}
        return {"data": form, "files": [("images", ("picture", file)) for file in self.files]}


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of the client: its requests, read from disk as they are sent, and what their answers mean."""

    posts: Iterator[Post]
    read: Callable[[Sequence[Mapping[str, Any]]], Results[T]]


def caption_call(
    images: ImageSource | Sequence[ImageSource], prompt: str, options: GenerateOptions | None, model: str
) -> Call[list[Caption]]:
    """`Blip.captions`, with one prompt for all."""
    fields = _fields(model, prompt=prompt, options=options)
    return _call(posts_of("caption", as_list(images), fields), lambda found: [list(found.captions)])


def check_one_each(options: GenerateOptions | None) -> None:
    """Raise OptionError where a picture would get more than one caption."""
    if options is not None and options.num_return != 1:
        raise OptionError(f"caption gives one text a picture, not num_return={options.num_return}: use captions")


def stream_post(image: ImageSource, prompt: str, options: GenerateOptions | None, model: str) -> Post:
    """`Blip.caption_stream`. Raises InputError where there is not one picture."""
    sources = as_list(image)
    if len(sources) != 1:
        raise InputError(f"caption_stream takes one picture, not {len(sources)}: call it for each")
    return _post(
        "caption", [picture_of(sources[0])], {**_fields(model, prompt=prompt, options=options), "stream": True}
    )


def answer_call(
    images: ImageSource | Sequence[ImageSource],
    questions: str | Sequence[str],
    options: GenerateOptions | None,
    answers: Sequence[str] | None,
    model: str,
) -> Call[Answer]:
    """`Blip.answer`."""
    fields = _fields(model, options=options) | ({} if answers is None else {"answers": list(answers)})
    return _call(_of_pairs("answer", "questions", images, questions, fields), lambda found: found.answers)


def match_call(images: ImageSource | Sequence[ImageSource], texts: str | Sequence[str], model: str) -> Call[Match]:
    """`Blip.match`."""
    return _call(_of_pairs("match", "texts", images, texts, _fields(model)), lambda found: found.matches)


def embed_call(images: ImageSource | Sequence[ImageSource], model: str) -> Call[Embedding]:
    """`Blip.embed_images`, as `Embedding`s."""
    posts = posts_of("embed", as_list(images), _fields(model))
    return _call(posts, lambda found: [] if found.embedding is None else [found.embedding])


def embed_texts_call(texts: str | Sequence[str], model: str) -> Call[Embedding]:
    """`Blip.embed_texts`, as `Embedding`s."""
    posts = (Post("/v1/embeddings", _fields(model) | {"input": each}) for each in _slices(as_texts(texts), _TEXTS))
    return Call(posts, vectors_of)


def analyze_call(
    images: ImageSource | Sequence[ImageSource],
    *,
    caption: bool,
    prompt: str,
    options: GenerateOptions | None,
    questions: str | Sequence[str],
    answers: Sequence[str] | None,
    texts: str | Sequence[str],
    embed: bool,
    ground: bool,
    phrases: str | Sequence[str] | None,
    ground_options: GroundOptions | None,
    model: str,
) -> Call[Analysis]:
    """`Blip.analyze`."""
    fields = _fields(model, prompt=prompt, options=options) | {"caption": caption, "embed": embed}
    fields |= {"questions": as_texts(questions), "texts": as_texts(texts)}
    fields |= {} if answers is None else {"answers": list(answers)}
    fields |= {"ground": ground, **_grounding_fields(phrases, ground_options)}
    return _call(posts_of("analyze", as_list(images), fields), lambda found: [found])


def ground_call(
    images: ImageSource | Sequence[ImageSource],
    phrases: str | Sequence[str] | None,
    options: GroundOptions | None,
    model: str,
) -> Call[list[Grounding]]:
    """`Blip.ground`."""
    fields = _fields(model) | _grounding_fields(phrases, options)
    return _call(posts_of("ground", as_list(images), fields), lambda found: [list(found.groundings)])


def _grounding_fields(phrases: str | Sequence[str] | None, options: GroundOptions | None) -> dict[str, Any]:
    """Those that are not the service's defaults."""
    fields: dict[str, Any] = {"phrases": as_texts(phrases)} if phrases else {}
    if options is not None:
        fields |= {"threshold": options.threshold} | ({} if options.windows is None else {"windows": options.windows})
    return fields


def _call(posts: Iterator[Post], items: Callable[[Analysis], Sequence[T]]) -> Call[T]:
    return Call(posts, lambda answers: results_of(answers, items))


def _fields(model: str, *, prompt: str = "", options: GenerateOptions | None = None) -> dict[str, Any]:
    """Those that are not the service's defaults."""
    given = {"model": model, "prompt": prompt, "options": None if options is None else asdict(options)}
    return {name: value for name, value in given.items() if value}


def posts_of(task: str, sources: Sequence[ImageSource], fields: Fields) -> Iterator[Post]:
    """Requests of one route about any number of pictures, some at a time."""
    group: list[bytes | str] = []
    for picture in map(picture_of, sources):
        if group and (len(group) == _PICTURES or sum(map(len, group)) + len(picture) > _BYTES):
            yield _post(task, group, fields)
            group = []
        group.append(picture)
    if group:
        yield _post(task, group, fields)


def _of_pairs(
    task: str, name: str, images: ImageSource | Sequence[ImageSource], given: str | Sequence[str], fields: Fields
) -> Iterator[Post]:
    """Pairs in order, or one of either with many of the other. Raises InputError where they do not go together."""
    sources, texts = as_list(images), as_texts(given)
    if len(sources) != len(texts) and 1 not in (len(sources), len(texts)):
        raise InputError(
            f"{len(texts)} texts do not go with {len(sources)} pictures: give as many of each, or one of either with "
            "many"
        )
    return _pairs(task, name, sources, texts, fields)


def _pairs(
    task: str, name: str, sources: Sequence[ImageSource], texts: Sequence[str], fields: Fields
) -> Iterator[Post]:
    if len(sources) == 1:
        pictures = [picture_of(sources[0])]
        for some_texts in _slices(texts, _TEXTS):
            yield _post(task, pictures, {**fields, name: some_texts})
    elif len(texts) == 1:
        yield from posts_of(task, sources, {**fields, name: texts})
    else:
        for source, text in zip(sources, texts, strict=True):
            yield _post(task, [picture_of(source)], {**fields, name: [text]})


def _post(task: str, pictures: Sequence[bytes | str], fields: Fields) -> Post:
    if all(isinstance(picture, bytes) for picture in pictures):
        return Post(f"/v1/{task}", fields, tuple(picture for picture in pictures if isinstance(picture, bytes)))
    images = [each if isinstance(each, str) else base64.b64encode(each).decode() for each in pictures]
    return Post(f"/v1/{task}", {**fields, "images": images})


def picture_of(source: ImageSource) -> bytes | str:
    """A file's bytes as they are; the PNG of a PIL image or an array; an address, which the service may fetch."""
    if isinstance(source, str) and is_url(source):
        return source
    if isinstance(source, (str, Path)):
        try:
            return Path(source).read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ImageError(f"cannot read {shown_name(source)}: {why}: check the path") from error
    if isinstance(source, bytes):
        return source
    file = BytesIO()
    load_image(source).save(file, "PNG")
    return file.getvalue()


def as_texts(texts: str | Sequence[str]) -> list[str]:
    """One counts as a list of one."""
    return [texts] if isinstance(texts, str) else list(texts)


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _in_form(value: Any) -> Any:
    """Lists are fields that are there several times; of the rest a form has texts alone."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
