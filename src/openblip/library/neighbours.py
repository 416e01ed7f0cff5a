"""When a library gets which index, and how it is asked: the numbers behind approximate search.

Below ANN_ROWS every vector is compared, which is exact; from there on an inverted file of vectors at one bit a number
(RaBitQ, LanceDB's IVF_RQ) names five hundred candidates, and their true cosines order them. Measured by
`python -m benchmarks.search`; docs/lab-log.md says what the other indices did. Knows tables of LanceDB, no library.
"""

from __future__ import annotations

from typing import Any, Literal

from openblip.library.records import VECTOR

Distance = Literal["cosine", "dot"]
ANN_ROWS = 50_000
_STALE = 0.2  # share of rows that an index does not know yet, from which on it is built anew
_PROBES = 20  # of some 250 parts of a million vectors; more of them find hardly more, unless a filter empties these
_CANDIDATES = 500  # whose true cosines are computed; a thousand take 20 ms more and find 1% more


def tuned(query: Any, limit: int) -> Any:
    """A query of the nearest that keeps recall@10 above 0.95 where there is an index; else it changes nothing."""
    probing = query.minimum_nprobes(_PROBES).maximum_nprobes(0)  # 0: all of them, while there are not enough hits
    return probing.refine_factor(max(2, _CANDIDATES // limit))


def build_indices(table: Any, distance: Distance = "cosine") -> None:
    """Build what pays and is not there: of the vectors, and of the captions."""
    rows = table.count_rows()
    indexed = {column: index for index in table.list_indices() for column in index.columns}
    if rows >= ANN_ROWS and _unindexed(table, indexed.get(VECTOR), rows) > _STALE:
        build_vector_index(table, distance)
    if "caption" not in indexed and table.count_rows("caption != ''"):
        build_text_index(table)


def build_text_index(table: Any) -> None:
    """Over all captions."""
    from lancedb.index import FTS

    table.create_index("caption", config=FTS())


def build_vector_index(table: Any, distance: Distance = "cosine") -> None:
    """Over all vectors, in the place of one that is there."""
    from lancedb.index import IvfRq

    table.create_index(VECTOR, config=IvfRq(distance_type=distance, max_iterations=10, sample_rate=64), replace=True)


def has_text_index(table: Any) -> bool:
    """Whether captions can be searched by words."""
    return any("caption" in index.columns for index in table.list_indices())


def _unindexed(table: Any, index: Any, rows: int) -> float:
    """The share of rows that the index does not know; 1 without an index."""
    if index is None:
        return 1.0
    statistics = table.index_stats(index.name)
    return 1.0 if statistics is None else float(statistics.num_unindexed_rows) / rows
