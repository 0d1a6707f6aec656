"""What a person does with rollouts: register a release, look at a plan in the fleet, start, pause, resume, abort.

Each is one transaction over the state it was computed from; where the controller was quicker it is computed again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from edge.bundle.canonical import SLUG
from edge.bundle.signing import Trust
from edge.errors import BundleError, InputError, ResourceError
from edge.fleet.rollout import rules
from edge.fleet.rollout.members import FleetDevice, Member, in_no_ring, members
from edge.fleet.rollout.plan import RolloutPlan
from edge.fleet.rollout.ring_facts import time_of
from edge.fleet.rollout.rows import insert_rollout, read_state, write_step
from edge.fleet.rollout.rules import Decision, Step
from edge.fleet.rollout.state import ACTIVE, Device, RingState, State
from edge.fleet.store.store import Store
from edge.fleet.store.tables import desired, devices, releases, rollout_devices, rollouts

_TRIES = 20


@dataclass(frozen=True)
class Release:
    """A release that the fleet knows. model_bytes: of the bundle's files below model/, None where unknown."""

    release: str
    profile: str
    bundle_digest: str
    behaviour_digest: str
    target: str
    model_bytes: int | None = None


@dataclass(frozen=True)
class Preview:
    """A plan in this fleet. left_out: devices of the profile in no ring; no_way_back: devices of unknown build."""

    plan: RolloutPlan
    release: Release
    rings: tuple[Member, ...]
    left_out: tuple[str, ...]
    no_way_back: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "rollout": self.plan.rollout,
            "release": self.release.release,
            "bundle_digest": self.release.bundle_digest,
            "rings": {one.ring.name: [device.device for device in one.devices] for one in self.rings},
            "in_no_ring": list(self.left_out),
            "no_way_back": list(self.no_way_back),
        }


def release_from(path: Path, trust: Trust, name: str | None) -> Release:
    """The release that a bundle (folder or .tar) or a chunk manifest of the update repository is.

    name: of a bundle's release; a chunk manifest has its own. Signatures are checked.
    Errors: as open_bundle; InputError without a name or with another one than the chunk manifest's.
    """
    if path.is_file() and path.suffix == ".json":
        return _release_of_chunks(path, trust, name)
    if name is None or not SLUG.fullmatch(name):
        raise InputError(
            "a bundle does not say its release's name", where=str(path), mend="give --release, as in the repository"
        )
    from edge.bundle.open import open_bundle

    found = open_bundle(path, trust, check_files=False)
    manifest = found.manifest
    size = sum(entry.size_bytes for entry in manifest.files if entry.path.startswith("model/"))
    return Release(
        name, str(manifest.profile["name"]), found.bundle_digest, found.behaviour_digest,
        str(manifest.target["name"]), size,
    )  # fmt: skip


def _release_of_chunks(path: Path, trust: Trust, name: str | None) -> Release:
    from edge.bundle.open import check_head
    from edge.bundle.tree import read_small
    from edge.fleet.updates.chunk_manifest import MAX_CHUNK_MANIFEST_BYTES, ChunkManifest

    chunks = ChunkManifest.from_bytes(read_small(path, MAX_CHUNK_MANIFEST_BYTES), str(path))
    manifest, _ = check_head(chunks.manifest, chunks.signature, trust, device=None, where=str(path))
    said = chunks.release
    if name not in (None, said.release):
        raise InputError(f"is release '{said.release}'", where=str(path), mend="leave --release out")
    if (said.profile, said.target) != (manifest.profile["name"], manifest.target["name"]):
        raise BundleError("names another profile or target than its bundle", where=str(path), mend="publish it anew")
    size = sum(entry.size_bytes for entry in manifest.files if entry.path.startswith("model/"))
    return Release(said.release, said.profile, said.bundle_digest, said.behaviour_digest, said.target, size)


def add_release(store: Store, release: Release, now: datetime) -> bool:
    """Make a release known; False when it is already. Errors: InputError when the name is another build's."""
    at = time_of(_ms(now))
    try:
        with store.writing() as connection:
            known = _find_release(connection, release.release)
            if known is None:
                connection.execute(insert(releases).values(**vars(release), added_at=at))
                return True
    except IntegrityError:  # another registered it in the same moment
        with store.reading() as connection:
            known = _find_release(connection, release.release)
    if known is None or known.bundle_digest != release.bundle_digest:
        raise InputError(
            f"release '{release.release}' is another build", where=store.url, mend="give the new build a new name"
        )
    return False


