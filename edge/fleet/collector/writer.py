"""One batch into the database: what `ingest` judged becomes rows, all in one transaction of the caller.

The primary key (device, epoch, seq) of `messages` makes nothing double: rows are inserted or passed over, and what was
passed over is compared. The same bytes are a repetition; other bytes under the same id are quarantined as
`sequence_reused`. Rows are written in the order of their keys, so that two collectors never wait for each other.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Table, bindparam, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from edge.fleet.collector.judge import Accepted, Moment, Quarantined, reused
from edge.fleet.collector.states import Change
from edge.fleet.store.tables import devices, installs, messages, quarantine, results, telemetry
from edge.fleet.wire.event import MAX_EVENT_BYTES
from edge.fleet.wire.messages import InstallReport, Telemetry
from edge.fleet.wire.report import CheckReport, FieldReport

Key = tuple[str, str, int]
_CHECKS = TypeAdapter(tuple[CheckReport, ...])


@dataclass
class Batch:
    """What is committed together. newest_only: telemetry over its device's budget, of which one row is kept."""

    moment: Moment
    accepted: list[Accepted] = field(default_factory=list)
    newest_only: list[Accepted] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # devices whose last_seen_at is due
    noisy: set[str] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """What became of it. reused: quarantined because their id was taken by other bytes."""

    new: int
    repeated: int
    reused: list[Quarantined]


def key_of(one: Accepted) -> Key:
    """The primary key of a message."""
    return one.event.device, one.event.epoch, one.event.seq


def write_batch(connection: Connection, batch: Batch) -> Written:
    """Write a batch. Errors: SQLAlchemyError, after which the transaction must be rolled back."""
    first: dict[Key, Accepted] = {}
    for one in batch.accepted:
        first.setdefault(key_of(one), one)
    ordered = [first[key] for key in sorted(first)]
    new = _insert(connection, messages, [_message_row(one, batch.moment) for one in ordered])
    twice: list[Quarantined] = []
    fresh = ordered
    if new != len(batch.accepted):  # some were there, or stand in this batch twice
        there = _committed(connection, ordered)
        same = {key_of(one): one for one in batch.accepted if _bytes_of(one) == there[key_of(one)]}
        fresh = [same[key] for key in sorted(same)]
        twice = [reused(one) for one in batch.accepted if _bytes_of(one) != there[key_of(one)]]
    _insert(connection, results, [_result_row(one, batch.moment) for one in fresh if _is(one, FieldReport)])
    _insert(connection, installs, [_install_row(one, batch.moment) for one in fresh if _is(one, InstallReport)])
    told = [one for one in (*fresh, *batch.newest_only) if isinstance(one.document, Telemetry)]
    _write_telemetry(connection, told, batch.moment)
    kept = sorted((*_first_seen(connection, batch.quarantined), *twice), key=_quarantine_key)
    _insert(connection, quarantine, [quarantine_row(one, batch.moment) for one in kept])
    _mark_devices(connection, batch)
    return Written(new, len(batch.accepted) - new - len(twice), twice)


def _bytes_of(one: Accepted) -> tuple[str, str]:
    return one.data_sha256, one.event.type


def _is(one: Accepted, kind: type) -> bool:
    return isinstance(one.document, kind)


def _committed(connection: Connection, ordered: Sequence[Accepted]) -> dict[Key, tuple[str, str]]:
    """What stands under these keys. On PostgreSQL another collector may have committed it meanwhile."""
    columns = messages.c
    key = tuple_(columns.device, columns.epoch, columns.seq)
    found = connection.execute(
        select(columns.device, columns.epoch, columns.seq, columns.data_sha256, columns.type).where(
            key.in_([key_of(one) for one in ordered])
        )
    )
    return {(row.device, row.epoch, row.seq): (row.data_sha256, row.type) for row in found}


