"""The installer's memory as a file's bytes and back: nothing is taken that the installer would not write itself.

And what stands in for it when it is lost: `rebuilt`, from the disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge.bundle.canonical import HEX_DIGEST, SLUG, canonical_json
from edge.bundle.install.rules import (
    OUTCOMES,
    PHASES,
    REASONS,
    SLOTS,
    STATE_VERSION,
    Build,
    InstallOutcome,
    Order,
    Slot,
    State,
    other,
)

STATE_NAME = "state.json"
MAX_STATE_BYTES = 64 << 10


class BrokenStateError(ValueError):
    """Not a state that this edge wrote, and not one of a newer edge."""


class FutureStateError(Exception):
    """A state of a newer edge; `version` is what it says."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


def to_bytes(state: State) -> bytes:
    """Canonical JSON."""
    return canonical_json(state.to_json(), STATE_NAME)


def from_bytes(data: bytes) -> State:
    """Inverse of to_bytes. Errors: FutureStateError, BrokenStateError."""
    try:
        value = json.loads(data)
        version = value["version"]
        if isinstance(version, int) and version > STATE_VERSION:
            raise FutureStateError(version)
        state = _state(value)
        if to_bytes(state) != data or not _possible(state):
            raise BrokenStateError
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise BrokenStateError from error
    return state


def _state(value: Mapping[str, Any]) -> State:
    ending, last = value["ending"], value["last"]
    return State(
        phase=value["phase"],
        slot=value["slot"],
        build=_build(value["build"]),
        previous=_build(value["previous"]),
        order=None
        if value["order"] is None
        else Order(**(value["order"] | {"build": _build(value["order"]["build"])})),
        tests=value["tests"],
        moved_bytes=value["moved_bytes"],
        kept_bytes=value["kept_bytes"],
        spent_s=value["spent_s"],
        ending=None if ending is None else (ending[0], ending[1]),
        last=None if last is None else InstallOutcome(**last),
    )


def _build(value: Any) -> Build | None:
    return None if value is None else Build(**value)


def _order(value: Mapping[str, Any]) -> Order:
    return Order(**(dict(value) | {"build": Build(**value["build"])}))


def _possible(state: State) -> bool:
    order = state.order
    builds = [build for build in (state.build, state.previous, order.build if order else None) if build]
    names = [build.release for build in builds] + ([order.rollout] if order else [])
    counts = (state.tests, state.moved_bytes, state.kept_bytes)
    works = state.phase == "idle" or (state.phase == "rolling_back" and state.ending is None)
    return (
        state.phase in PHASES
        and state.slot in (*SLOTS, None)
        and (state.slot is None) == (state.build is None)
        and (order is not None or works)
        and (order is None or (order.slot in SLOTS and order.slot != state.slot and order.reason in REASONS))
        and all(HEX_DIGEST.fullmatch(build.digest) for build in builds)
        and all(name is None or SLUG.fullmatch(name) for name in names)
        and all(isinstance(count, int) and count >= 0 for count in counts)
        and (state.ending is None or (state.ending[0] in OUTCOMES and state.ending[1] in REASONS))
        and (state.last is None or (state.last.outcome in OUTCOMES and state.last.reason in REASONS))
    )


# ---- when it is lost ----------------------------------------------------------------------------------------------


def rebuilt(link: Slot | None, whole: Mapping[Slot, Build], verdicts: Mapping[Slot, bool] | None = None) -> State:
    """The state as the disk tells it, when the file that held it is lost or broken.

    whole: the slots that open with every digest checked. verdicts: whether they passed here, by what this device signed
    into them, where it did. Whether the shown build is the confirmed one is not known, so it is tested again where
    there is another to fall back to; where there is none, it stays in force. Nobody falls back to a build that failed
    here, nor from one that passed to one that never did: it may be the one that was being installed.
    """
    told = verdicts or {}
    shown = whole.get(link) if link is not None else None
    if link is not None and shown is not None:
        beside = other(link)
        safe = told.get(beside, not told.get(link, False))
        if beside in whole and safe:
            return State("switched", slot=beside, build=whole[beside], order=Order(shown, link))
        return State(slot=link, build=shown)
    passed = [slot for slot in whole if told.get(slot)]
    if len(passed) == 1:
        return State(slot=passed[0], build=whole[passed[0]])
    if len(whole) == len(SLOTS):
        return State("filled", slot="a", build=whole["a"], order=Order(whole["b"], "b"))
    for slot, build in whole.items():
        # Filled, perhaps never tested: it goes the way of an install into an empty device.
        return State("filled", order=Order(build, slot))
    return State()
