"""What clients send to the library's routes and get from them. Knows pydantic, no model and no LanceDB."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from openblip.library import Hit, Query, Record, SearchOptions
from openblip.library.products import Product
from openblip.serve.problems import Problem
from openblip.serve.schemas import Picture

MAX_LIMIT, MAX_RERANK = 1000, 128
"""Of one search, which others wait for."""


class AddRequest(BaseModel):
    """Pictures to be kept and found."""

    model_config = ConfigDict(extra="forbid")

    images: list[Picture] = Field(
        min_length=1,
        fail_fast=True,
        description="Pictures as base64, data URLs, or https addresses where the service fetches those.",
    )
    captions: list[str] = Field(
        [], fail_fast=True, description="What is known of each picture, one each; hybrid searches read them."
    )
    caption: bool = Field(False, description="Give those without a caption one of the model's.")


class SearchRequest(BaseModel):
    """What is looked for, and how."""

    model_config = ConfigDict(extra="forbid")
    RANGES: ClassVar = SearchOptions.RANGES

    words: str = Field("", description="What the picture shows.")
    images: list[Picture] = Field(
        [], max_length=1, fail_fast=True, description="A picture, as in other requests, that those found are like."
    )
    like: str = Field("", description="In its place: the id of a picture of the library.")
    weight: float | None = Field(
        None, ge=0, le=1, description="Of the words beside a picture; a half where it is left out, of products less."
    )
    by_picture: float | None = Field(
        None, ge=0, le=1, description="Of products: how much the picture counts against the text."
    )
    limit: int = Field(10, ge=1, le=MAX_LIMIT, description="How many are wanted.")
    where: str = Field("", description="A filter, such as: taken >= 2024-06 and width > 1000 (docs/search.md).")
    rerank: int | None = Field(
        None,
        ge=0,
        le=MAX_RERANK,
        description="How many of the best ITM looks at again; as many as budget_ms allows where it is left out.",
    )
    budget_ms: float = Field(300.0, ge=0, le=60_000, description="For looking again.")
    hybrid: bool | None = Field(
        None,
        description="Search captions, or titles, for the words too, and fuse both; of products unless it is false.",
    )
    exact: bool = Field(False, description="Compare every vector, even where there is an index.")

    def query(self) -> Query:
        """Raises InputError where there is nothing to look for, or two pictures."""
        image = self.images[0] if self.images else None
        return Query(self.words, image=image, like=self.like, weight=self.weight)

    def options(self) -> SearchOptions:
        """Raises OptionError on a value outside its range."""
        return SearchOptions(
            self.limit, self.where, self.rerank, self.budget_ms, self.hybrid, self.exact, self.by_picture
        )


class ProductFields(BaseModel):
    """What a catalogue says of an item. item: its own id; fields: its other columns."""

    item: str
    title: str
    description: str
    price: float | None
    fields: dict[str, str | float | None]


class LibraryImage(BaseModel):
    """A picture of the library. name: of its file, its key in a shard, or an item's title; taken: by the camera's
    clock; thumbnail, picture: where they are to be had, empty of an item without a picture; product: of a catalogue."""

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

    @classmethod
    def values(cls, record: Record) -> dict[str, Any]:
        """Of a record; where it lies on the service's disk is nobody's to know."""
        known = record.to_dict()
        address = f"/v1/images/{record.id}"
        places = {name: f"{address}/{name}" if record.place.path else "" for name in ("thumbnail", "picture")}
        found = {name: known[name] for name in LibraryImage.model_fields if name in known} | places
        found |= {"id": record.id, "name": record.place.key or record.place.path.rpartition("/")[2]}
        if isinstance(record, Product):
            told = {name: known[name] for name in ("title", "description", "price", "fields")}
            found |= {"name": record.item.title, "product": {"item": record.item.id, **told}}
        return found


class AddedImage(BaseModel):
    """What became of one picture: where it is now, or why it could not be used. created: false where it was there."""

    image: LibraryImage | None = None
    created: bool = False
    error: Problem | None = None


class Added(BaseModel):
    """One result a picture, in order."""

    results: list[AddedImage]


class LibraryImages(BaseModel):
    """A page of the library, in the order of the ids. after: what the next page is asked with, nothing at the end;
    total: pictures of the library, whatever the filter."""

    images: list[LibraryImage]
    after: str
    total: int


class LibraryHit(LibraryImage):
    """A picture that was found. score: by which the hits are ordered; similarity: cosine to the query (ITC);
    probability: that the words describe it (ITM), where it was looked at again; text_score: of its caption (BM25)."""

    score: float
    similarity: float
    probability: float | None
    text_score: float | None

    @classmethod
    def of(cls, hit: Hit) -> LibraryHit:
        """As it is sent."""
        scores = {name: getattr(hit, name) for name in ("score", "similarity", "probability", "text_score")}
        return cls(**LibraryImage.values(hit.record), **scores)


class SearchResponse(BaseModel):
    """The hits, best first. reranked: how many pictures ITM looked at; searched_ms, reranked_ms: what both took."""

    model: str
    revision: str
    hits: list[LibraryHit]
    reranked: int
    searched_ms: float
    reranked_ms: float
