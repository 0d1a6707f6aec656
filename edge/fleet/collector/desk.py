"""What a person does with the quarantine: look, judge again, take copies out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, select

from edge.fleet.collector.judge import Accepted, Judge, Moment, Quarantined
from edge.fleet.collector.registry import Registry
from edge.fleet.collector.writer import Batch, write_batch
from edge.fleet.store.store import Store
from edge.fleet.store.tables import quarantine
from edge.fleet.wire.event import Event

PAGE_ROWS = 200


@dataclass(frozen=True)
class Choice:
    """Which rows; None: any. reason: the word before a colon."""

    device: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Requeued:
    """What judging again came to."""

    accepted: int
    refused: int
    unreadable: int  # cut, or without attributes: only the device can send these again


def rows(store: Store, choice: Choice, newest: int | None = None) -> Iterator[Row[Any]]:
    """Quarantined messages, oldest first; newest: only that many of the newest. Errors: SQLAlchemyError."""
    after = 0
    while True:
        statement = _chosen(choice).where(quarantine.c.id > after).order_by(quarantine.c.id).limit(PAGE_ROWS)
        if newest is not None:
            statement = _chosen(choice).order_by(quarantine.c.id.desc()).limit(newest)
        with store.reading() as connection:
            found = connection.execute(statement).all()
        yield from reversed(found) if newest is not None else found
        if not found or newest is not None:
            return
        after = found[-1].id


def requeue(store: Store, judge: Judge, choice: Choice, now_s: Any) -> Requeued:
    """Judge quarantined messages again, as they came. What is believed now becomes a message like any other and leaves
    the quarantine, in one transaction; what is not stays as it is. Errors: SQLAlchemyError."""
    registry = Registry(store, now_s)
    accepted = refused = unreadable = 0
    for row in rows(store, choice):
        event = _event(row)
        if event is None:
            unreadable += 1
            continue
        moment = Moment.at(store.clock())
        verdict = judge.event(event, registry.find([event.device]).get(event.device), moment)
        if isinstance(verdict, Quarantined):
            refused += 1
        elif _take_in(store, verdict, moment, row.id):
            accepted += 1
        else:
            refused += 1
    return Requeued(accepted, refused, unreadable)


def to_line(row: Row[Any]) -> str:
    """One quarantined message as a line of JSON, its bytes in base64."""
    found = {
        name: base64.b64encode(bytes(value)).decode() if isinstance(value, bytes | memoryview) else value
        for name, value in row._mapping.items()
    }
    return json.dumps(found, sort_keys=True)


def _chosen(choice: Choice) -> Any:
    statement = select(quarantine)
    if choice.device is not None:
        statement = statement.where(quarantine.c.device == choice.device)
    if choice.reason is not None:
        exact = quarantine.c.reason == choice.reason
        statement = statement.where(exact | quarantine.c.reason.startswith(f"{choice.reason}:", autoescape=True))
    return statement


def _event(row: Row[Any]) -> Event | None:
    """The event as it was, when all of it was kept."""
    if row.signature is None or row.key_fingerprint is None or row.epoch is None or row.seq is None or row.type is None:
        return None
    return Event(
        row.device, row.epoch, row.seq, row.type, bytes(row.data), bytes(row.signature), row.key_fingerprint,
        row.event_time,
    )  # fmt: skip


def _take_in(store: Store, verdict: Accepted, moment: Moment, row_id: int) -> bool:
    with store.writing() as connection:
        written = write_batch(connection, Batch(moment, accepted=[verdict]))
        if written.reused:
            return False
        connection.execute(delete(quarantine).where(quarantine.c.id == row_id))
    return True
