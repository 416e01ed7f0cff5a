"""Catalogue files to typed items: columns, prices as shops write them, and what is wrong with a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from openblip.errors import DataError
from openblip.library.items import item_key, price_of, read_catalogue
from shop import drawn_rows, write_csv


def test_columns_are_typed_and_kept(tmp_path: Path) -> None:
    catalogue = read_catalogue([write_csv(tmp_path / "c.csv", drawn_rows(tmp_path))])
    assert catalogue.kinds == {"colour": "text", "screen_size": "number", "listed": "time", "size": "text"}
    item = catalogue.items[2]
    assert (item.id, item.title, item.price) == ("sku 2'", "A hat", 25.5)
    assert item.text == "A hat. In blue, of fine make"
    assert item.picture == str(tmp_path / "hat-blue.png")
    assert item.values == {"colour": "blue", "screen_size": 2.0, "listed": datetime(2024, 3, 15), "size": None}


def test_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"sku": 7, "name": "a hat", "price": 9.5, "tags": ["new", "hot"], "in_stock": True, "ean": "0123"},
        {"sku": 8, "name": "a shirt", "price": None, "tags": [], "in_stock": False, "ean": "4006"},
    ]
    lines = tmp_path / "c.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    first, second = (read_catalogue([str(path)]) for path in (lines, tmp_path / "c.parquet"))
    assert first.items == second.items
    assert first.items[0].id == "7"
    assert first.items[0].values == {"tags": "new, hot", "in_stock": "true", "ean": "0123"}
    assert first.items[1].values == {"tags": None, "in_stock": "false", "ean": "4006"}


def test_what_is_wrong_with_a_catalogue_is_said(tmp_path: Path) -> None:
    def read(*rows: Mapping[str, Any]) -> list[str]:
        path = tmp_path / "c.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return list(map(str, read_catalogue([str(path)]).errors))

    with pytest.raises(DataError, match=r"line 1: no column is called title or name .*, of id, colour"):
        read({"id": "a", "colour": "red"})
    with pytest.raises(DataError, match="there are no items"):
        read()
    with pytest.raises(DataError, match="'Größe-' has no name of its own"):
        read({"id": "a", "title": "b", "größe": 1, "Größe-": 2})
    told = read({"id": "a", "title": "b", "price": "cheap"}, {"id": "a", "title": "c"}, {"id": "", "title": "d"})
    assert "'cheap' is no price" in told[0]
    assert "the id 'a' is that of" in told[1]
    assert "has no id" in told[2]
    assert "no path" in read({"id": "a", "title": "b", "picture": {"bytes": "..."}})[0]


def test_a_bad_row_does_not_end_the_run(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows = [
        {"id": "a", "title": "b", "price": 10**400}, {"id": "c", "colour": "red"}, {"id": "d", "title": "e"},
        {"id": item_key("d"), "title": "f"}, {"id": "g", "colour": "red"},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    catalogue = read_catalogue([str(path)])
    assert [(item.id, item.price) for item in catalogue.items] == [("a", None), ("d", None)]
    told = list(map(str, catalogue.errors))
    assert "is no price" in told[0]
    assert "line 2: no column is called title" in told[1]
    assert f"line 4: the id '{item_key('d')}' is that of {path}, line 3 too" in told[2]
    assert "line 5: no column is called title" in told[3]
    assert not catalogue.whole


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12", 12.0), ("12.5", 12.5), ("1,299.00", 1299.0), ("1.299,00 EUR", 1299.0), ("€ 19,99", 19.99),
        ("US$12", 12.0), ("1,299", 1299.0), ("1.234.567", 1234567.0), ("1 299,5 kr.", 1299.5), ("CHF 1'299.-", None),
        ("", None), (None, None), (7, 7.0), ("-3.5", -3.5),
    ],
)  # fmt: skip
def test_prices_as_shops_write_them(text: Any, price: float | None) -> None:
    if text == "CHF 1'299.-":
        with pytest.raises(ValueError, match="1'299"):
            price_of(text)
        return
    assert price_of(text) == price


@given(st.integers(0, 10**9), st.sampled_from([",.", ".,", " .", "',"]), st.sampled_from(["", "$", "EUR ", "kr"]))
def test_any_price_with_cents_is_read_back(cents: int, signs: str, currency: str) -> None:
    thousands, point = signs
    written = f"{currency}{cents // 100:,}.{cents % 100:02d}".translate({ord(","): thousands, ord("."): point})
    assert_allclose(price_of(written) or 0.0, cents / 100)


@given(st.text(max_size=12))
def test_no_price_raises_but_value_errors(text: str) -> None:
    try:
        price = price_of(text)
    except ValueError:
        return
    assert price is None or np.isfinite(price)
