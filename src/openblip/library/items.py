"""A catalogue file (CSV, TSV, JSON lines, Parquet) -> its items, checked and typed: id, title, description, price,
picture, and every other column as text, number or date.

Opens no picture, and knows no model and no library.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

from openblip.bulk.rows import iterate_rows
from openblip.datasets.columns import IMAGE_COLUMNS
from openblip.errors import DataError, OpenBlipError
from openblip.image import is_url, shown_name
from openblip.library.records import is_id
from openblip.library.where import Kind

CATALOGUES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_OF_ROWS = (".jsonl", ".ndjson")  # in which every row names its own columns
Value = str | float | datetime | None

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "item_id", "product_id", "sku"),
    "title": ("title", "name", "product_name"),
    "description": ("description", "text", "body", "details"),
    "price": ("price",),
    "picture": ("picture", "photo", *IMAGE_COLUMNS, "image_link", "image_src", "image_url"),
}
"""What each is called, in capital letters or not; the first that is there counts."""

_EXAMPLE = '{"id": "m1", "title": "a mug", "price": 9.5, "picture": "mug.jpg"}'
_MAX_FIELDS = 200
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?")
_AMOUNT = re.compile(r"-?\d[\d.,' \u00a0\u202f]*")
_CURRENCY = re.compile(r"[^\W\d_]{0,4}\.?[$€£¥₹]?")


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a catalogue. picture: an absolute path, or an address, or empty; values: of the other columns, by their
    names in small letters, None where a cell is empty."""

    id: str
    title: str
    description: str = ""
    price: float | None = None
    picture: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the model reads of it."""
        return ". ".join(part.rstrip(". ") for part in (self.title, self.description) if part.strip())

    @property
    def key(self) -> str:
        """Its id in a library."""
        return item_key(self.id)

    def fingerprint(self) -> bytes:
        """The same for the same row, whatever its picture holds."""
        values = sorted((name, value) for name, value in self.values.items() if value is not None)
        whole = repr((self.id, self.title, self.description, self.price, self.picture, values))
        return blake2b(whole.encode("utf-8", "replace"), digest_size=16).digest()


@dataclass(slots=True)
class Catalogue:
    """What the files hold. kinds: what each of the other columns holds; errors: of rows that cannot be used, and of
    cells that say nothing; whole: whether an item that is not here is in none of the rows."""

    items: list[Item] = field(default_factory=list)
    kinds: dict[str, Kind] = field(default_factory=dict)
    errors: list[OpenBlipError] = field(default_factory=list)
    whole: bool = True


def item_key(identity: str) -> str:
    """The id in a library that follows from an item's own id. What looks like an id of a library is one."""
    return (
        identity
        if is_id(identity)
        else blake2b(f"item\n{identity}".encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    )


def is_catalogue(source: str) -> bool:
    """Whether a source is a table of items, by its name."""
    return source.lower().endswith(CATALOGUES) and not is_url(source)


def read_catalogue(tables: Sequence[str]) -> Catalogue:
    """All items of the files; of items with the same id the first counts.

    Raises DataError on a file that cannot be read, has no columns of ids and titles, or holds no items.
    """
    found, raw, seen = Catalogue(), list[dict[str, Any]](), dict[str, str]()
    for table in tables:
        path = Path(table)
        names: dict[tuple[str, ...], dict[str, str]] = {}
        by_row = path.suffix.lower() in _OF_ROWS
        for where, row in iterate_rows(path, _EXAMPLE):
            if isinstance(row, DataError):
                found.errors.append(row)
                found.whole = False
                continue
            header = tuple(map(str, row))
            try:
                names[header] = names.get(header) or _named(header, where)
            except DataError as error:
                if not by_row:
                    raise
                found.errors.append(error)
                found.whole = False
                continue
            cells = {names[header][str(name)]: cell for name, cell in row.items()}
            identity = _text(cells.pop("id", None)) or ""
            if not identity:
                found.errors.append(DataError(f"{where}: the item has no id: give it one"))
                found.whole = False
            elif (key := item_key(identity)) in seen:
                found.errors.append(DataError(f"{where}: the id {identity!r} is that of {seen[key]} too"))
            else:
                seen[key] = where
                found.items.append(_item(identity, cells, path.parent, where, found.errors))
                raw.append(cells)
    if not found.items and found.errors:
        raise found.errors[0]
    if not found.items:
        raise DataError(f"{', '.join(map(shown_name, tables))}: there are no items: give a row an item, as {_EXAMPLE}")
    _type_others(found, raw)
    return found


def price_of(cell: Any) -> float | None:
    """A price as shops write it: 1299, "1,299.00", "1.299,00 EUR", "$12". Raises ValueError on what is none."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool):
        try:
            price = float(cell)
        except OverflowError:
            raise ValueError(str(cell)) from None
    else:
        text = str(cell).strip()
        match = _AMOUNT.search(text)
        if match is None:
            raise ValueError(text)
        around = (text[: match.start()].strip(), text[match.end() :].strip())
        if not all(map(_CURRENCY.fullmatch, around)) or all(around):
            raise ValueError(text)
        price = _amount(match[0])
    if not math.isfinite(price):
        raise ValueError(str(cell))
    return price


def _amount(text: str) -> float:
    """The last of point and comma is the decimal one, unless exactly three digits follow a comma, or it stands there
    twice."""
    digits = re.sub(r"[' \u00a0\u202f]", "", text).rstrip(".,")
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return float(digits)
    sign, behind = digits[last], len(digits) - last - 1
    other = "," if sign == "." else "."
    groups = digits.count(sign) > 1 or (sign == "," and behind == 3 and other not in digits)
    whole = digits if groups else digits[:last]
    thousands = sign if groups else other
    if thousands in whole and not re.fullmatch(rf"-?\d{{1,3}}(\{thousands}\d{{3}})+", whole):
        raise ValueError(text)
    if groups and other in digits:
        raise ValueError(text)
    return float(whole.replace(thousands, "") + ("" if groups else f".{digits[last + 1 :]}"))


def _named(header: Sequence[str], where: str) -> dict[str, str]:
    """What becomes of each column: one of ours, or its name in small letters."""
    plain = {name: re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in header}
    names: dict[str, str] = {}
    for ours, usual in COLUMNS.items():
        column = next((name for wanted in usual for name in header if plain[name] == wanted), None)
        if column is None and ours in ("id", "title"):
            there = ", ".join(header) or "no column at all"
            raise DataError(f"{where}: no column is called {' or '.join(usual)}: call one of them so, of {there}")
        if column is not None:
            names[column] = ours
    for name in header:
        if name not in names:
            if not plain[name] or plain[name] in names.values():
                raise DataError(f"{where}: the column {name!r} has no name of its own in letters and digits: rename it")
            names[name] = plain[name]
    if len(names) > _MAX_FIELDS:
        raise DataError(f"{where}: {len(names)} columns are too many: give at most {_MAX_FIELDS}")
    return names


def _item(identity: str, cells: dict[str, Any], folder: Path, where: str, errors: list[OpenBlipError]) -> Item:
    """Its own five columns, which are taken out of the cells."""
    title, description = (_text(cells.pop(name, None)) or "" for name in ("title", "description"))
    price, picture = cells.pop("price", None), cells.pop("picture", None)
    try:
        amount = price_of(price)
    except ValueError:
        amount = None
        errors.append(DataError(f"{where}: {str(price)[:40]!r} is no price: write it as 12.50"))
    if picture is not None and not isinstance(picture, str):
        errors.append(DataError(f"{where}: the picture of {identity!r} is no path: give that of a file"))
        picture = ""
    name = _text(picture) or ""
    if name and not is_url(name):
        name = os.path.abspath(folder / name)  # noqa: PTH100 (resolve would follow links)
    return Item(identity, title, description, amount, name)


def _type_others(found: Catalogue, raw: Sequence[dict[str, Any]]) -> None:
    """Each of the other columns is of the kind that all of its cells are."""
    names = list(dict.fromkeys(name for cells in raw for name in cells))
    for name in names:
        found.kinds[name] = _kind(cells.get(name) for cells in raw)
    for place, cells in enumerate(raw):
        item = found.items[place]
        values = {name: _value(cells.get(name), kind) for name, kind in found.kinds.items()}
        found.items[place] = Item(item.id, item.title, item.description, item.price, item.picture, values)


def _kind(cells: Iterable[Any]) -> Kind:
    kinds = {_kind_of(cell) for cell in cells if not _is_empty(cell)}
    return kinds.pop() if len(kinds) == 1 else "text"


def _kind_of(cell: Any) -> Kind:
    if isinstance(cell, bool):
        return "text"
    if isinstance(cell, (int, float, Decimal)):
        return "number" if -(2**53) < cell < 2**53 else "text"
    if isinstance(cell, date):
        return "time"
    if isinstance(cell, str):
        if _NUMBER.fullmatch(cell.strip()):
            return "number"
        if _DATE.fullmatch(cell.strip()):
            try:
                datetime.fromisoformat(cell.strip())
            except ValueError:
                return "text"
            return "time"
    return "text"


def _value(cell: Any, kind: Kind) -> Value:
    if _is_empty(cell):
        return None
    if kind == "number":
        return float(cell)
    if kind == "time":
        moment = datetime.fromisoformat(cell.strip()) if isinstance(cell, str) else cell
        if not isinstance(moment, datetime):
            return datetime(moment.year, moment.month, moment.day)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return _text(cell)


def _is_empty(cell: Any) -> bool:
    if isinstance(cell, (float, Decimal)):
        return not math.isfinite(cell)
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _text(cell: Any) -> str | None:
    """As one writes it: lists with commas, truth in small letters; what is no text of a language is left out."""
    if cell is None:
        return None
    if isinstance(cell, bool):
        cell = str(cell).lower()
    elif isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    elif isinstance(cell, list) and not any(isinstance(each, (dict, list)) for each in cell):
        cell = ", ".join(_text(each) or "" for each in cell)
    elif isinstance(cell, (dict, list)):
        cell = json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell).encode("utf-8", "replace").decode().strip() or None