def preview(store: Store, plan: RolloutPlan) -> Preview:
    """Which device falls into which ring. Errors: InputError for an unknown release; as `members`."""
    with store.reading() as connection:
        return _preview(connection, plan)


def start(
    store: Store, plan: RolloutPlan, text: str, now: datetime, by: str, *, without_way_back: bool = False
) -> Preview:
    """Start a rollout; the controller's next tick starts the first devices. text: the plan's YAML, kept as it is.

    Errors: as `preview`; InputError for a name that was used, another rollout of the profile that has not ended, or
    devices that could not be set back, unless `without_way_back`.
    """
    now_ms = _ms(now)
    where = f"rollout '{plan.rollout}'"
    try:
        with store.writing() as connection:
            # Two starts of one profile at once: the second waits here until the first is committed.
            connection.execute(
                update(releases).where(releases.c.profile == plan.profile).values(profile=releases.c.profile)
            )
            _refuse_second(connection, plan, where)
            found = _preview(connection, plan)
            if found.no_way_back and not without_way_back:
                raise InputError(
                    f"{len(found.no_way_back)} devices run a build that is no known release, so they could not be set "
                    f"back, '{found.no_way_back[0]}' first",
                    where=where,
                    mend="`edge rollout add-release` it, or give --without-way-back",
                )
            state, effects = _begin(found, now_ms, by)
            previous = Counter(one.previous for one in state.devices.values()).most_common(1)[0][0]
            insert_rollout(connection, state, text, previous, effects, now_ms)
    except IntegrityError as error:
        raise InputError("has been started already", where=where, mend="see `edge rollout status`") from error
    return found


def pause(store: Store, rollout: str, now: datetime, by: str) -> State:
    """Start nothing more. Errors: InputError for an unknown rollout or one that does not run."""
    return _operate(store, rollout, now, lambda state, at: rules.pause(state, at, by), "running")


def resume(store: Store, rollout: str, now: datetime, by: str) -> State:
    """Go on. Errors: InputError for an unknown rollout or one that is not paused."""
    return _operate(store, rollout, now, lambda state, at: rules.resume(state, at, by), "paused")


def abort(store: Store, rollout: str, now: datetime, by: str) -> State:
    """Set back every device that was started. Errors: InputError for an unknown rollout or one that was aborted, or an
    ended one whose devices another rollout works on."""
    return _operate(store, rollout, now, lambda state, at: rules.abort(state, at, by), "")


def _operate(store: Store, rollout: str, now: datetime, change: Callable[[State, int], Step], needed: str) -> State:
    now_ms = _ms(now)
    for _ in range(_TRIES):
        with store.writing() as connection:
            text, old = read_state(connection, rollout)
            step = change(old, now_ms)
            if step.state is old:
                but = f", not {needed}" if needed else " already"
                raise InputError(f"is {old.phase}{but}", where=f"rollout '{rollout}'")
            if old.phase not in ACTIVE:
                _refuse_second(connection, old.plan, f"rollout '{rollout}'")
            if write_step(connection, rollout, text, old, step, now_ms):
                return step.state
    raise ResourceError("the rollout changes all the time", where=f"rollout '{rollout}'", mend="try again")


def _refuse_second(connection: Connection, plan: RolloutPlan, where: str) -> None:
    """Only one rollout of a profile is active."""
    other = connection.execute(
        select(rollouts.c.rollout)
        .join(releases, releases.c.release == rollouts.c.release)
        .where(rollouts.c.phase.in_(ACTIVE), releases.c.profile == plan.profile, rollouts.c.rollout != plan.rollout)
    ).first()
    if other is not None:
        raise InputError(
            f"rollout '{other.rollout}' of the same profile has not ended",
            where=where,
            mend=f"wait, or `edge rollout abort {other.rollout}`",
        )


