"""What differs between a library of photos and one of products: columns, ids, filters, and how a query is compared.

Knows records and vectors. Knows no database and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from openblip.engine import Floats
from openblip.errors import OptionError
from openblip.library.records import ModelStamp, Record, is_id, photo_schema
from openblip.library.where import PHOTO_FIELDS, Kind

if TYPE_CHECKING:
    import pyarrow as pa


class Form(Protocol):
    """How the records of a library lie in its table and are looked for."""

    @property
    def holds(self) -> str:
        """What they are, in a word."""

    @property
    def distance(self) -> Literal["cosine", "dot"]:
        """By which LanceDB orders."""

    @property
    def reranks(self) -> bool:
        """Whether ITM looks at the best again where nobody says how many."""

    @property
    def fields(self) -> Mapping[str, Kind]:
        """What filters may name, and what it holds."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Of fields that have another name in the table."""

    def schema(self, model: ModelStamp) -> pa.Schema:
        """Of the table; its metadata says whose vectors they are."""

    def record(self, row: Mapping[str, Any]) -> Record:
        """Of a row of the table."""

    def key(self, identity: str) -> str | None:
        """The id in the table of what a user calls so; None where nothing can be called so."""

    def sought(
        self,
        words: Floats | None,
        picture: Floats | None,
        like: Record | None,
        weight: float | None,
        by_picture: float | None,
    ) -> Floats:
        """What the vectors of the table are compared with. picture: a unit vector, like: a record in its place; weight:
        of the words beside either; by_picture: of a product's picture against its text."""

    def text_weight(self, pictured: bool) -> float | None:
        """What the best of the full text counts beside a score; None where ranks are fused instead. pictured: whether
        a picture is looked for besides."""

    def pictures(self, vectors: Floats) -> Floats:
        """The unit vectors of the pictures alone, zero where there is none: [rows, width] of all [rows, ...]."""


class PhotoForm:
    """Of photos: one unit vector each."""

    holds = "photos"
    distance: Literal["cosine", "dot"] = "cosine"
    reranks = True
    fields = PHOTO_FIELDS
    columns: Mapping[str, str] = {}

    def schema(self, model: ModelStamp) -> pa.Schema:
        """As `Form.schema`."""
        return photo_schema(model)

    def record(self, row: Mapping[str, Any]) -> Record:
        """As `Form.record`."""
        return Record.from_row(row)

    def key(self, identity: str) -> str | None:
        """As `Form.key`."""
        return identity if is_id(identity) else None

    def sought(
        self,
        words: Floats | None,
        picture: Floats | None,
        like: Record | None,
        weight: float | None,
        by_picture: float | None,
    ) -> Floats:
        """As `Form.sought`. Raises OptionError on by_picture."""
        if by_picture is not None:
            raise OptionError(f"by_picture={by_picture!r} is for catalogues: photos have no text beside them")
        return mixed(words, like.vector if like is not None else picture, 0.5 if weight is None else weight)

    def text_weight(self, pictured: bool) -> float | None:
        """As `Form.text_weight`."""
        return None

    def pictures(self, vectors: Floats) -> Floats:
        """As `Form.pictures`."""
        return vectors


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
