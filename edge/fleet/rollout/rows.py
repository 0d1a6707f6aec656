"""Rollouts in the fleet's database: reading evidence, and writing one step with all that belongs to it.

A step is one transaction: the new state, the devices' statuses, the decisions and the desired versions, or nothing. It
begins by exchanging the state it was computed from for the new one; a second controller that comes with the same old
state finds another and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from edge.bundle.canonical import canonical_json
from edge.errors import InputError
from edge.fleet.rollout.evidence import TAKEN_OFF, Evidence
from edge.fleet.rollout.ring_facts import time_of
from edge.fleet.rollout.rules import Decision, Effect, SetBack, SetDesired, Step
from edge.fleet.rollout.state import Device, State, to_ms
from edge.fleet.store.tables import (
    decisions,
    desired,
    devices,
    installs,
    releases,
    results,
    rollout_devices,
    rollouts,
)


def read_evidence(connection: Connection, rollout: str, digest: str, since_ms: int) -> list[Evidence]:
    """Results and installs about a bundle that were received at or after `since_ms`."""
    since = time_of(since_ms)
    tested, installed = results.c, installs.c
    found = [
        Evidence(row.device, f"{row.epoch}/{row.seq}", to_ms(row.received_at), row.bundle_digest, bool(row.passed),
                 row.golden_passed, bool(row.emulated))
        for row in connection.execute(
            select(tested.device, tested.epoch, tested.seq, tested.received_at, tested.bundle_digest, tested.passed,
                   tested.golden_passed, tested.emulated)
            .where(tested.bundle_digest == digest, tested.received_at >= since)
        )
    ]  # fmt: skip
    # A refusal may come before the device has read which bundle it is; a way back is of this rollout or of a person,
    # and was asked for: another build that failed on top of this one leaves this one in force.
    ours = or_(installed.rollout.is_(None), installed.rollout == rollout)
    about = or_(
        installed.to_digest == digest,
        and_(installed.to_digest.is_(None), installed.rollout == rollout),
        and_(
            installed.from_digest == digest, installed.outcome == "rolled_back", installed.reason == "requested", ours
        ),
    )
    found += [
        Evidence(row.device, f"{row.epoch}/{row.seq}", to_ms(row.received_at), digest,
                 outcome=row.outcome if row.to_digest in (digest, None) else TAKEN_OFF, reason=row.reason)
        for row in connection.execute(
            select(installed.device, installed.epoch, installed.seq, installed.received_at, installed.to_digest,
                   installed.outcome, installed.reason)
            .where(about, installed.received_at >= since)
        )
    ]  # fmt: skip
    return found


def read_left(connection: Connection, rollout: str) -> list[str]:
    """Devices of a rollout that were revoked or are no longer in the fleet, and not noted as such."""
    return list(
        connection.execute(
            select(rollout_devices.c.device)
            .outerjoin(devices, devices.c.device == rollout_devices.c.device)
            .where(
                rollout_devices.c.rollout == rollout,
                or_(devices.c.device.is_(None), devices.c.revoked_at.is_not(None)),
            )
        ).scalars()
    )


def write_step(connection: Connection, rollout: str, before: str, old: State, step: Step, now_ms: int) -> bool:
    """Write a step, unless the state is no longer `before`. False: another was first, and nothing was written."""
    now = time_of(now_ms)
    fresh = replace(step.state, revision=old.revision + 1)
    exchanged = connection.execute(
        update(rollouts)
        .where(rollouts.c.rollout == rollout, rollouts.c.state == before)
        .values(state=fresh.to_text(), phase=fresh.phase, updated_at=now)
    )
    if exchanged.rowcount != 1:
        return False
    changed = [
        {"of": name, "new": device.status}
        for name, device in fresh.devices.items()
        if device is not old.devices[name] and device.status != old.devices[name].status
    ]
    if changed:
        connection.execute(
            update(rollout_devices)
            .where(rollout_devices.c.rollout == rollout, rollout_devices.c.device == bindparam("of"))
            .values(status=bindparam("new"), updated_at=now),
            changed,
        )
    write_effects(connection, rollout, fresh, step.effects, now)
    return True


def write_effects(connection: Connection, rollout: str, state: State, effects: Iterable[Effect], now: str) -> None:
    """Decisions and desired versions, in the order in which they were made."""
    kept = list(effects)
    _set_desired(connection, rollout, state, [one.device for one in kept if isinstance(one, SetDesired)])
    _set_back(connection, rollout, state, [one for one in kept if isinstance(one, SetBack)])
    said = [one for one in kept if isinstance(one, Decision)]
    if said:
        connection.execute(
            insert(decisions),
            [
                {"rollout": rollout, "at": now, "ring": one.ring, "decision": one.kind, "by": one.by,
                 "evidence": canonical_json(one.evidence, "decision").decode().rstrip("\n")}
                for one in said
            ],
        )  # fmt: skip


def _set_desired(connection: Connection, rollout: str, state: State, names: Sequence[str]) -> None:
    """Set devices to the new build, each with its next version."""
    if not names:
        return
    values: dict[str, Any] = {
        "release": state.plan.release,
        "profile": state.plan.profile,
        "bundle_digest": state.digest,
        "rollout": rollout,
    }
    rows = [{"device": name, "version": 1, "published_version": 0, **values} for name in names]
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(desired)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[desired.c.device], set_={"version": desired.c.version + 1, **values}
        ),
        rows,
    )


def _set_back(connection: Connection, rollout: str, state: State, back: Sequence[SetBack]) -> None:
    """Set devices to what they had, where it is still this rollout that decides about them."""
    if not back:
        return
    wanted = {one.previous for one in back if one.previous is not None}
    digests = {row.release: row.bundle_digest for row in connection.execute(
        select(releases.c.release, releases.c.bundle_digest).where(releases.c.release.in_(wanted))
    )} if wanted else {}  # fmt: skip
    connection.execute(
        update(desired)
        .where(desired.c.device == bindparam("of"), desired.c.rollout == rollout)
        .values(
            version=desired.c.version + 1,
            release=bindparam("back_to"),
            bundle_digest=bindparam("its_digest"),
            profile=state.plan.profile,
        ),
        [{"of": one.device, "back_to": one.previous, "its_digest": digests.get(one.previous or "")} for one in back],
    )


def insert_rollout(
    connection: Connection, state: State, text: str, previous: str | None, effects: Iterable[Effect], now_ms: int
) -> None:
    """A new rollout with its devices. text: the plan as it was written."""
    now, name = time_of(now_ms), state.plan.rollout
    connection.execute(
        insert(rollouts).values(
            rollout=name, plan=text, release=state.plan.release, previous_release=previous, phase=state.phase,
            state=state.to_text(), created_at=now, updated_at=now,
        )
    )  # fmt: skip
    connection.execute(insert(rollout_devices), [_device_row(name, state, one, now) for one in state.devices.values()])
    write_effects(connection, name, state, effects, now)


def _device_row(rollout: str, state: State, device: Device, now: str) -> dict[str, str]:
    return {
        "rollout": rollout,
        "device": device.name,
        "ring": state.plan.rings[device.ring].name,
        "status": device.status,
        "updated_at": now,
    }


def read_state(connection: Connection, rollout: str) -> tuple[str, State]:
    """A rollout's state, as written and as read. Errors: InputError for a name that is not there."""
    text = connection.execute(select(rollouts.c.state).where(rollouts.c.rollout == rollout)).scalar_one_or_none()
    if text is None:
        raise InputError(f"there is no rollout '{rollout[:100]}'", mend="see `edge rollout status`")
    return text, State.from_text(text, f"rollout {rollout}")
