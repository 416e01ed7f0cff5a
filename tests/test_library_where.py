"""Filters: what they mean on real rows, and that nothing typed reaches the database as it is."""

from __future__ import annotations

import operator as operators
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openblip.errors import OptionError
from openblip.library.records import Facts, ModelStamp, Place, Record, microseconds
from openblip.library.table import PhotoTable
from openblip.library.where import Kind, where_filter

MODEL = ModelStamp("tiny", "", 8)
ROWS = [
    # name, size, width, caption, taken, modified
    ("holiday/beach.jpg", 1_000_000, 4000, "a dog at the beach", datetime(2024, 6, 1, 12), datetime(2024, 6, 2, 8)),
    ("holiday/o'hara.jpg", 2_500_000, 3000, "a man named O'Hara", datetime(2024, 6, 30, 23, 59), datetime(2025, 1, 1)),
    ("work/screen.png", 50_000, 800, "", None, datetime(2023, 12, 31, 23, 59, 59)),
    ("work/50%_off.jpg", 1_048_576, 800, "a SIGN that says 50%", datetime(2023, 6, 1), datetime(2024, 6, 1)),
]
BEACH, OHARA, SCREEN, SIGN = (row[0] for row in ROWS)
OPERATORS = {
    "=": operators.eq, "!=": operators.ne, "<": operators.lt, "<=": operators.le, ">": operators.gt, ">=": operators.ge
}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PhotoTable:
    made = PhotoTable.create(tmp_path_factory.mktemp("library") / "db", MODEL)
    vector = np.eye(8, dtype=np.float32)[0]
    made.write(
        [
            Record(
                Place(name, size, microseconds(modified.replace(tzinfo=UTC))),
                Facts("0" * 64, width, 600, taken), caption, MODEL, vector,
            )
            for name, size, width, caption, taken, modified in ROWS
        ],
        fresh=True,
    )  # fmt: skip
    return made


def matching(table: PhotoTable, text: str) -> set[str]:
    return {record.name for record in table.listed(where_filter(text), 100)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {BEACH, OHARA, SCREEN, SIGN}),
        ("size > 1MB", {OHARA, SIGN}),
        ("size >= 1MiB", {OHARA, SIGN}),
        ("size = 1000000", {BEACH}),
        ("WIDTH <= 800", {SCREEN, SIGN}),
        ("width != 800 and size<2MB", {BEACH}),
        ("taken = 2024-06-30", {OHARA}),
        ("taken = 2024-06", {BEACH, OHARA}),
        ("taken >= 2024", {BEACH, OHARA}),
        ("taken < 2024", {SIGN}),
        ("taken > 2024-06-01", {OHARA}),
        ("taken <= 2024-06-01", {BEACH, SIGN}),
        ('taken > "2024-06-30 23:58"', {OHARA}),
        ("taken != 2024-06", {SIGN}),
        ("taken = none", {SCREEN}),
        ("not taken = none", {BEACH, OHARA, SIGN}),
        ("caption = none", {SCREEN}),
        ("caption != none", {BEACH, OHARA, SIGN}),
        ("modified >= 2024-06-02T08:00", {BEACH, OHARA}),
        ("modified < 2024", {SCREEN}),
        ('caption ~ "sign"', {SIGN}),
        ('caption ~ "50%"', {SIGN}),
        ('caption ~ "o\'hara"', {OHARA}),
        ("caption ~ '50_'", set()),
        ("path ~ holiday and not (caption ~ dog or size > 9GB)", {OHARA}),
        ("path ~ holiday or path ~ work and width < 100", {BEACH, OHARA}),
        ('path == "work/screen.png"', {SCREEN}),
        ("width > 3000000000", set()),
        ("width < 3000000000 and width > -3000000000", {BEACH, OHARA, SCREEN, SIGN}),
        ("width = 800.5 or height != 600.5 and width = 4000", {BEACH}),
        ("size > 99999999999GB", set()),
        ("size <= 99999999999GB and size > -99999999999GB", {BEACH, OHARA, SCREEN, SIGN}),
    ],
)
def test_a_filter_means_what_it_says(table: PhotoTable, text: str, expected: set[str]) -> None:
    assert matching(table, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1=1", "'1' is no field: name one of path, key, caption"),
        ("size > big", "such as 2000000 or 2MB, not to 'big'"),
        ("width > 2MB", "a number such as 1024, not to '2MB'"),
        ("taken > yesterday", "a date such as 2024-06-01"),
        ("taken > 9999", "a date such as"),
        ("taken > 2024-13", "a date such as"),
        ("size ~ 3", "~ is for texts, and size is none"),
        ("path ~", "wants a value"),
        ("path", "path wants one of"),
        ("size > 1 size < 3", "'size' is one too many"),
        ("(size > 1", "a bracket is not closed"),
        ('path ~ "x', "put texts into quotes"),
        ("size > 1; DROP TABLE photos", "a number such as"),
        ("vector = 1", "'vector' is no field"),
        ("not " * 40 + "size > 1", "more than 20 deep"),
        ("path ~ " + "x" * 3000, "at most 2000"),
        ("path ~ '\ud800'", "holds half of a character"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        where_filter(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=40)
@given(st.sampled_from(list(OPERATORS)), st.one_of(st.integers(799, 801), st.integers(-(2**70), 2**70)), st.booleans())
def test_any_number_is_compared_with_whole_ones(table: PhotoTable, operator: str, whole: int, half: bool) -> None:
    written, number = f"{whole}{'.5' if half else ''}", whole + (0.5 if whole >= 0 else -0.5) * half
    for field, place in (("width", 2), ("size", 1)):
        expected = {row[0] for row in ROWS if OPERATORS[operator](row[place], number)}
        assert matching(table, f"{field} {operator} {written}") == expected


def test_numbers_with_a_fraction_have_a_largest(table: PhotoTable) -> None:
    fields: dict[str, Kind] = {"price": "number"}
    assert where_filter("price < 1.5", fields) == "price < 1.5"
    assert table.listed(where_filter("price < " + "9" * 300, fields, {"price": "cast(width AS double)"}), 100)
    with pytest.raises(OptionError, match="a number of 400 digits: give one below 1e308"):
        where_filter("price < " + "9" * 400, fields)


@settings(max_examples=25)
@given(st.text(max_size=20))
def test_any_text_stays_a_text(table: PhotoTable, value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    expected = {row[0] for row in ROWS if value.lower() in row[3].lower()}
    found = matching(table, f'caption ~ "{escaped}"')
    assert found == expected or not value.isascii()  # the database lowers letters of other scripts its own way
    assert matching(table, f'path = "{escaped}"') == {row[0] for row in ROWS if row[0] == value}


@settings(max_examples=100)
@given(st.text(alphabet="size<>=!~()'\" andort1.;-\\\n", max_size=40))
def test_anything_is_a_filter_or_one_clear_error(text: str) -> None:
    try:
        where_filter(text)
    except OptionError as error:
        said = str(error)
        if "\n" in said:
            pytest.fail(f"an error of more than a line: {said!r}")


def test_a_library_of_another_kind_is_refused(tmp_path: Path) -> None:
    import lancedb

    from openblip.errors import DataError

    lancedb.connect(tmp_path / "db").create_table("photos", [{"id": 1}])
    with pytest.raises(DataError, match="is no library of openblip's"):
        PhotoTable.open(tmp_path / "db")
