"""The photo library of a service: requests and what their answers mean. Knows its routes, no connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from openblip.client.requests import Post, as_texts, picture_of, posts_of
from openblip.client.results import error_of, known, not_ours
from openblip.errors import InputError, OpenBlipError
from openblip.image import ImageSource
from openblip.pictures import as_list

PAGE = 500


@dataclass(frozen=True, slots=True)
class ProductFields:
    """What a catalogue says of an item. item: its own id; fields: its other columns."""

    item: str
    title: str
    description: str
    price: float | None
    fields: Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """A picture of the library. name: of its file, its key in a shard, or an item's title; size: bytes; taken: by the
    camera's clock; modified: its file, in UTC; thumbnail, picture: where they are to be had, empty of an item without a
    picture; product: of a catalogue."""

    id: str
    name: str
    width: int
    height: int
    size: int
    taken: datetime | None
    modified: datetime
    caption: str
    sha256: str
    thumbnail: str
    picture: str
    product: ProductFields | None = None


@dataclass(frozen=True, slots=True)
class LibraryHit:
    """A picture that was found. score: by which the hits are ordered; similarity: cosine to the query (ITC);
    probability: that the words describe it (ITM), where it was looked at again; text_score: of its caption (BM25)."""

    image: LibraryImage
    score: float
    similarity: float
    probability: float | None
    text_score: float | None


@dataclass(frozen=True, slots=True)
class LibraryFound:
    """The hits of a search, best first. reranked: how many pictures ITM looked at."""

    hits: tuple[LibraryHit, ...]
    reranked: int
    searched_ms: float
    reranked_ms: float
    model: str
    revision: str


def search_post(
    words: str,
    image: ImageSource | None,
    *,
    like: str,
    weight: float | None,
    by_picture: float | None,
    limit: int,
    where: str,
    rerank: int | None,
    budget_ms: float,
    hybrid: bool | None,
) -> Post:
    """A search. Raises ImageError on a picture that cannot be read."""
    fields: dict[str, Any] = {
        "words": words, "like": like, "limit": limit, "where": where, "budget_ms": budget_ms,
    }  # fmt: skip
    chosen = {"weight": weight, "by_picture": by_picture, "rerank": rerank, "hybrid": hybrid}
    fields |= {name: value for name, value in chosen.items() if value is not None}
    pictures = [] if image is None else [picture_of(image)]
    if len(pictures) == 1 and isinstance(pictures[0], bytes):
        return Post("/v1/search", fields, (pictures[0],))
    return Post("/v1/search", {**fields, "images": pictures})


def add_posts(
    images: ImageSource | Sequence[ImageSource], captions: str | Sequence[str], caption: bool
) -> Iterator[Post]:
    """Additions, some pictures at a time. Raises InputError where captions do not go with the pictures."""
    sources, texts = as_list(images), as_texts(captions)
    if texts and len(texts) != len(sources):
        raise InputError(f"{len(texts)} captions do not go with {len(sources)} pictures: give one each, or none")
    if not texts:
        return posts_of("images", sources, {"caption": caption})
    return (
        each
        for source, text in zip(sources, texts, strict=True)
        for each in posts_of("images", [source], {"caption": caption, "captions": [text]})
    )


def added_of(answer: Mapping[str, Any]) -> list[LibraryImage]:
    """Raises what the service says is wrong with the first picture that it could not use."""
    try:
        for each in answer["results"]:
            if each["error"] is not None:
                raise error_of(each["error"]["status"], each["error"])
        return [image_of(each["image"]) for each in answer["results"]]
    except (KeyError, TypeError) as error:
        raise not_ours(str(answer)) from error


def image_of(content: Mapping[str, Any]) -> LibraryImage:
    """Raises ServiceError where it is not the service's."""
    try:
        moments = {
            name: None if content[name] is None else datetime.fromisoformat(content[name])
            for name in ("taken", "modified")
        }
        product = content.get("product")
        whole = {**content, **moments, "product": None if product is None else known(ProductFields, product)}
        return known(LibraryImage, whole)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, OpenBlipError):
            raise
        raise not_ours(str(content)) from error


def page_of(answer: Mapping[str, Any]) -> tuple[list[LibraryImage], str]:
    """A page of the library, and what the next is asked with."""
    try:
        return [image_of(each) for each in answer["images"]], str(answer["after"])
    except (KeyError, TypeError) as error:
        raise not_ours(str(answer)) from error


def found_of(answer: Mapping[str, Any]) -> LibraryFound:
    """Raises ServiceError where it is not the service's."""
    try:
        hits = tuple(
            LibraryHit(image_of(each), *(each[name] for name in ("score", "similarity", "probability", "text_score")))
            for each in answer["hits"]
        )
        return known(LibraryFound, {**answer, "hits": hits})
    except (KeyError, TypeError) as error:
        raise not_ours(str(answer)) from error
