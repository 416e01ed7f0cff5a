"""A query -> the pictures of the library that answer it best.

By ITC over all vectors; what words alone found is looked at again by ITM; a hybrid search fuses that order with the one
of the captions' full text. Knows the table, the encoder and the judge; not how any of them works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openblip.engine import Floats
from openblip.errors import InputError
from openblip.library.encode import stamp, text_vector
from openblip.library.forms import mixed as mixed
from openblip.library.query import Query, SearchOptions
from openblip.library.records import Record
from openblip.library.rerank import MAX_DEPTH, Judgement, judge
from openblip.library.table import Near, PhotoTable
from openblip.pipeline import Blip

RANK_CONSTANT = 60  # of reciprocal rank fusion (Cormack et al. 2009)


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture that was found. score: by which the hits are ordered; similarity: cosine to the query (ITC), of
    a product the weighted mean of those of its picture and its text;
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
    only: Callable[[Record], bool] | None = None,
) -> Found:
    """The best hits. picture: the unit vector of the query's image, where it is known already; only: as in
    `Library.search`.

    Raises InputError on an id that is not there, OptionError on a filter that says nothing, DataError where the library
    is another model's or cannot be read."""
    where = table.filter(options.where)
    table.check_model(stamp(blip))
    start = time.perf_counter()
    like = liked(table, query)
    vector = query_vector(table, blip, query, like, options.by_picture, picture)
    hybrid = bool(query.words) and (table.form.holds == "products" if options.hybrid is None else options.hybrid)
    depth = _depth(query, options, "match" in blip.tasks, table.form.reranks)
    wanted = max(options.limit + bool(query.like), depth, _fused_depth(table, options) if hybrid else 0)
    hits = [
        Hit(near.record, near.score, near.score)
        for near in table.nearest(vector, wanted, where, options.exact)
        if (like is None or near.record.id != like.id) and (only is None or only(near.record))
    ]
    searched_ms, start = (time.perf_counter() - start) * 1000, time.perf_counter()
    judged: dict[str, Judgement] = {}
    if depth:
        records = [hit.record for hit in hits]
        judged = judge(blip, query.words, records, options.rerank, options.budget_ms)
        hits = reordered(hits, judged)
    reranked_ms = (time.perf_counter() - start) * 1000
    if hybrid:
        told = table.saying(query.words, wanted, where)
        told = [near for near in told if only is None or only(near.record)]
        fused = _fused(hits, told, table.form.text_weight(not query.by_words_alone), vector)
        hits = [hit for hit in fused if like is None or hit.record.id != like.id]
    return Found(tuple(hits[: options.limit]), len(judged), round(searched_ms, 2), round(reranked_ms, 2))


def liked(table: PhotoTable, query: Query) -> Record | None:
    """The record that others are to be like, if any. Raises InputError on an id that is not there."""
    if not query.like:
        return None
    key = table.form.key(query.like)
    found = table.records([key]).get(key) if key else None
    if found is None:
        one = "product" if table.form.holds == "products" else "picture"
        raise InputError(f"there is no {one} {query.like!r} in the library: give the id of a hit")
    return found


def query_vector(
    table: PhotoTable,
    blip: Blip,
    query: Query,
    like: Record | None,
    by_picture: float | None = None,
    picture: Floats | None = None,
) -> Floats:
    """What is looked for: of the words, the picture, or the weighted sum of both; see `Form.sought`.

    Raises ImageError on a picture that cannot be read."""
    words = text_vector(blip, query.words) if query.words else None
    if picture is None and query.image is not None:
        picture = blip.embed_images(query.image)[0]
    return table.form.sought(words, picture, like, query.weight, by_picture)


def reordered(hits: Sequence[Hit], judged: dict[str, Judgement]) -> list[Hit]:
    """The judged ones first, by ITM's logit plus the cosine, as BLIP does it; then the others, in their order."""
    first = [
        replace(hit, score=judged[hit.record.id].logit + hit.similarity, probability=judged[hit.record.id].probability)
        for hit in hits
        if hit.record.id in judged
    ]
    return sorted(first, key=lambda hit: -hit.score) + [hit for hit in hits if hit.record.id not in judged]


def _depth(query: Query, options: SearchOptions, can_match: bool, by_default: bool) -> int:
    """How many candidates re-ranking may ask for; 0 where it does not apply."""
    if not query.by_words_alone or not can_match:
        return 0
    if options.rerank is not None:
        return options.rerank
    return MAX_DEPTH if options.budget_ms and by_default else 0


def _fused_depth(table: PhotoTable, options: SearchOptions) -> int:
    """How many of either order are fused; of products more, as many texts have a common word such as a colour."""
    return max(200 if table.form.holds == "products" else 0, 4 * options.limit)


def _fused(hits: Sequence[Hit], told: Sequence[Near], weight: float | None, vector: Floats) -> list[Hit]:
    """By the order so far and that of the full text: of photos by reciprocal ranks, as both say little of how much
    better one is; of products by the sum of scores, the best of the full text counted as its weight."""
    best = max((near.score for near in told), default=1.0)
    by_id = {hit.record.id: hit for hit in hits}
    scores = {
        hit.record.id: 1 / (RANK_CONSTANT + rank) if weight is None else hit.score for rank, hit in enumerate(hits, 1)
    }
    for rank, near in enumerate(told, 1):
        identity, similarity = near.record.id, float(near.record.vector @ vector)
        hit = by_id.get(identity) or Hit(near.record, similarity, similarity)
        by_id[identity] = replace(hit, text_score=near.score)
        if weight is None:
            scores[identity] = scores.get(identity, 0.0) + 1 / (RANK_CONSTANT + rank)
        else:
            scores[identity] = hit.score + weight * near.score / best
    fused = [replace(hit, score=scores[identity]) for identity, hit in by_id.items()]
    return sorted(fused, key=lambda hit: -hit.score)
