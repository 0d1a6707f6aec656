"""The controller: once a second it takes new evidence through the rules and says what is to be published.

Rules
- `tick` may be called by anybody at any time, also twice at once: a step is written only over the state that it was
  computed from (rows.py). It is called by the collector that holds the lease.
- Each step is one transaction. Killed before it: the next tick computes it again. Killed after it: what it set is in
  `desired`, unpublished, and the next tick publishes it. A message that went out twice has the same version.
- What is read each time is the evidence since the last step, with an overlap of LATE_MS for collectors whose commit
  came late; before a ring opens or a rollout ends all of it is read, and the step is computed anew.
- A desired state is published until `published` is called for it. A device that runs that build already is told to
  measure it, since it would not do so by itself. A device that is online and has not reported it
  CONFIRM_MS later gets it again: a broker without persistence forgets what is retained.
- A rollout whose state cannot be read holds up no other; the error is raised when the others are done.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from edge.errors import EdgeError
from edge.fleet.rollout.ring_facts import time_of
from edge.fleet.rollout.rows import read_evidence, read_left, write_step
from edge.fleet.rollout.rules import Step, advance
from edge.fleet.rollout.state import ACTIVE, State, to_ms
from edge.fleet.store.store import Store
from edge.fleet.store.tables import desired, devices, leases, rollouts
from edge.fleet.wire import topics
from edge.fleet.wire.messages import Command, DesiredState, Publish

LATE_MS = 2 * 3_600_000
# How far the kept "read until" may lag behind, so that a quiet rollout writes little.
READ_STEP_MS = 30 * 60_000
CONFIRM_MS = 10 * 60_000
MOST_VERSION = 1 << 53  # a number beyond it was never counted up to
PUBLISHED_AT_ONCE = 500
_CONFIRMING = "rollout-confirming"


def tick(store: Store, now: datetime) -> tuple[Publish, ...]:
    """Advance every active rollout and give the desired states that are not published yet.

    Errors: SQLAlchemyError from the database; ResourceError for a rollout's state of another edge, after all other
    rollouts were served.
    """
    now_ms = round(now.timestamp() * 1000)
    trouble: EdgeError | None = None
    with store.reading() as connection:
        active = connection.execute(
            select(rollouts.c.rollout, rollouts.c.state, rollouts.c.created_at)
            .where(rollouts.c.phase.in_(ACTIVE))
            .order_by(rollouts.c.created_at, rollouts.c.rollout)
        ).all()
    for row in active:
        try:
            _advance(store, row.rollout, row.state, to_ms(row.created_at), now_ms)
        except EdgeError as error:
            trouble = trouble or error
    _doubt_unconfirmed(store, now_ms)
    messages = _unpublished(store)
    if trouble is not None and not messages:  # messages first: they are not to wait for a person
        raise trouble
    return messages


def published(store: Store, *messages: Publish) -> None:
    """The broker has taken these messages. Later versions than theirs stay unpublished. Errors: SQLAlchemyError."""
    rows = [{"of": one.device, "sent": one.desired_version} for one in messages if one.device]
    if not rows:
        return
    with store.writing() as connection:
        connection.execute(
            update(desired)
            .where(
                desired.c.device == bindparam("of"),
                desired.c.published_version < bindparam("sent"),
                desired.c.version >= bindparam("sent"),
            )
            .values(published_version=bindparam("sent")),
            rows,
        )


def _advance(store: Store, rollout: str, text: str, created_ms: int, now_ms: int) -> None:
    """One rollout, one step."""
    old = State.from_text(text, f"rollout {rollout}")
    unread_ms = now_ms - old.read_ms
    # A clock that went back has read nothing of what comes now.
    since_ms = created_ms if unread_ms < 0 else max(created_ms, old.read_ms - LATE_MS)
    with store.reading() as connection:
        step = _step(connection, rollout, old, since_ms, now_ms)
        if step.is_decisive:
            step = _step(connection, rollout, old, created_ms, now_ms)
    if step.state is old and 0 <= unread_ms < READ_STEP_MS:
        return
    step = replace(step, state=replace(step.state, read_ms=now_ms))
    with store.writing() as connection:
        write_step(connection, rollout, text, old, step, now_ms)


def _step(connection: Connection, rollout: str, old: State, since_ms: int, now_ms: int) -> Step:
    evidence = read_evidence(connection, rollout, old.digest, since_ms)
    return advance(old, now_ms, evidence, read_left(connection, rollout))


def _unpublished(store: Store) -> tuple[Publish, ...]:
    """Desired states that nobody has confirmed as published, each after a command to measure where that is needed."""
    with store.reading() as connection:
        rows = connection.execute(
            select(desired, devices.c.reported, rollouts.c.release.label("new_release"))
            .outerjoin(devices, devices.c.device == desired.c.device)
            .outerjoin(rollouts, rollouts.c.rollout == desired.c.rollout)
            .where(desired.c.version > desired.c.published_version)
            .limit(PUBLISHED_AT_ONCE)
        ).all()
    found = []
    for row in rows:
        is_new = row.release is not None and row.release == row.new_release
        if is_new and _reported(row.reported).get("bundle_digest") == row.bundle_digest:
            found.append(_measure(row.device, f"{row.rollout[:80]}-{row.version}"))
        wanted = DesiredState(
            desired_version=row.version,
            release=row.release,
            profile=row.profile,
            bundle_digest=row.bundle_digest,
            rollout=row.rollout,
        )
        topic = topics.down(row.device, "desired")
        found.append(Publish(topic, wanted.to_bytes(), True, 1, row.device, row.version))
    return tuple(found)


def _measure(device: str, command_id: str) -> Publish:
    """A command to measure: a device that runs the build already would not do so by itself."""
    return Publish(topics.command(device, "bench", command_id), Command(status="init").to_bytes(), True, 1)


def _doubt_unconfirmed(store: Store, now_ms: int) -> None:
    """Publish again what an online device has not reported, once in CONFIRM_MS over all controllers.

    A device that has seen a higher version than its row has (the database was lost, or restored from an older copy)
    would pass over everything up to that: its row goes on after it.
    """
    now, later = time_of(now_ms), time_of(now_ms + CONFIRM_MS)
    with store.reading() as connection:
        due = connection.execute(select(leases.c.expires_at).where(leases.c.name == _CONFIRMING)).scalar_one_or_none()
        # A time beyond one period is of a clock that was wrong.
        if due is not None and now < due <= later:
            return
        rows = connection.execute(
            select(desired.c.device, desired.c.version, devices.c.reported)
            .join(devices, devices.c.device == desired.c.device)
            .where(
                desired.c.published_version == desired.c.version,
                devices.c.online.is_(True),
                devices.c.revoked_at.is_(None),
            )
        ).all()
    reported = [(row, _reported_version(row.reported)) for row in rows]
    doubted = [
        {"of": row.device, "seen": row.version, "next": row.version} for row, has in reported if has < row.version
    ]
    doubted += [
        {"of": row.device, "seen": row.version, "next": has + 1}
        for row, has in reported
        if row.version < has < MOST_VERSION
    ]
    try:
        with store.writing() as connection:
            if due is None:
                connection.execute(insert(leases).values(name=_CONFIRMING, holder="controller", expires_at=later))
            else:
                connection.execute(update(leases).where(leases.c.name == _CONFIRMING).values(expires_at=later))
            if doubted and due is not None:
                connection.execute(
                    update(desired)
                    .where(desired.c.device == bindparam("of"), desired.c.version == bindparam("seen"))
                    .values(version=bindparam("next"), published_version=0),
                    doubted,
                )
    except IntegrityError:  # another controller made the row in the same moment: it will do this
        return


def _reported(reported: str | None) -> dict[str, Any]:
    """What a device said of itself; empty where it said nothing that can be read."""
    try:
        found = json.loads(reported or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reported_version(reported: str | None) -> int:
    """The desired version that a device says it has seen; 0 where it says none."""
    version = _reported(reported).get("desired_version", 0)
    return version if isinstance(version, int) else 0
