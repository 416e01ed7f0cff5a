"""Near-duplicates: pictures whose vectors are closer than a threshold, in groups, and which of each to keep.

All pairs are compared, in blocks, so that the work grows with the square of their number. Knows the
table, no model and no picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from openblip.engine import Floats
from openblip.errors import OptionError
from openblip.library.records import Record
from openblip.library.table import PhotoTable

THRESHOLD = 0.97  # see docs/search.md: what it finds and what it mistakes, measured
_ROWS, _COLUMNS = 1024, 8192  # of a block
Pair = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Pictures that are linked by pairs above the threshold: of three, the first and the last may be less alike.

    records: the one to keep first: of the most pixels, then the most bytes, then the earliest. similarity: of the least
    alike of its pairs above the threshold; identical: whether all are the same bytes.
    """

    records: tuple[Record, ...]
    similarity: float
    identical: bool

    @property
    def keep(self) -> Record:
        """What we would keep."""
        return self.records[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        others = [record.to_dict() for record in self.records[1:]]
        return {
            "keep": self.keep.to_dict(), "others": others, "similarity": self.similarity, "identical": self.identical
        }  # fmt: skip


def find_duplicates(
    table: PhotoTable, threshold: float = THRESHOLD, progress: Callable[[str, int, int], None] | None = None
) -> list[DuplicateGroup]:
    """All groups, the most alike first. threshold: on the cosine; 1 finds pictures of the same bytes alone, whatever
    their vectors say.

    Raises OptionError on a threshold outside of 0 to 1, DataError where the library cannot be read.
    """
    if not 0 <= threshold <= 1:
        raise OptionError(f"threshold={threshold!r} is out of range: give 0 to 1, such as {THRESHOLD}")
    ids, vectors = table.vectors()
    pairs = chain(_same_bytes(table, ids), close_pairs(vectors, threshold, progress) if threshold < 1 else ())
    found = linked(len(ids), pairs)
    records = table.records([ids[member] for members, _ in found for member in members])
    groups = []
    for members, similarity in found:
        ordered = sorted((records[ids[member]] for member in members if ids[member] in records), key=_worth)
        if len(ordered) < 2:  # the others were taken out meanwhile
            continue
        identical = len({record.facts.sha256 for record in ordered}) == 1
        groups.append(DuplicateGroup(tuple(ordered), similarity, identical))
    return sorted(groups, key=lambda group: (-group.similarity, group.keep.name))


def close_pairs(
    vectors: Floats, threshold: float, progress: Callable[[str, int, int], None] | None = None
) -> Iterator[Pair]:
    """Pairs of rows [pictures, width], the lower number first, whose cosine is at least the threshold."""
    count = len(vectors)
    for top in range(0, count, _ROWS):
        rows = vectors[top : top + _ROWS]
        for left in range(top, count, _COLUMNS):
            cosines = rows @ vectors[left : left + _COLUMNS].T
            near = cosines >= threshold
            for row in np.flatnonzero(near.any(axis=1)).tolist():  # by row, as all of a block may be alike
                columns = np.flatnonzero(near[row])
                for column in columns[columns > top + row - left].tolist():
                    yield top + row, left + column, min(1.0, float(cosines[row, column]))
        if progress is not None:
            progress("compared", min(count, top + _ROWS), count)


def linked(count: int, pairs: Iterable[Pair]) -> list[tuple[list[int], float]]:
    """Groups of at least two among so many, by union-find, each with the least similarity of its pairs."""
    parent = list(range(count))

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    least: dict[int, float] = {}
    for first, second, similarity in pairs:
        one, other = root(first), root(second)
        lowest = min(similarity, least.get(one, 1.0), least.get(other, 1.0))
        parent[other] = one
        least[one] = lowest
    members: dict[int, list[int]] = defaultdict(list)
    for member in range(count):
        members[root(member)].append(member)
    return [(group, least[top]) for top, group in members.items() if len(group) > 1]


def _same_bytes(table: PhotoTable, ids: Sequence[str]) -> Iterator[Pair]:
    places = {identity: place for place, identity in enumerate(ids)}
    first: dict[str, int] = {}
    for known in table.known():
        if known.id in places:
            place = places[known.id]
            other = first.setdefault(known.sha256, place)
            if other != place:
                yield min(other, place), max(other, place), 1.0


def _worth(record: Record) -> tuple[int, int, Any, str]:
    """Least first: the one to keep."""
    facts = record.facts
    moment = facts.taken.isoformat() if facts.taken else "9999"
    return -facts.width * facts.height, -record.place.size, moment, record.name
