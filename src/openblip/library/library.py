"""class Library: a searchable photo library, for programs and the service. Pictures go in and out one at a time here;
whole folders by `index_photos`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from openblip.engine import Floats
from openblip.errors import InputError
from openblip.image import shown_name
from openblip.library.encode import encode_each, stamp
from openblip.library.facts import read_facts
from openblip.library.find import Found, find
from openblip.library.index import IndexReport, index_photos
from openblip.library.lock import only_writer
from openblip.library.query import Query, SearchOptions
from openblip.library.records import ModelStamp, Record
from openblip.library.runs import DEFAULT_OPTIONS, IndexOptions, Progress, Report
from openblip.library.scan import place_of, read_place
from openblip.library.table import PhotoTable
from openblip.pipeline import Blip

_SEARCH = SearchOptions()
_PATIENCE_S = 10.0  # of one picture that waits for another writer


class Library:
    """`Library.open("photos.lance")`; every call sees what other processes have written meanwhile.

    May be shared by threads as far as the `Blip` may that is given to its calls.
    """

    def __init__(self, table: PhotoTable) -> None:
        self._table = table

    @classmethod
    def open(cls, database: str | Path) -> Library:
        """A library that is there: a folder, or an address of object storage. Raises DataError where there is none,
        MissingExtra without LanceDB."""
        return cls(PhotoTable.open(database))

    @classmethod
    def create(cls, database: str | Path, blip: Blip) -> Library:
        """An empty one for this model, or the one that is there. Raises DataError where it is another model's."""
        with only_writer(database, _PATIENCE_S):
            if PhotoTable.is_there(database):
                library = cls.open(database)
                library._table.check_model(stamp(blip))
                return library
            return cls(PhotoTable.create(database, stamp(blip)))

    def __len__(self) -> int:
        return len(self._table)

    @property
    def database(self) -> str:
        """Where it lies."""
        return self._table.database

    @property
    def holds(self) -> str:
        """What it is a library of: "photos", or "products" of a catalogue, whose records are `Product`."""
        return self._table.form.holds

    def check_filter(self, where: str) -> None:
        """Raise OptionError on a filter that says nothing here, before a model is loaded."""
        self._table.filter(where)

    @property
    def model(self) -> ModelStamp:
        """Whose vectors it holds."""
        return self._table.model

    def search(
        self,
        blip: Blip,
        query: Query,
        options: SearchOptions = _SEARCH,
        *,
        picture: Floats | None = None,
        only: Callable[[Record], bool] | None = None,
    ) -> Found:
        """The pictures that answer a query best; see `Query` and `SearchOptions`. picture: the unit vector [width] of
        the query's image, where it is known already. only: which of those that were found may be read and given; the
        others are left out, without others in their place."""
        return find(self._table, blip, query, options, picture, only)

    def index(
        self,
        blip: Blip,
        sources: Sequence[str],
        options: IndexOptions = DEFAULT_OPTIONS,
        *,
        lines: Iterable[str] = (),
        report: Report | None = None,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Bring it up to date with folders, files and shards; see `index_photos`."""
        return index_photos(
            sources, self.database, lambda: blip, options, lines=lines, report=report, progress=progress,
            limits=blip.limits,
        )  # fmt: skip

    def get(self, identity: str) -> Record | None:
        """The picture, or the product, with an id, None where there is none."""
        key = self._table.form.key(identity)
        return self._table.records([key]).get(key) if key else None

    def list(self, where: str = "", limit: int = 100) -> list[Record]:
        """Some pictures, those that a filter lets through, in no order. Raises OptionError on a filter that says
        nothing."""
        return self._table.listed(self._table.filter(where), limit)

    def page(self, where: str = "", after: str = "", limit: int = 100) -> Sequence[Record]:
        """The pictures that a filter lets through, in the order of their ids: so many of those after an id. Raises
        OptionError on a filter that says nothing, InputError on what is no id."""
        if after:
            after = self._key(after)
        return self._table.page(self._table.filter(where), after, limit)

    def _key(self, identity: str) -> str:
        """The id in the table. Raises InputError on what is none."""
        key = self._table.form.key(identity)
        if key is None:
            raise InputError(f"{identity!r} is no id of a library: give those of its records")
        return key

    def add(self, blip: Blip, photo: str | Path, caption: str = "") -> Record:
        """One picture of a file, now; it takes the place of a record of the same path. It is encoded before the lock is
        taken, so that others can write meanwhile.

        Raises ImageError where it cannot be read, DataError where another process is writing, or the library is
        another model's."""
        model = stamp(blip)
        self._table.check_holds("photos")
        self._table.check_model(model)
        place = place_of(Path(photo))
        content = read_place(place, blip.limits.max_bytes)
        [encoding] = encode_each(blip, [content])
        if encoding.error is not None:
            raise type(encoding.error)(str(encoding.error).replace("the picture", shown_name(place.path), 1))
        record = Record(place, read_facts(content, blip.limits), caption, model, encoding.vector)
        self.put([record])
        return record

    def put(self, records: Sequence[Record]) -> None:
        """Pictures that were encoded elsewhere, by the library's model, in one transaction; each takes the place of the
        record of its id. Raises DataError where another process is writing, or the library is another model's."""
        self._table.check_holds("photos")
        for record in records:
            self._table.check_model(record.model)
        with only_writer(self.database, _PATIENCE_S):
            self._table.write(records)
            if any(record.caption for record in records):
                self._table.index_captions()

    def delete(self, identities: Sequence[str]) -> int:
        """Take pictures out of the library, not off the disk; how many there were. Raises InputError on what is no
        id."""
        keys = [self._key(each) for each in identities]
        with only_writer(self.database, _PATIENCE_S):
            return self._table.delete(keys)

    def picture(self, record: Record) -> bytes:
        """The bytes of a picture, from its file or shard. Raises ImageError or DataError where they are gone."""
        return read_place(record.place)

    def tidy(self) -> None:
        """Compact what single additions left and bring the indices up to date; `index` does it by itself."""
        with only_writer(self.database, _PATIENCE_S):
            self._table.tidy()
