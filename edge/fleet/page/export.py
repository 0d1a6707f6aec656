"""The fleet as JSON and CSV, streamed: a piece of rows is read, written and forgotten.

CSV is opened in spreadsheets, which run a cell that begins with = + - @ as a formula. Text columns get an apostrophe
before such a beginning; numbers stay numbers, negative ones too.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from edge.fleet.page.checks import parsed
from edge.fleet.page.devices import DeviceView
from edge.fleet.page.queries import Row, stream
from edge.fleet.store import tables
from edge.fleet.store.store import Store

TABLES = {"results": tables.results, "installs": tables.installs, "decisions": tables.decisions}
NAMES = ("devices", *TABLES)
FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
# Text columns that hold JSON: a value of its own in JSON, text in CSV.
JSON_COLUMNS = frozenset({"checks", "evidence"})
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
PIECE_ROWS = 500


def export_rows(
    name: str, store: Store, views: Iterable[DeviceView], device: str | None
) -> tuple[list[str], Iterator[Row]]:
    """Column names and rows of one of NAMES. views: of the devices; device: only its rows where the table has one."""
    if name == "devices":
        columns = list(DeviceView.__dataclass_fields__)
        return columns, (asdict(view) for view in views if device in (None, view.device))
    table = TABLES[name]
    columns = [column.name for column in table.columns]
    return columns, stream(store, table, device if "device" in columns else None)


def as_csv(columns: list[str], rows: Iterable[Row]) -> Iterator[bytes]:
    """RFC 4180 with a header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for count, row in enumerate(rows, 1):
        writer.writerow([_cell(row[name]) for name in columns])
        if count % PIECE_ROWS == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def as_json(columns: list[str], rows: Iterable[Row]) -> Iterator[bytes]:
    """One array, an object on each line."""
    waiting: list[str] = []
    opened = False
    for row in rows:
        value = {name: parsed(row[name]) if name in JSON_COLUMNS else row[name] for name in columns}
        waiting.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        if len(waiting) == PIECE_ROWS:
            yield ((",\n" if opened else "[\n") + ",\n".join(waiting)).encode()
            opened, waiting = True, []
    if waiting:
        yield ((",\n" if opened else "[\n") + ",\n".join(waiting)).encode()
        opened = True
    yield b"\n]\n" if opened else b"[]\n"


def _cell(value: Any) -> Any:
    """A value for csv.writer: nothing for what was not measured, true and false in words, text that is no formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, tuple | list):
        value = " ".join(str(one) for one in value)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
