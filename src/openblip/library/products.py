"""What a library keeps of an item of a catalogue: all that it keeps of a photo, the item, and two vectors in one.

The vector of a product is that of its picture and that of its text, end to end, each of unit length, or zero where it
has none. A query is laid out in the same way, each half times its weight, so that one inner product is the weighted sum
of both cosines, in one search and with one index. Knows no database, file or model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from openblip.engine import Floats
from openblip.library.forms import mixed
from openblip.library.items import Item, Value, item_key
from openblip.library.records import Facts, ModelStamp, Place, Record, photo_schema
from openblip.library.where import PHOTO_FIELDS, Kind

if TYPE_CHECKING:
    import pyarrow as pa

ITEM, _OTHER = "item", "x_"
NO_PICTURE, NO_FACTS = Place("", 0, 0), Facts("", 0, 0)
_OWN: Mapping[str, Kind] = {
    "id": "text", "title": "text", "description": "text", "price": "number", "picture": "text"
}  # fmt: skip
_OWN_COLUMNS = {"id": ITEM}
BY_PICTURE = {"words": 0.5, "picture": 1.0, "both": 1.0, "similar": 0.3}
"""How much the picture of a product counts against its text, by what is looked for."""
TEXT_WEIGHT = {"words": 1.0, "both": 0.1}
"""What the best of the full text counts beside the cosines."""
WORDS_WEIGHT = 0.1
"""Of the vector of words beside that of a picture. All were chosen for `mini` by benchmarks/products.py."""


@dataclass(frozen=True, slots=True)
class Product(Record):
    """An item that can be found. caption: its title and its description, a line each, for full text; vector: see
    above."""

    item: Item = field(default_factory=lambda: Item("", ""))

    @property
    def id(self) -> str:
        """Follows from that of the item."""
        return self.item.key

    @property
    def name(self) -> str:
        """As messages and lists show it."""
        price = "" if self.item.price is None else f", {self.item.price:.2f}"
        return f"{self.item.id}{price}"

    @property
    def line(self) -> str:
        """As a list of hits shows it."""
        return f"{self.name}: {self.item.title}"

    @property
    def of_picture(self) -> Floats:
        """The unit vector of its picture, zero without one."""
        return self.vector[: len(self.vector) // 2]

    @property
    def of_text(self) -> Floats:
        """The unit vector of its text, zero without one."""
        return self.vector[len(self.vector) // 2 :]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; without the vector. id: the item's own."""
        item = self.item
        values = {name: _plain(value) for name, value in item.values.items()}
        found = {name: value for name, value in Record.to_dict(self).items() if name != ITEM and name[:2] != _OTHER}
        found |= {"id": item.id, "title": item.title, "description": item.description, "price": item.price}
        return {**found, "picture": item.picture, "fields": values}

    def to_row(self) -> dict[str, Any]:
        """By the names of the columns."""
        item = self.item
        others = {_OTHER + name: value for name, value in item.values.items()}
        own = {ITEM: item.id, "title": item.title, "description": item.description, "price": item.price}
        return {**Record.to_row(self), **own, "picture": item.picture, **others}


def _plain(value: Value) -> str | float | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def item_of(row: Mapping[str, Any]) -> Item:
    """Of a row of the table."""
    values = {name[len(_OTHER) :]: value for name, value in row.items() if name.startswith(_OTHER)}
    return Item(row[ITEM], row["title"], row["description"], row["price"], row["picture"], values)


@dataclass(frozen=True)
class ProductForm:
    """Of products. kinds: what the columns hold that the catalogue has besides ours."""

    kinds: Mapping[str, Kind]
    holds: ClassVar[str] = "products"
    distance: ClassVar[Literal["cosine", "dot"]] = "dot"
    reranks: ClassVar[bool] = False

    @classmethod
    def of(cls, schema: pa.Schema) -> ProductForm:
        """Of a table that is there."""
        named: dict[str, Kind] = {"string": "text", "double": "number"}
        return cls(
            {
                column.name[len(_OTHER) :]: named.get(str(column.type), "time")
                for column in schema
                if column.name.startswith(_OTHER)
            }
        )

    @cached_property
    def fields(self) -> Mapping[str, Kind]:
        """As `Form.fields`: where the catalogue has a field of the same name as a photo, its own counts."""
        of_photos = {name: kind for name, kind in PHOTO_FIELDS.items() if name not in {*_OWN, *self.kinds}}
        return {**_OWN, **self.kinds, **of_photos}

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """As `Form.columns`."""
        return {**_OWN_COLUMNS, **{name: _OTHER + name for name in self.kinds}}

    def schema(self, model: ModelStamp) -> pa.Schema:
        """As `Form.schema`."""
        import pyarrow as pa

        both = ModelStamp(model.name, model.revision, 2 * model.width)
        schema = photo_schema(both)
        own = {ITEM: pa.string(), "title": pa.string(), "description": pa.string(), "price": pa.float64(),
               "picture": pa.string()}  # fmt: skip
        for name, kind in own.items():
            schema = schema.append(pa.field(name, kind, nullable=name == "price"))
        for column in self.other_columns():
            schema = schema.append(column)
        return schema

    def other_columns(self) -> list[pa.Field]:
        """Those of the catalogue's other columns."""
        import pyarrow as pa

        kinds = {"number": pa.float64(), "time": pa.timestamp("us")}
        return [pa.field(_OTHER + name, kinds.get(kind, pa.string())) for name, kind in self.kinds.items()]

    def record(self, row: Mapping[str, Any]) -> Product:
        """As `Form.record`."""
        photo = Record.from_row(row)
        model = ModelStamp(photo.model.name, photo.model.revision, photo.model.width // 2)
        return Product(photo.place, photo.facts, photo.caption, model, photo.vector, item_of(row))

    def key(self, identity: str) -> str | None:
        """As `Form.key`: the id of a record, or the item's own, which may be any text."""
        return item_key(identity) if identity else None

    def sought(
        self,
        words: Floats | None,
        picture: Floats | None,
        like: Record | None,
        weight: float | None,
        by_picture: float | None,
    ) -> Floats:
        """As `Form.sought`. What is like an item is like its picture in the pictures and like its text in the texts."""
        pictured, told = picture, picture
        if isinstance(like, Product):
            pictured, told = like.of_picture, like.of_text
            pictured, told = (pictured if pictured.any() else told), (told if told.any() else pictured)
        kind = "words" if pictured is None else "both" if words is not None else "similar" if like else "picture"
        share = BY_PICTURE[kind] if by_picture is None else by_picture
        weight = WORDS_WEIGHT if weight is None else weight
        return joined(share * mixed(words, pictured, weight), (1 - share) * mixed(words, told, weight))

    def text_weight(self, pictured: bool) -> float | None:
        """As `Form.text_weight`."""
        return TEXT_WEIGHT["both" if pictured else "words"]

    def pictures(self, vectors: Floats) -> Floats:
        """As `Form.pictures`."""
        return vectors[:, : vectors.shape[1] // 2]


def joined(picture: Floats, text: Floats) -> Floats:
    """The vector of a product, or of a query."""
    vector: Floats = np.concatenate([picture, text]).astype(np.float32)
    return vector
