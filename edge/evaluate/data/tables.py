"""Strict tables: a CSV, JSON or JSONL file is read whole and right, or refused in one line with row and column.

Rows are counted as a spreadsheet counts them: the header is row 1. Messages name rows and columns, never contents.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import InputError

MEND = "mend the file or give another"
FIELD_LIMIT = 1 << 27


@dataclass(frozen=True)
class Row:
    """One record. number: its row in the file; values: column to text, exactly as written."""

    path: Path
    number: int
    values: Mapping[str, Any]

    def text(self, column: str) -> str:
        """A text that must hold something. Errors: InputError."""
        value = self.values.get(column)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(column, "is empty" if not value else "is not text")
        return value

    def wrong(self, column: str, what: str) -> InputError:
        """The error for one cell."""
        return InputError(f"row {self.number}, column '{column}' {what}", where=str(self.path), mend=MEND)


def read_text(path: Path) -> str:
    """A file as UTF-8 text. Errors: InputError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), mend="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", where=str(path), mend="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path), mend="give a data file") from error


def csv_header(text: str) -> list[str]:
    """Names of the columns; empty when the text is no CSV."""
    try:
        return [name.strip() for name in next(csv.reader(io.StringIO(text, newline="")), [])]
    except csv.Error:
        return []


def read_csv(path: Path, columns: Sequence[str], *, text: str | None = None) -> list[Row]:
    """Rows of a CSV that has at least `columns`.

    Errors: InputError on a missing or doubled column, a row with too few or too many fields, broken quoting, no rows.
    """
    content = read_text(path) if text is None else text
    previous = csv.field_size_limit(FIELD_LIMIT)
    try:
        return list(_csv_rows(path, content, columns))
    except csv.Error as error:
        raise InputError("its quoting is broken", where=str(path), mend=MEND) from error
    finally:
        csv.field_size_limit(previous)


def _csv_rows(path: Path, text: str, columns: Sequence[str]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(f"column '{missing[0]}' is missing", where=str(path), mend=f"it needs {', '.join(columns)}")
    doubled = [name for name in columns if header.count(name) > 1]
    if doubled:
        raise InputError(f"column '{doubled[0]}' is there twice", where=str(path), mend=MEND)
    number = 1
    for fields in reader:
        number += 1
        if not fields:
            continue
        if len(fields) != len(header):
            what = f"row {number} has {len(fields)} fields, the header has {len(header)}"
            raise InputError(what, where=str(path), mend=MEND)
        yield Row(path, number, dict(zip(header, fields, strict=True)))
    if number == 1:
        raise InputError("it has no rows", where=str(path), mend=MEND)


def read_json_list(path: Path, *, text: str | None = None) -> list[Row]:
    """Records of a JSON file that is a list of objects. Errors: InputError."""
    content = read_text(path) if text is None else text
    try:
        value = json.loads(content)
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"not valid JSON{place}", where=str(path), mend=MEND) from error
    except RecursionError as error:
        raise InputError("nested too deep", where=str(path), mend=MEND) from error
    if not isinstance(value, list) or not value:
        raise InputError("not a list of records", where=str(path), mend=MEND)
    return [_object_row(path, number, item) for number, item in enumerate(value, 1)]


def read_jsonl(path: Path, *, text: str | None = None) -> list[Row]:
    """Records of a JSONL file, one object a line. Errors: InputError."""
    content = read_text(path) if text is None else text
    rows = []
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"row {number} is not valid JSON", where=str(path), mend=MEND) from error
        rows.append(_object_row(path, number, value))
    if not rows:
        raise InputError("it has no rows", where=str(path), mend=MEND)
    return rows


def _object_row(path: Path, number: int, value: object) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"row {number} is not an object", where=str(path), mend=MEND)
    return Row(path, number, value)


def unique_id(row: Row, column: str, seen: set[str]) -> str:
    """A case's id as text, unlike all before it. Errors: InputError."""
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise row.wrong(column, "is empty" if value in (None, "") else "is no id")
    name = str(value).strip()
    if name in seen:
        raise row.wrong(column, "repeats the id of an earlier row")
    seen.add(name)
    return name