def _preview(connection: Connection, plan: RolloutPlan) -> Preview:
    release = _find_release(connection, plan.release)
    if release is None:
        raise InputError(
            f"release '{plan.release}' is not known", where="key 'release'", mend="`edge rollout add-release` it first"
        )
    if release.profile != plan.profile:
        raise InputError(
            f"release '{plan.release}' is of profile '{release.profile}', not '{plan.profile}'", where="key 'profile'"
        )
    fleet = _fleet(connection, plan)
    rings = members(plan, fleet)
    stuck = [one.device for ring in rings for one in ring.devices if one.has_no_way_back]
    return Preview(plan, release, rings, tuple(in_no_ring(plan, fleet, rings)), tuple(stuck))


def _find_release(connection: Connection, name: str) -> Release | None:
    row = connection.execute(select(releases).where(releases.c.release == name)).first()
    if row is None:
        return None
    return Release(
        row.release, row.profile, row.bundle_digest, row.behaviour_digest, row.target, row.model_bytes
    )  # fmt: skip


def _fleet(connection: Connection, plan: RolloutPlan) -> list[FleetDevice]:
    """Every device with what it was last set to, or says it runs."""
    by_digest = {
        row.bundle_digest: row.release
        for row in connection.execute(
            select(releases.c.release, releases.c.bundle_digest).where(releases.c.profile == plan.profile)
        )
    }
    busy = {
        row.device: row.rollout
        for row in connection.execute(
            select(rollout_devices.c.device, rollouts.c.rollout)
            .join(rollouts, rollouts.c.rollout == rollout_devices.c.rollout)
            .where(rollouts.c.phase.in_(ACTIVE))
        )
    }
    known = devices.c
    rows = connection.execute(
        select(known.device, known.profile, known.ring, known.revoked_at, known.reported, desired.c.release,
               desired.c.profile.label("wanted_profile"), desired.c.rollout)
        .outerjoin(desired, desired.c.device == known.device)
    ).all()  # fmt: skip
    before: dict[str, dict[str, str | None]] = {}
    found = []
    for row in rows:
        digest = _reported_digest(row.reported)
        runs = row.release if row.release is not None and row.wanted_profile == plan.profile else None
        if runs == plan.release:  # of an earlier rollout of the same build: back means to what was before that
            runs = _before(connection, row.rollout, before).get(row.device)
        if runs is None:
            runs = by_digest.get(digest or "")
        if runs == plan.release:
            runs = None
        found.append(
            FleetDevice(
                row.device, row.profile, row.ring, row.revoked_at is not None, runs, digest, busy.get(row.device)
            )
        )  # fmt: skip
    return found


def _before(
    connection: Connection, rollout: str | None, known: dict[str, dict[str, str | None]]
) -> dict[str, str | None]:
    """What the devices of an earlier rollout had before it."""
    if rollout is None:
        return {}
    if rollout not in known:
        text = connection.execute(select(rollouts.c.state).where(rollouts.c.rollout == rollout)).scalar_one_or_none()
        state = None if text is None else State.from_text(text, f"rollout {rollout}")
        known[rollout] = {} if state is None else {one.name: one.previous for one in state.devices.values()}
    return known[rollout]


def _reported_digest(reported: str | None) -> str | None:
    try:
        digest = json.loads(reported or "{}").get("bundle_digest")
    except (ValueError, AttributeError):
        return None
    return digest if isinstance(digest, str) else None


def _begin(found: Preview, now_ms: int, by: str) -> tuple[State, Sequence[Decision]]:
    """The first state: the first ring is open, nothing is started."""
    members_of = {
        one.device: Device(one.device, index, one.runs)
        for index, ring in enumerate(found.rings)
        for one in ring.devices
    }
    state = State(
        plan=found.plan,
        digest=found.release.bundle_digest,
        phase="running",
        rings=(RingState(now_ms, now_ms),),
        devices=members_of,
        read_ms=now_ms,
    )
    facts = {
        "release": found.release.release,
        "bundle_digest": found.release.bundle_digest,
        "rings": {one.ring.name: len(one.devices) for one in found.rings},
        "in_no_ring": len(found.left_out),
        "no_way_back": list(found.no_way_back),
    }
    return state, [Decision("started", found.plan.rings[0].name, facts, by)]


def _ms(now: datetime) -> int:
    return round(now.timestamp() * 1000)
