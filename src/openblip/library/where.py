"""Filters as people write them -> filters of LanceDB. Nothing of what is typed gets there as it is: fields must be
known, values are read as what their field holds and written anew.

    taken >= 2024-06-01 and size > 2MB and not path ~ "/screenshots/"

Knows no table and no library.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal

from openblip.errors import OptionError

Kind = Literal["text", "number", "pixels", "bytes", "time", "moment"]
"""What a field holds: "pixels" and "bytes" are whole numbers, bytes with units (2MB), "time" is by a clock without a
zone, "moment" is in UTC."""

PHOTO_FIELDS: Mapping[str, Kind] = {
    "path": "text", "key": "text", "caption": "text", "model": "text", "sha256": "text", "id": "text",
    "size": "bytes", "width": "pixels", "height": "pixels", "taken": "time", "modified": "moment",
}  # fmt: skip
"""The fields of a photo library."""

MAX_LENGTH, _MAX_DEPTH = 2000, 20
_TOKEN = re.compile(
    r"""\s*(?: (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') | (?P<sign><=|>=|!=|==|=|<|>|~|\(|\))
    | (?P<word>[^\s"'()<>=!~]+) )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)([kmg]?i?b?)", re.IGNORECASE)
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_LARGEST = {"pixels": 2**31 - 1, "bytes": 2**63 - 1}  # of their columns, which hold nothing below 0
_DATES = (
    ("%Y-%m-%dT%H:%M:%S", timedelta(seconds=1)), ("%Y-%m-%d %H:%M:%S", timedelta(seconds=1)),
    ("%Y-%m-%dT%H:%M", timedelta(minutes=1)), ("%Y-%m-%d %H:%M", timedelta(minutes=1)), ("%Y-%m-%d", timedelta(days=1)),
)  # fmt: skip
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")


def where_filter(
    text: str,
    fields: Mapping[str, Kind] = PHOTO_FIELDS,
    columns: Mapping[str, str] = {},
) -> str | None:
    """A filter of LanceDB, None for an empty text. columns: of fields that have another name in the table.

    FIELD OPERATOR VALUE, joined by and, or, not and brackets. Operators: = != < <= > >= and, for text, ~ (holds, in
    capital letters or not). "= none" and "!= none" ask whether there is a value. A date stands for all of its day,
    a month (2024-06) or a year (2024) for all of it. Raises OptionError that says what is wrong where.
    """
    if not text.strip():
        return None
    if len(text) > MAX_LENGTH:
        raise OptionError(f"the filter has {len(text)} characters: give at most {MAX_LENGTH}")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise OptionError(f"the filter {text!r} holds half of a character: give it as UTF-8")
    return _Parser(text, fields, columns).parse()


def quoted(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    kind: str  # text, sign, word, end


class _Parser:
    """Recursive descent: or, and, not, comparison."""

    def __init__(self, text: str, fields: Mapping[str, Kind], columns: Mapping[str, str]) -> None:
        self._text, self._fields, self._columns, self._depth = text, fields, columns, 0
        self._tokens, self._place = [*self._split()], 0

    def _split(self) -> Iterator[_Token]:
        place, end = 0, len(self._text.rstrip())
        while place < end:
            match = _TOKEN.match(self._text, place)
            if match is None:
                raise self._error(f"{self._text[place : place + 10]!r} cannot be read: put texts into quotes")
            yield _Token(match[match.lastgroup or ""], str(match.lastgroup))
            place = match.end()
        yield _Token("", "end")

    def parse(self) -> str:
        result = self._any()
        if self._now.kind != "end":
            raise self._error(f"{self._now.text!r} is one too many: join comparisons by and, or")
        return result

    @property
    def _now(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._now
        self._place += token.kind != "end"
        return token

    def _is(self, word: str) -> bool:
        """Take the word if it stands here."""
        here = self._now.kind in ("word", "sign") and self._now.text.lower() == word
        self._place += here
        return here

    def _any(self) -> str:
        parts = [self._all()]
        while self._is("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _all(self) -> str:
        parts = [self._one()]
        while self._is("and"):
            parts.append(self._one())
        return " AND ".join(parts)

    def _one(self) -> str:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"it is nested more than {_MAX_DEPTH} deep")
        try:
            if self._is("not"):
                return f"NOT ({self._one()})"
            if self._is("("):
                inner = self._any()
                if not self._is(")"):
                    raise self._error("a bracket is not closed")
                return f"({inner})"
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> str:
        name, sign, value = self._next(), self._next(), self._next()
        if name.kind != "word" or name.text.lower() not in self._fields:
            raise self._error(f"{name.text or 'its end'!r} is no field: name one of {', '.join(self._fields)}")
        field = name.text.lower()
        operator = "=" if sign.text == "==" else sign.text
        if sign.kind != "sign" or operator not in (*_COMPARISONS, "~"):
            raise self._error(f"{field} wants one of {' '.join(_COMPARISONS)} ~ behind it, not {sign.text!r}")
        if value.kind not in ("text", "word"):
            raise self._error(f"{field} {sign.text} wants a value behind it")
        given = value.text if value.kind == "word" else re.sub(r"\\(.)", r"\1", value.text[1:-1])
        return self._compared(field, operator, given, value.kind == "word")

    def _compared(self, field: str, operator: str, value: str, bare: bool) -> str:
        kind, column = self._fields[field], self._columns.get(field, field)
        if bare and value.lower() == "none" and operator in ("=", "!="):
            empty = f"({column} IS NULL OR {column} = '')" if kind == "text" else f"{column} IS NULL"
            return empty if operator == "=" else f"NOT ({empty})"
        if operator == "~":
            if kind != "text":
                raise self._error(f"~ is for texts, and {field} is none: give {' '.join(_COMPARISONS)}")
            return f"contains(lower({column}), {quoted(value.lower())})"
        if kind == "text":
            return f"{column} {operator} {quoted(value)}"
        if kind in ("number", "pixels", "bytes"):
            number = self._number(field, kind, value)
            return f"{column} {operator} {repr(float(number)) if kind == 'number' else _whole(number, operator, kind)}"
        return self._span(field, column, operator, value, kind)

    def _number(self, field: str, kind: Kind, value: str) -> Fraction:
        match = _NUMBER.fullmatch(value)
        unit = match[2].lower().rstrip("b") if match else ""
        if match is None or unit not in _SCALES or (match[2] and kind != "bytes"):
            example = "2000000 or 2MB" if kind == "bytes" else "1024"
            raise self._error(f"{field} is compared to a number such as {example}, not to {value!r}")
        number = Fraction(match[1]) * _SCALES[unit]
        if kind == "number" and abs(number) > sys.float_info.max:
            raise self._error(f"{field} is compared to a number of {len(match[1])} digits: give one below 1e308")
        return number

    def _span(self, field: str, column: str, operator: str, value: str, kind: Kind) -> str:
        """A date is the span from its start to its end."""
        start, end = self._moments(field, value)
        first, last = (self._literal(moment, kind) for moment in (start, end))
        return {
            "=": f"({column} >= {first} AND {column} < {last})",
            "!=": f"({column} < {first} OR {column} >= {last})",
            "<": f"{column} < {first}",
            "<=": f"{column} < {last}",
            ">": f"{column} >= {last}",
            ">=": f"{column} >= {first}",
        }[operator]

    def _literal(self, moment: datetime, kind: Kind) -> str:
        text = moment.isoformat(sep=" ")
        if kind == "moment":
            return f"arrow_cast('{text}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
        return f"arrow_cast('{text}', 'Timestamp(Microsecond, None)')"

    def _moments(self, field: str, value: str) -> tuple[datetime, datetime]:
        try:
            if re.fullmatch(r"\d{4}", value):
                return datetime(int(value), 1, 1), datetime(int(value) + 1, 1, 1)
            if month := re.fullmatch(r"(\d{4})-(\d{1,2})", value):
                year, number = int(month[1]), int(month[2])
                later = (year + 1, 1) if number == 12 else (year, number + 1)
                return datetime(year, number, 1), datetime(*later, 1)
        except ValueError:
            pass
        for form, span in _DATES:
            try:
                moment = datetime.strptime(value, form).replace(tzinfo=UTC).replace(tzinfo=None)
                return moment, moment + span
            except (ValueError, OverflowError):
                continue
        raise self._error(f"{field} is compared to a date such as 2024-06-01 or 2024-06-01T18:30, not to {value!r}")

    def _error(self, what: str) -> OptionError:
        return OptionError(f"the filter {self._text!r}: {what}")


def _whole(number: Fraction, operator: str, kind: Kind) -> int:
    """The whole number that says the same of whole numbers, among those that the column can be compared with."""
    if operator in ("=", "!=") and number.denominator > 1:
        return -1
    whole = math.ceil(number) if operator in ("<", ">=") else math.floor(number)
    return max(-1, min(whole, _LARGEST[kind]))
