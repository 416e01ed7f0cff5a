"""A data set in any form -> what evaluations take. Shards are streamed as they are; other forms come by way of
`datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.datasets.collector import Wanted
from openblip.datasets.columns import Columns
from openblip.datasets.examples import Picture
from openblip.datasets.read import is_shards, read_pictures
from openblip.errors import DataError


def read_samples(
    sources: Sequence[str],
    limit: int | None = None,
    images: str = "",
    columns: Columns = Columns(),  # noqa: B008 (it is frozen)
) -> Iterator[Sample]:
    """Pictures with their captions, at most so many.

    sources, images, columns: as in `read_pictures`; captions of shards stay as they are, others come out
    cleaned. Raises DataError on what cannot be read, at once but for the content of shards.
    """
    if are_shards(sources):
        return islice(shard_samples(sources), limit)
    pictures = usable_pictures(sources, "captions", images, columns)
    return (Sample(each.key, each.content(), each.captions, {}) for each in pictures[:limit])


def shard_samples(sources: Sequence[str | Path], *, captioned: bool = True) -> Iterator[Sample]:
    """Those of WebDataset shards, streamed; missing shards are a DataError at once."""
    return read_shards([shard for source in sources for shard in find_shards(source)], captioned=captioned)


def are_shards(sources: Sequence[str]) -> bool:
    """Raises DataError where some are and some are not."""
    kinds = {is_shards(source) for source in sources}
    if len(kinds) > 1:
        raise DataError(f"{', '.join(sources)} are shards and other data together: measure them one after the other")
    return kinds != {False}


def usable_pictures(sources: Sequence[str], wanted: Wanted, images: str, columns: Columns) -> list[Picture]:
    """Those of a folder, a table or a document. Raises DataError where any entry cannot be used: a score is of all."""
    found = read_pictures(sources, wanted, images, columns)
    if found.faults:
        count = "1 entry" if len(found.faults) == 1 else f"{len(found.faults)} entries"
        raise DataError(f"{count} of the data cannot be used: {found.faults[0]}: put it right or take it out")
    return found.pictures
