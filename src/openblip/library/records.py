"""What the library keeps of a picture, and the layout of its tables in Arrow. Knows no database, file or model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from openblip.engine import Floats

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR = "vector"
FIELDS = (
    "id", "path", "key", "offset", "size", "modified", "taken", "width", "height", "sha256", "caption", "model",
    "revision",
)  # fmt: skip
"""All columns but the vector."""


@dataclass(frozen=True, slots=True)
class ModelStamp:
    """Whose vectors a library holds. revision: of the weights, empty where they came from no file; width: of a
    vector."""

    name: str
    revision: str
    width: int

    def fits(self, other: ModelStamp) -> bool:
        """Whether vectors of both may be compared: the weights decide, and the name where they are not known."""
        if self.revision and other.revision:
            return (self.revision, self.width) == (other.revision, other.width)
        return (self.name, self.width) == (other.name, other.width)

    def __str__(self) -> str:
        return f"{self.name} (weights {self.revision})" if self.revision else self.name


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a picture lie. path: of its file, or of the shard that holds it under a key, at an offset.
    modified: of that file, in microseconds since 1970, as `stat` says."""

    path: str
    size: int
    modified: int
    key: str = ""
    offset: int = 0

    @property
    def id(self) -> str:
        """Follows from path and key, so that one place is never in a library twice."""
        return hashlib.blake2b(f"{self.path}\n{self.key}".encode(), digest_size=10).hexdigest()

    @property
    def name(self) -> str:
        """As messages and lists show it."""
        return f"{self.path}: {self.key}" if self.key else self.path


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bytes say of themselves. width, height: as the picture is shown, in pixels; taken: by the camera's
    clock, which names no time zone."""

    sha256: str
    width: int
    height: int
    taken: datetime | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A picture of the library. caption: one a line, empty where there is none; vector: of unit length, half precision
    once it was stored."""

    place: Place
    facts: Facts
    caption: str
    model: ModelStamp
    vector: Floats = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """Of its place."""
        return self.place.id

    @property
    def name(self) -> str:
        """Of its place."""
        return self.place.name

    @property
    def line(self) -> str:
        """As a list of hits shows it."""
        return self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; without the vector."""
        values = self.to_row()
        del values[VECTOR]
        values["modified"] = values["modified"].isoformat()
        values["taken"] = None if self.facts.taken is None else self.facts.taken.isoformat()
        return values

    def to_row(self) -> dict[str, Any]:
        """By the names of the columns."""
        place, facts = self.place, self.facts
        values = (
            self.id, place.path, place.key, place.offset, place.size,
            datetime.fromtimestamp(place.modified / 1e6, UTC), facts.taken, facts.width, facts.height, facts.sha256,
            self.caption, self.model.name, self.model.revision,
        )  # fmt: skip
        return {**dict(zip(FIELDS, values, strict=True)), VECTOR: self.vector}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Record:
        """Of what `to_row` gives, as it comes back from the table."""
        vector = np.asarray(row[VECTOR], np.float32)
        return cls(
            Place(row["path"], row["size"], microseconds(row["modified"]), row["key"], row["offset"]),
            Facts(row["sha256"], row["width"], row["height"], row["taken"]),
            row["caption"],
            ModelStamp(row["model"], row["revision"], len(vector)),
            vector,
        )


def is_id(text: str) -> bool:
    """Whether it looks like the id of a record: nothing else gets into a filter."""
    return len(text) == 20 and all(letter in "0123456789abcdef" for letter in text)


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def photo_schema(model: ModelStamp) -> pa.Schema:
    """Of the table of pictures; its metadata says whose vectors they are."""
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    kinds = {
        "modified": pa.timestamp("us", tz="UTC"), "taken": pa.timestamp("us"), "offset": whole, "size": whole,
        "width": pa.int32(), "height": pa.int32(),
    }  # fmt: skip
    columns = [pa.field(name, kinds.get(name, text), nullable=name == "taken") for name in FIELDS]
    columns.append(pa.field(VECTOR, pa.list_(pa.float16(), model.width)))
    values = {"openblip.model": model.name, "openblip.revision": model.revision}
    return pa.schema(columns, metadata=values)


def stamp_of(schema: pa.Schema) -> ModelStamp:
    """What `photo_schema` wrote; the width is that of all of a row's vector."""
    values = {name.decode(): value.decode() for name, value in (schema.metadata or {}).items()}
    width = schema.field(VECTOR).type.list_size
    return ModelStamp(values.get("openblip.model", ""), values.get("openblip.revision", ""), width)


def photo_rows(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """Records as Arrow."""
    import pyarrow as pa

    rows = [record.to_row() for record in records]
    columns = {
        each.name: pa.array([row[each.name] for row in rows], each.type) for each in schema if each.name != VECTOR
    }
    vectors = np.stack([record.vector for record in records]).astype(np.float16)
    columns[VECTOR] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table(columns, schema=schema)
