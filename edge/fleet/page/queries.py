"""What the page reads of the fleet's database: SQLAlchemy Core, no writing, short transactions.

Only columns that are shown are read. The bytes of a quarantined message are never read: nobody knows what is in them.
The PER_BUILD newest results of each device on each of the SHOWN_BUILDS newest builds of a profile are enough for a
steady median; older ones are history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, and_, func, literal, or_, select

from edge.fleet.store import tables
from edge.fleet.store.store import Store

PER_BUILD = 5
SHOWN_BUILDS = 3
HISTORY_ROWS = 400
QUARANTINE_ROWS = 200
DECISION_ROWS = 500
EXPORT_ROWS = 2_000

Row = dict[str, Any]


class Measured(NamedTuple):
    """The numbers of one result; named like their columns."""

    device: str
    bundle_digest: str
    received_at: str
    seq: int
    emulated: bool
    ttft_ms: float | None
    ttft_prompt_tokens: int | None
    decode_tokens_per_s: float | None
    decode_context_tokens: int | None
    tpot_p95_ms: float | None
    floor_ratio: float | None
    temperature_highest_celsius: float | None
    energy_j_per_token: float | None
    peak_rss_bytes: int | None


@dataclass(frozen=True)
class FleetRows:
    """All that the overview needs, read at once.

    devices: with the desired state's release, bundle and rollout; latest: the newest result of each device, checks
    included; builds: every build that was measured, newest first; recent: the newest PER_BUILD results of each device
    on the shown builds, newest first; installs: the newest of each device; quarantine: counts since a time.
    """

    devices: list[Row]
    latest: list[Row]
    recent: list[Measured]
    builds: list[Row]
    releases: list[Row]
    installs: list[Row]
    quarantine: list[Row]
    rollouts: list[Row]


def rows(connection: Connection, statement: Select[Any]) -> list[Row]:
    """A statement's rows as plain dicts."""
    return [dict(row) for row in connection.execute(statement).mappings().all()]


def read_fleet(store: Store, quarantine_since: str) -> FleetRows:
    """Read the overview's rows in one transaction. quarantine_since: RFC 3339 UTC."""
    with store.reading() as connection:
        builds = _builds(connection)
        return FleetRows(
            devices=_devices(connection),
            latest=_latest(connection, tables.results),
            recent=_recent(connection, shown_builds(builds)),
            builds=builds,
            releases=rows(
                connection, select(tables.releases).order_by(tables.releases.c.added_at, tables.releases.c.release)
            ),
            installs=_latest(connection, tables.installs),
            quarantine=_quarantine_counts(connection, quarantine_since),
            rollouts=_rollouts(connection),
        )


def _devices(connection: Connection) -> list[Row]:
    """Every device, its key left out, with what it shall run."""
    device, desired = tables.devices.c, tables.desired.c
    columns = [column for column in device if column.name != "public_key"]
    wanted = (
        desired.release.label("desired_release"),
        desired.bundle_digest.label("desired_digest"),
        desired.version.label("desired_version"),
        desired.rollout.label("rollout"),
    )
    joined = tables.devices.outerjoin(tables.desired, device.device == desired.device)
    return rows(connection, select(*columns, *wanted).select_from(joined).order_by(device.device))


def _latest(connection: Connection, table: Table) -> list[Row]:
    """The newest row of each device: the one that the device counted last in the outbox that was heard of last.

    The last one received may be an old one that had to be sent again.
    """
    column, counted = table.c, table.alias("counted").c
    newest = select(column.device, func.max(column.received_at).label("at")).group_by(column.device).subquery()
    same = and_(column.device == newest.c.device, column.received_at == newest.c.at)
    heard = select(column.device, column.epoch).join(newest, same).distinct().subquery()
    last = (
        select(func.max(counted.seq))
        .where(counted.device == heard.c.device, counted.epoch == heard.c.epoch)
        .scalar_subquery()
    )
    keys = select(heard.c.device, heard.c.epoch, last.label("seq")).subquery()
    found = and_(column.device == keys.c.device, column.epoch == keys.c.epoch, column.seq == keys.c.seq)
    return list({row["device"]: row for row in rows(connection, select(table).join(keys, found))}.values())


def _builds(connection: Connection) -> list[Row]:
    """What each measured build is for and held against, and when and how often it was heard of; newest first."""
    result, other = tables.results.c, tables.results.alias("other")
    heard = (
        select(
            result.bundle_digest,
            func.min(result.received_at).label("first_at"),
            func.max(result.received_at).label("last_at"),
            func.count().label("results"),
        )
        .group_by(result.bundle_digest)
        .subquery()
    )
    # A build is made for one profile and one target and holds its budgets: any of its results tells them.
    any_result = [
        select(other.c[name])
        .where(other.c.bundle_digest == heard.c.bundle_digest)
        .limit(1)
        .scalar_subquery()
        .label(name)
        for name in ("profile", "target", "checks")
    ]
    return rows(connection, select(*heard.c, *any_result).order_by(heard.c.first_at.desc(), heard.c.bundle_digest))


def shown_builds(builds: Sequence[Row]) -> list[str]:
    """Digests of the SHOWN_BUILDS newest builds of each profile and target. builds: newest first."""
    shown: dict[tuple[str, str], list[str]] = {}
    for build in builds:
        shown.setdefault((build["profile"], build["target"]), []).append(build["bundle_digest"])
    return [digest for digests in shown.values() for digest in digests[:SHOWN_BUILDS]]


