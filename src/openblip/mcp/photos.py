"""A photo library of which an assistant sees the pictures in allowed folders alone. Knows the library and the folders,
not who asks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openblip.errors import ImageError
from openblip.mcp.folders import AllowedFolders

if TYPE_CHECKING:
    from openblip.library import Hit, Library, Query, Record
    from openblip.pipeline import Blip

_MOST_LOOKED_AT = 10_000
_STEP = 8


class AllowedPhotos:
    """A library, opened when it is first asked. database: its folder, or its address in object storage."""

    def __init__(self, database: str, folders: AllowedFolders) -> None:
        self._database, self._folders = database, folders
        self._opened: Library | None = None

    def search(self, blip: Blip, query: Query, limit: int, where: str, hybrid: bool | None) -> list[Hit]:
        """The best hits in allowed folders; where others lie between them, it is looked further. No picture of another
        folder is read. Raises what `Library.open` and `Library.search` raise."""
        from openblip.library import SearchOptions

        picture = None if query.image is None else blip.embed_images(query.image)[0]
        options = SearchOptions(limit=limit, where=where, hybrid=hybrid)
        while True:
            found = self._library.search(blip, query, replace(options, rerank=0), picture=picture).hits
            seen = sum(self._is_seen(hit.record) for hit in found)
            if seen >= limit or len(found) < options.limit or options.limit == _MOST_LOOKED_AT:
                break
            options = replace(options, limit=min(_STEP * options.limit, _MOST_LOOKED_AT))
        hits = self._library.search(blip, query, options, picture=picture, only=self._is_seen).hits
        return list(hits[:limit])

    def has(self, identity: str) -> bool:
        """Whether this is the id of a picture that is seen."""
        record = self._library.get(identity)
        return record is not None and self._is_seen(record)

    def read(self, identity: str, max_bytes: int) -> bytes:
        """The bytes of a picture by its id, from its file or shard. Raises ImageError, or DataError where a shard is
        gone."""
        record = self._library.get(identity)
        if record is None or not self._is_seen(record):
            raise ImageError(f"there is no picture {identity} in the library: give the id of a hit, or a path")
        if not record.place.key:
            return self._folders.read(record.place.path, max_bytes)
        if record.place.size > max_bytes:
            raise ImageError(f"{identity} is larger than {max_bytes:,} bytes: take another picture")
        return self._library.picture(record)

    @property
    def _library(self) -> Library:
        if self._opened is None:
            from openblip.library import Library

            self._opened = Library.open(self._database)
        return self._opened

    def _is_seen(self, record: Record) -> bool:
        path = record.place.path  # empty of an item of a catalogue without a picture
        return bool(path) and self._folders.holds(Path(os.path.realpath(path)))