@functools.cache
def _insert_text(table: Table, dialect: str) -> tuple[str, tuple[str, ...]]:
    """INSERT that passes over what is there, in the driver's own words, and its columns: measured, SQLAlchemy's own
    way through a row of 25 columns costs as much as SQLite's."""
    names = tuple(column.name for column in table.columns if column.name != "id")
    quoted = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join(["%s" if dialect == "postgresql" else "?"] * len(names))
    return f'INSERT INTO "{table.name}" ({quoted}) VALUES ({marks}) ON CONFLICT DO NOTHING', names  # noqa: S608


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert or pass over; how many were inserted."""
    if not rows:
        return 0
    statement, names = _insert_text(table, connection.dialect.name)
    values = operator.itemgetter(*names)
    return connection.exec_driver_sql(statement, [values(row) for row in rows]).rowcount


def _message_row(one: Accepted, moment: Moment) -> dict[str, Any]:
    event = one.event
    return {
        "device": event.device,
        "epoch": event.epoch,
        "seq": event.seq,
        "type": event.type,
        "received_at": moment.now,
        "event_time": one.event_time,
        "data": event.data,
        "data_sha256": one.data_sha256,
    }


def _result_row(one: Accepted, moment: Moment) -> dict[str, Any]:
    """A result's figures: the time to the first token of the longest prompt, decode at its slowest context."""
    report = one.document
    if not isinstance(report, FieldReport):
        raise TypeError("no result")
    prefill = max(report.prefill, key=lambda found: found.prompt_tokens, default=None)
    decode = min(report.decode, key=lambda found: found.tokens_per_s, default=None)
    measured = report.measured_at
    golden = report.golden
    return {
        "device": one.event.device,
        "epoch": one.event.epoch,
        "seq": one.event.seq,
        "received_at": moment.now,
        "measured_at": measured if measured is not None and moment.believes(measured) else None,
        "bundle_digest": report.bundle_digest,
        "behaviour_digest": report.behaviour_digest,
        "profile": report.profile,
        "target": report.target,
        "device_class": report.device_class,
        "release": report.release,
        "passed": report.passed,
        "golden_passed": None if golden is None else golden.passed and golden.self_test_passed is not False,
        "emulated": report.emulated,
        "ttft_ms": None if prefill is None else prefill.ttft_ms,
        "ttft_prompt_tokens": None if prefill is None else prefill.prompt_tokens,
        "decode_tokens_per_s": None if decode is None else decode.tokens_per_s,
        "decode_context_tokens": None if decode is None else decode.context_tokens,
        "tpot_p95_ms": None if decode is None else decode.tpot_p95_ms,
        "floor_ratio": None if report.sustained is None else report.sustained.floor_ratio,
        "floor_tokens_per_s": None if report.sustained is None else report.sustained.floor_tokens_per_s,
        "temperature_highest_celsius": report.temperature_highest_celsius,
        "energy_j_per_token": report.energy_j_per_token,
        "peak_rss_bytes": report.peak_rss_bytes,
        "checks": _CHECKS.dump_json(report.checks).decode(),
    }


def _install_row(one: Accepted, moment: Moment) -> dict[str, Any]:
    row = one.document.model_dump(exclude={"version", "slot"})
    return {
        "device": one.event.device,
        "epoch": one.event.epoch,
        "seq": one.event.seq,
        "received_at": moment.now,
        **row,
    }


def _quarantine_key(one: Quarantined) -> tuple[str, str, int, str, str]:
    return one.device, one.epoch or "", one.seq or 0, one.data_sha256, one.reason


def _first_seen(connection: Connection, found: Iterable[Quarantined]) -> list[Quarantined]:
    """Without the repetitions of messages whose id cannot be read: their rows have no key that would tell."""
    unique = {_quarantine_key(one): one for one in found}
    nameless = {(one.device, one.data_sha256) for one in unique.values() if one.seq is None}
    if not nameless:
        return list(unique.values())
    columns = quarantine.c
    there = connection.execute(
        select(columns.device, columns.data_sha256, columns.reason).where(
            tuple_(columns.device, columns.data_sha256).in_(sorted(nameless)), columns.seq.is_(None)
        )
    )
    known = {tuple(row) for row in there}
    return [
        one for one in unique.values() if one.seq is not None or (one.device, one.data_sha256, one.reason) not in known
    ]


def _write_telemetry(connection: Connection, told: Iterable[Accepted], moment: Moment) -> None:
    """The newest of each device: by sequence within an epoch, and a new epoch by its arrival."""
    newest: dict[str, Accepted] = {}
    for one in told:
        other = newest.get(one.event.device)
        if other is None or other.event.epoch != one.event.epoch or other.event.seq < one.event.seq:
            newest[one.event.device] = one
    if not newest:
        return
    rows = [
        {
            "device": device,
            "epoch": one.event.epoch,
            "seq": one.event.seq,
            "received_at": moment.now,
            "data": one.event.data.decode(),
        }
        for device, one in sorted(newest.items())
    ]
    kind = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = kind.insert(telemetry)
    offered = statement.excluded
    newer = (telemetry.c.epoch != offered.epoch) | (telemetry.c.seq < offered.seq)
    changed = {name: offered[name] for name in ("epoch", "seq", "received_at", "data")}
    connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=changed, where=newer), rows)


def quarantine_row(one: Quarantined, moment: Moment) -> dict[str, Any]:
    """What is kept of a message that is not believed."""
    event = one.event
    return {
        "device": one.device,
        "epoch": one.epoch,
        "seq": one.seq,
        "type": one.type,
        "received_at": moment.now,
        "reason": one.reason,
        "data": one.data[:MAX_EVENT_BYTES],
        "data_sha256": one.data_sha256,
        "event_time": None if event is None else event.time,
        "signature": None if event is None else event.signature,
        "key_fingerprint": None if event is None else event.key,
    }


def _mark_devices(connection: Connection, batch: Batch) -> None:
    now = batch.moment.now
    wrong = {one.event.device for one in batch.accepted if one.clock_wrong}
    for column, names in (("last_seen_at", set(batch.seen)), ("noisy_at", batch.noisy), ("clock_wrong_at", wrong)):
        if names:
            connection.execute(
                update(devices).where(devices.c.device == bindparam("one")).values({column: now}),
                [{"one": name} for name in sorted(names)],
            )
    for change in batch.changes:
        statement = update(devices).where(devices.c.device == change.device).values(**change.columns)
        if change.version is not None:
            statement = statement.where(devices.c.reported_version <= change.version)
        connection.execute(statement)