def _recent(connection: Connection, digests: Sequence[str]) -> list[Measured]:
    """The newest PER_BUILD results of every device on each of these builds, by reading no more than those."""
    result, older = tables.results.c, tables.results.alias("older")
    pairs = select(result.device, result.bundle_digest).where(result.bundle_digest.in_(digests)).distinct().subquery()
    since = (
        select(older.c.received_at)
        .where(older.c.device == pairs.c.device, older.c.bundle_digest == pairs.c.bundle_digest)
        .order_by(older.c.received_at.desc())
        .limit(1)
        .offset(PER_BUILD - 1)
        .scalar_subquery()
    )
    cut = select(pairs.c.device, pairs.c.bundle_digest, func.coalesce(since, literal("")).label("since")).subquery()
    same = and_(
        result.device == cut.c.device,
        result.bundle_digest == cut.c.bundle_digest,
        result.received_at >= cut.c.since,
    )
    statement = select(*(result[name] for name in Measured._fields)).join(cut, same)
    return sorted(map(Measured._make, connection.execute(statement).all()), key=_age, reverse=True)


def _age(one: Measured) -> tuple[str, int]:
    return one.received_at, one.seq


def _quarantine_counts(connection: Connection, since: str) -> list[Row]:
    """Per device and reason: how many messages since then, and when the last one came."""
    kept = tables.quarantine.c
    told = (func.count().label("messages"), func.max(kept.received_at).label("last_at"))
    grouped = select(kept.device, kept.reason, *told).where(kept.received_at >= since)
    return rows(connection, grouped.group_by(kept.device, kept.reason).order_by(kept.device, kept.reason))


def _rollouts(connection: Connection) -> list[Row]:
    """Every rollout without its state, newest first, with its devices counted by ring and status."""
    rollout, member = tables.rollouts.c, tables.rollout_devices.c
    columns = [column for column in rollout if column.name != "state"]
    found = rows(connection, select(*columns).order_by(rollout.created_at.desc(), rollout.rollout))
    counted = rows(
        connection,
        select(member.rollout, member.ring, member.status, func.count().label("devices"))
        .group_by(member.rollout, member.ring, member.status)
        .order_by(member.rollout, member.ring, member.status),
    )
    for one in found:
        one["members"] = [row for row in counted if row["rollout"] == one["rollout"]]
    return found


def read_rollout(store: Store, rollout: str) -> Row | None:
    """One rollout with its plan, members and decisions, newest decision first; None when there is no such one."""
    member, decision = tables.rollout_devices.c, tables.decisions.c
    with store.reading() as connection:
        found = rows(connection, select(tables.rollouts).where(tables.rollouts.c.rollout == rollout))
        if not found:
            return None
        told = select(tables.decisions).where(decision.rollout == rollout).order_by(decision.id.desc())
        members = select(member.device, member.ring, member.status, member.updated_at).where(member.rollout == rollout)
        return found[0] | {
            "devices": rows(connection, members.order_by(member.ring, member.device)),
            "decisions": rows(connection, told.limit(DECISION_ROWS)),
        }


def read_history(store: Store, device: str) -> dict[str, list[Row]]:
    """A device's results, installs, quarantined messages, rollouts and telemetry, newest first."""
    with store.reading() as connection:
        result, install, member = tables.results.c, tables.installs.c, tables.rollout_devices.c
        results = select(tables.results).where(result.device == device)
        installs = select(tables.installs).where(install.device == device)
        rollouts = select(tables.rollout_devices).where(member.device == device)
        telemetry = select(tables.telemetry).where(tables.telemetry.c.device == device)
        return {
            "results": rows(
                connection, results.order_by(result.received_at.desc(), result.seq.desc()).limit(HISTORY_ROWS)
            ),
            "installs": rows(connection, installs.order_by(install.received_at.desc()).limit(HISTORY_ROWS)),
            "rollouts": rows(connection, rollouts.order_by(member.updated_at.desc())),
            "telemetry": rows(connection, telemetry),
            "quarantine": _quarantined(connection, device),
        }


def read_quarantine(store: Store) -> list[Row]:
    """The newest quarantined messages of all devices, without their content."""
    with store.reading() as connection:
        return _quarantined(connection, None)


def _quarantined(connection: Connection, device: str | None) -> list[Row]:
    kept = tables.quarantine.c
    size = func.length(kept.data).label("bytes")
    shown = select(kept.id, kept.device, kept.epoch, kept.seq, kept.type, kept.received_at, kept.reason, size)
    if device is not None:
        shown = shown.where(kept.device == device)
    return rows(connection, shown.order_by(kept.received_at.desc(), kept.id.desc()).limit(QUARANTINE_ROWS))


def stream(store: Store, table: Table, device: str | None = None) -> Iterator[Row]:
    """Every row of a table in the order of its key, EXPORT_ROWS at a time.

    Each piece is a transaction of its own that begins behind the last key: a reader on a slow line holds no snapshot,
    which would keep SQLite's log from being emptied, and no cursor on the server.
    """
    key = list(table.primary_key.columns)
    last: Sequence[Any] | None = None
    while True:
        piece = select(table).order_by(*key).limit(EXPORT_ROWS)
        if device is not None:
            piece = piece.where(table.c.device == device)
        if last is not None:
            # (a, b) > (x, y), written out: row values differ between databases.
            piece = piece.where(
                or_(*(and_(*(key[j] == last[j] for j in range(i)), key[i] > last[i]) for i in range(len(key))))
            )
        with store.reading() as connection:
            found = rows(connection, piece)
        yield from found
        if len(found) < EXPORT_ROWS:
            return
        last = [found[-1][column.name] for column in key]
