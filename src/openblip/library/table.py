"""The tables of a library in LanceDB: opened, written in whole batches, read, searched.

Every write is one transaction of Lance: a process that is killed leaves what was there before it or all of it. Knows no
model, no picture and no file but its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openblip.engine import Floats
from openblip.errors import DataError, MissingExtra
from openblip.image import shown_name
from openblip.library.forms import Form, PhotoForm
from openblip.library.products import ITEM, ProductForm
from openblip.library.records import VECTOR, ModelStamp, Record, is_id, microseconds, photo_rows, stamp_of
from openblip.library.where import quoted, where_filter

if TYPE_CHECKING:
    import pyarrow as pa

PHOTOS, SHARDS = "photos", "shards"
_IDS_A_FILTER = 1000
_KEPT_VERSIONS = timedelta(hours=1)  # of what was replaced, for searches that are still reading it


@dataclass(frozen=True, slots=True)
class Known:
    """What an index run must know of a picture that is there already."""

    id: str
    path: str
    key: str
    size: int
    modified: int
    sha256: str
    has_caption: bool


@dataclass(frozen=True, slots=True)
class Near:
    """A record and how near it is. score: a cosine, or of the full text."""

    record: Record
    score: float


class PhotoTable:
    """One library. model: whose vectors it holds; form: of photos, or of the products of a catalogue."""

    def __init__(self, database: str, connection: Any, photos: Any) -> None:
        self.database, self._connection, self._photos = database, connection, photos
        self._read_schema()

    def _read_schema(self) -> None:
        self._schema: pa.Schema = self._photos.schema
        self.form: Form = ProductForm.of(self._schema) if ITEM in self._schema.names else PhotoForm()
        stamp = stamp_of(self._schema)
        self.model = ModelStamp(stamp.name, stamp.revision, stamp.width // (2 if ITEM in self._schema.names else 1))

    @classmethod
    def open(cls, database: str | Path) -> PhotoTable:
        """A folder, or an address of object storage that LanceDB knows (s3://, gs://, az://). Raises DataError where
        there is no library, MissingExtra without LanceDB."""
        where = str(database)
        with naming_errors(where, "opened"):
            connection = connect(where, create=False)
            if connection is None or PHOTOS not in table_names(connection):
                raise DataError(f"there is no library at {shown_name(where)}: make one with openblip index")
            photos = connection.open_table(PHOTOS)
            if VECTOR not in photos.schema.names or "openblip.model" not in _texts(photos.schema.metadata):
                raise DataError(f"{shown_name(where)} is no library of openblip's: name another folder")
            return cls(where, connection, photos)

    @classmethod
    def create(cls, database: str | Path, model: ModelStamp, form: Form | None = None) -> PhotoTable:
        """An empty library, of photos unless another form is given. Raises DataError where it cannot be written."""
        where = str(database)
        with naming_errors(where, "written"):
            connection = connect(where, create=True)
            return cls(where, connection, connection.create_table(PHOTOS, schema=(form or PhotoForm()).schema(model)))

    @classmethod
    def is_there(cls, database: str | Path) -> bool:
        """Whether a library lies there. Raises MissingExtra without LanceDB."""
        with naming_errors(str(database), "opened"):
            connection = connect(str(database), create=False)
            return connection is not None and PHOTOS in table_names(connection)

    def __len__(self) -> int:
        with naming_errors(self.database, "read"):
            return int(self._photos.count_rows())

    def check_model(self, model: ModelStamp) -> None:
        """Raise DataError where its vectors are another model's."""
        if not self.model.fits(model):
            raise DataError(
                f"{shown_name(self.database)} was indexed with {self.model}, whose vectors {model} cannot read: give "
                f"--model {self.model.name}, or index into another --db"
            )

    def check_holds(self, kind: str) -> None:
        """Raise DataError where it holds "products" and "photos" were meant, or the other way round."""
        if self.form.holds != kind:
            raise DataError(
                f"{shown_name(self.database)} is a library of {self.form.holds}, not of {kind}: name another --db"
            )

    def filter(self, text: str) -> str | None:
        """A filter as a user writes it, for LanceDB, on the fields that are there now: another process may have changed
        those of a catalogue. Raises OptionError on one that says nothing."""
        if self.form.holds == "products":
            with naming_errors(self.database, "read"):
                self._read_schema()
        return where_filter(text, self.form.fields, self.form.columns)

    def reshape(self, form: ProductForm) -> None:
        """Columns for what a catalogue has now, empty where they are new; what it has no more goes."""
        now = {column.name: column for column in form.other_columns()}
        assert isinstance(self.form, ProductForm)
        old = {column.name: column for column in self.form.other_columns()}
        stale = [name for name, column in old.items() if name not in now or now[name].type != column.type]
        fresh = [column for name, column in now.items() if name not in old or name in stale]
        with naming_errors(self.database, "written"):
            if stale:
                self._photos.drop_columns(stale)
            if fresh:
                self._photos.add_columns(fresh)
            self._read_schema()

    def rows(self) -> Iterator[dict[str, Any]]:
        """All that is kept of every record but its vector."""
        with naming_errors(self.database, "read"):
            columns = [name for name in self._schema.names if name != VECTOR]
            for batch in self._photos.search().select(columns).to_batches(batch_size=8192):
                yield from batch.to_pylist()

    def known(self) -> Iterator[Known]:
        """Every picture, as an index run wants it."""
        with naming_errors(self.database, "read"):
            columns = ["id", "path", "key", "size", "modified", "sha256", "caption"]
            for batch in self._photos.search().select(columns).to_batches(batch_size=8192):
                for row in batch.to_pylist():
                    row["modified"], caption = microseconds(row["modified"]), row.pop("caption")
                    yield Known(**row, has_caption=bool(caption))

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these ids that are there."""
        found: dict[str, Record] = {}
        with naming_errors(self.database, "read"):
            for part in _portions(ids):
                rows = _rows(self._photos.search().where(_among(part)).limit(len(part)).to_arrow())
                found |= {row["id"]: self.form.record(row) for row in rows}
        return found

    def listed(self, where: str | None, limit: int) -> list[Record]:
        """Some records, those that a filter lets through, in no order."""
        with naming_errors(self.database, "read"):
            query = self._photos.search()
            query = query.where(where) if where else query
            return [self.form.record(row) for row in _rows(query.limit(limit).to_arrow())]

    def page(self, where: str | None, after: str, limit: int) -> list[Record]:
        """At most so many records in the order of their ids, of those after one."""
        filters = [f"({each})" for each in (where, after and f"id > {quoted(after)}") if each]
        with naming_errors(self.database, "read"):
            query = self._photos.search().select(["id"])
            query = query.where(" AND ".join(filters)) if filters else query
            ids = nsmallest(limit, query.to_arrow()["id"].to_pylist())
        found = self.records(ids)
        return [found[identity] for identity in ids if identity in found]

    def vectors(self) -> tuple[list[str], Floats]:
        """The ids and the vectors of all pictures [pictures, width]."""
        with naming_errors(self.database, "read"):
            table = self._photos.search().select(["id", VECTOR]).to_arrow()
            matrix = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[VECTOR].chunks]
            whole = np.concatenate(matrix) if matrix else np.zeros(0, np.float16)
            width = self._schema.field(VECTOR).type.list_size
            pictures = self.form.pictures(whole.reshape(-1, width).astype(np.float32))
            there = np.flatnonzero(pictures.any(axis=1))
            ids = table["id"].to_pylist()
            return [ids[place] for place in there], pictures[there]

    def write(self, records: Sequence[Record], fresh: bool = False, gone: Sequence[str] = ()) -> None:
        """Put records in the place of those with their ids, and take out those that are gone, in one transaction.

        fresh: none of the ids is there yet, which is quicker."""
        if not records:
            self.delete(gone)
            return
        rows = photo_rows(records, self._schema)
        with naming_errors(self.database, "written"):
            if fresh and not gone:
                self._photos.add(rows)
                return
            merge = self._photos.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            if gone:
                merge = merge.when_not_matched_by_source_delete(_among(gone))
            merge.execute(rows)

    def delete(self, ids: Sequence[str]) -> int:
        """Take records out; how many there were."""
        with naming_errors(self.database, "written"):
            return sum(int(self._photos.delete(_among(part)).num_deleted_rows) for part in _portions(ids))

    def nearest(self, vector: Floats, limit: int, where: str | None = None, exact: bool = False) -> list[Near]:
        """The records with the greatest cosine to a unit vector [width], of products the greatest product with what
        `Form.sought` gives, the best first; by the index where there is one, unless exact."""
        from openblip.library.neighbours import tuned

        with naming_errors(self.database, "searched"):
            query = self._photos.search(vector, vector_column_name=VECTOR)
            query = query.distance_type(self.form.distance).limit(limit)
            query = query.bypass_vector_index() if exact else tuned(query, limit)
            query = query.where(where, prefilter=True) if where else query
            found = query.select(["id", "_distance"]).with_row_id(True).to_arrow()
            records = self._taken(found["id"].to_pylist(), found["_rowid"].to_pylist())
        return [Near(record, float(record.vector @ vector)) for record in records]

    def _taken(self, ids: list[str], rows: list[int]) -> list[Record]:
        """The records of these ids, in this order. Taking rows by number is quicker than having the search read all
        columns, and what is the same in all is not read; what another process moved meanwhile is looked up by id."""
        if not rows:
            return []
        same = {"model": self.model.name, "revision": self.model.revision}
        columns = [name for name in self._schema.names if name not in same]
        taken = _rows(self._photos.take_row_ids(rows).select(columns).to_arrow())
        found = {row["id"]: self.form.record({**row, **same}) for row in taken}
        if not found.keys() >= set(ids):
            found |= self.records([each for each in ids if each not in found])
        return [found[each] for each in ids if each in found]

    def saying(self, words: str, limit: int, where: str | None = None) -> list[Near]:
        """The records whose captions have words in common with these (BM25), the best first."""
        from openblip.library.neighbours import has_text_index

        if not has_text_index(self._photos):
            return []
        from lancedb.query import MatchQuery

        with naming_errors(self.database, "searched"):
            query = self._photos.search(MatchQuery(words, "caption"), query_type="fts").limit(limit)
            rows = _rows((query.where(where, prefilter=True) if where else query).to_arrow())
        return [Near(self.form.record(row), float(row["_score"])) for row in rows]

    def index_captions(self) -> None:
        """Make them searchable by words, if they are not; what is written later is found from then on, and put into the
        index by `tidy`."""
        from openblip.library.neighbours import build_text_index, has_text_index

        with naming_errors(self.database, "written"):
            if not has_text_index(self._photos):
                build_text_index(self._photos)

    def tidy(self) -> None:
        """Compact what many small writes left, bring the indices up to date, and build those that pay now."""
        from openblip.library.neighbours import build_indices

        with naming_errors(self.database, "written"):
            build_indices(self._photos, self.form.distance)
            self._photos.optimize(cleanup_older_than=_KEPT_VERSIONS)

    def done_shards(self) -> dict[str, tuple[int, int]]:
        """Size and modification of each shard of which all is here."""
        with naming_errors(self.database, "read"):
            if SHARDS not in table_names(self._connection):
                return {}
            rows = self._connection.open_table(SHARDS).to_arrow().to_pylist()
            return {row["path"]: (row["size"], row["modified"]) for row in rows}

    def note_shard(self, path: str, size: int, modified: int) -> None:
        """All of it is here."""
        import pyarrow as pa

        row = pa.table({"path": [path], "size": [size], "modified": [modified]})
        with naming_errors(self.database, "written"):
            if SHARDS not in table_names(self._connection):
                self._connection.create_table(SHARDS, row)
                return
            shards = self._connection.open_table(SHARDS)
            shards.merge_insert("path").when_matched_update_all().when_not_matched_insert_all().execute(row)

    def forget_shards(self, paths: Collection[str]) -> None:
        """Not all of these is here any more."""
        with naming_errors(self.database, "written"):
            if paths and SHARDS in table_names(self._connection):
                shards = self._connection.open_table(SHARDS)
                for path in sorted(paths):
                    shards.delete(f"path = {quoted(path)}")


def connect(database: str, create: bool) -> Any:
    """A connection of LanceDB that sees what other processes wrote; None where a local folder is not there and is
    not to be made. Raises MissingExtra without LanceDB."""
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtra("lancedb", "search") from error
    if not create and "://" not in database and not Path(database).is_dir():
        return None
    return lancedb.connect(database, read_consistency_interval=timedelta(0))


def table_names(connection: Any) -> set[str]:
    """Of all its tables."""
    return set(connection.list_tables(limit=1000).tables)


@contextmanager
def naming_errors(database: str, done: str) -> Iterator[None]:
    """What LanceDB raises is a DataError in a line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, (DataError, NotImplementedError)):
            raise
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"the library {shown_name(database)} cannot be {done}: {reason}: check the folder, its room and its "
            "permissions"
        ) from error


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """By column; vectors as arrays, which lists of numbers would take ten times as long for."""
    rows: list[dict[str, Any]] = table.drop_columns([VECTOR]).to_pylist()
    width = table.schema.field(VECTOR).type.list_size
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in table[VECTOR].chunks]
    for row, vector in zip(rows, (vector for chunk in chunks for vector in chunk), strict=True):
        row[VECTOR] = vector
    return rows


def _texts(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (metadata or {}).items()}


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_A_FILTER):
        yield ids[start : start + _IDS_A_FILTER]


def _among(ids: Sequence[str]) -> str:
    """A filter. Raises DataError on what is no id: nothing else gets into it."""
    if not all(map(is_id, ids)):
        raise DataError("an id of the library is damaged: index again into another --db")
    return f"id IN ({', '.join(repr(each) for each in ids)})"
