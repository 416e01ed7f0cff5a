"""A query -> the pictures of the library that answer it best.

By ITC over all vectors; what words alone found is looked at again by ITM; a hybrid search fuses that order with the one
of the captions' full text. Knows the table, the encoder and the judge; not how any of them works.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openblip.engine import Floats
from openblip.errors import InputError
from openblip.library.encode import stamp, text_vector
from openblip.library.query import Query, SearchOptions
from openblip.library.records import Record, is_id
from openblip.library.rerank import MAX_DEPTH, Judgement, judge
from openblip.library.table import PhotoTable
from openblip.library.where import where_filter
from openblip.pipeline import Blip

RANK_CONSTANT = 60  # of reciprocal rank fusion (Cormack et al. 2009)


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture that was found. score: by which the hits are ordered; similarity: cosine to the query (ITC);
    probability: that the words describe it (ITM), where it was looked at again; text_score: of its captions (BM25),
    where they were searched and have the words."""

    record: Record
    score: float
    similarity: float
    probability: float | None = None
    text_score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        scores = {name: getattr(self, name) for name in ("score", "similarity", "probability", "text_score")}
        return {**self.record.to_dict(), **scores}


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of a search, best first. reranked: how many pictures ITM looked at; searched_ms, reranked_ms: what
    finding and looking again took."""

    hits: tuple[Hit, ...]
    reranked: int
    searched_ms: float
    reranked_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        timing = {"reranked": self.reranked, "searched_ms": self.searched_ms, "reranked_ms": self.reranked_ms}
        return {"hits": [hit.to_dict() for hit in self.hits], **timing}


def find(
    table: PhotoTable,
    blip: Blip,
    query: Query,
    options: SearchOptions = SearchOptions(),  # noqa: B008 (it is frozen)
    picture: Floats | None = None,
) -> Found:
    """The best hits. picture: the unit vector of the query's image, where it is known already.

    Raises InputError on an id that is not there, OptionError on a filter that says nothing, DataError where the library
    is another model's or cannot be read."""
    where = where_filter(options.where)
    table.check_model(stamp(blip))
    start = time.perf_counter()
    vector = query_vector(table, blip, query, picture)
    depth = _depth(query, options, "match" in blip.tasks)
    wanted = max(options.limit + bool(query.like), depth, 4 * options.limit if options.hybrid else 0)
    hits = [
        Hit(near.record, near.score, near.score)
        for near in table.nearest(vector, wanted, where, options.exact)
        if near.record.id != query.like
    ]
    searched_ms, start = (time.perf_counter() - start) * 1000, time.perf_counter()
    judged: dict[str, Judgement] = {}
    if depth:
        records = [hit.record for hit in hits]
        judged = judge(blip, query.words, records, options.rerank, options.budget_ms)
        hits = reordered(hits, judged)
    reranked_ms = (time.perf_counter() - start) * 1000
    if options.hybrid and query.words:
        hits = _fused(hits, table, query.words, wanted, where, vector)
    return Found(tuple(hits[: options.limit]), len(judged), round(searched_ms, 2), round(reranked_ms, 2))


def query_vector(table: PhotoTable, blip: Blip, query: Query, picture: Floats | None = None) -> Floats:
    """The unit vector [width] that is looked for: of the words, the picture, or the weighted sum of both.

    Raises ImageError on a picture that cannot be read, InputError on an id that is not there."""
    words = text_vector(blip, query.words) if query.words else None
    if picture is None and query.image is not None:
        picture = blip.embed_images(query.image)[0]
    elif query.like:
        known = table.records([query.like]) if is_id(query.like) else {}
        if query.like not in known:
            raise InputError(f"there is no picture {query.like!r} in the library: give the id of a hit")
        picture = known[query.like].vector
    return mixed(words, picture, query.weight)


def mixed(words: Floats | None, picture: Floats | None, weight: float) -> Floats:
    """The unit vector of what there is. weight: of the words, where there are both."""
    if words is None or picture is None:
        vector = words if picture is None else picture
        assert vector is not None
    else:
        vector = weight * words + (1 - weight) * picture
    length = float(np.linalg.norm(vector))
    unit: Floats = np.asarray(vector / length if length else vector, np.float32)
    return unit


def reordered(hits: Sequence[Hit], judged: dict[str, Judgement]) -> list[Hit]:
    """The judged ones first, by ITM's logit plus the cosine, as BLIP does it; then the others, in their order."""
    first = [
        replace(hit, score=judged[hit.record.id].logit + hit.similarity, probability=judged[hit.record.id].probability)
        for hit in hits
        if hit.record.id in judged
    ]
    return sorted(first, key=lambda hit: -hit.score) + [hit for hit in hits if hit.record.id not in judged]


def _depth(query: Query, options: SearchOptions, can_match: bool) -> int:
    """How many candidates re-ranking may ask for; 0 where it does not apply."""
    if not query.by_words_alone or not can_match:
        return 0
    if options.rerank is not None:
        return options.rerank
    return MAX_DEPTH if options.budget_ms else 0


def _fused(
    hits: Sequence[Hit], table: PhotoTable, words: str, wanted: int, where: str | None, vector: Floats
) -> list[Hit]:
    """Reciprocal rank fusion of the order so far and that of the captions."""
    by_id = {hit.record.id: hit for hit in hits}
    scores = {hit.record.id: 1 / (RANK_CONSTANT + rank) for rank, hit in enumerate(hits, 1)}
    for rank, near in enumerate(table.saying(words, wanted, where), 1):
        similarity = float(near.record.vector @ vector)
        hit = by_id.get(near.record.id) or Hit(near.record, 0.0, similarity)
        by_id[near.record.id] = replace(hit, text_score=near.score)
        scores[near.record.id] = scores.get(near.record.id, 0.0) + 1 / (RANK_CONSTANT + rank)
    fused = [replace(hit, score=scores[identity]) for identity, hit in by_id.items()]
    return sorted(fused, key=lambda hit: -hit.score)
