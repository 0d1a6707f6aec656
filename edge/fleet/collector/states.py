"""What devices keep retained at the broker, into their rows: reported state, presence, the newest command. Pure.

One collector, the leader, hears them by a subscription of its own (`SUBSCRIPTION`), so that they come in the order they
were said. A state counts when its version is not older than the one that is known; presence and commands have none.
What cannot be read is passed over and counted: it is retained, and a device that was updated says it anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edge.bundle.canonical import canonical_json
from edge.errors import InputError
from edge.fleet.collector.packets import Incoming
from edge.fleet.wire.messages import Command, Presence, ReportedState
from edge.fleet.wire.topics import ALL_COMMANDS, ROOT, parse_topic

SUBSCRIPTION = 2
FILTERS = (f"{ROOT}/+/up/state", f"{ROOT}/+/up/presence", ALL_COMMANDS)


class Change(NamedTuple):
    """Columns of one device. version: of a state; None where the last said counts."""

    device: str
    kind: str
    version: int | None
    columns: dict[str, Any]


def read_change(message: Incoming, now: str) -> Change | None:
    """What a message changes; None for a cleared one. Errors: InputError for one that cannot be read."""
    address = parse_topic(message.topic)
    if not message.payload:
        return None
    if address.kind == "state":
        state = ReportedState.from_bytes(message.payload, "state")
        columns = {"reported": message.payload.decode(), "reported_version": state.state_version}
        # A retained copy says nothing about when the device was here.
        return Change(address.device, "state", state.state_version, columns | _seen(message, now))
    if address.kind == "presence":
        online = Presence.from_bytes(message.payload, "presence").online
        return Change(address.device, "presence", None, {"online": online} | (_seen(message, now) if online else {}))
    if address.kind == "command":
        command = Command.from_bytes(message.payload, "command")
        told = {"id": address.command, "op": address.operation, "reason": command.reason, "status": command.status}
        return Change(address.device, "command", None, {"last_command": canonical_json(told).decode().strip()})
    raise InputError("a message came on a topic that holds no state", where="topic")


def _seen(message: Incoming, now: str) -> dict[str, str]:
    return {} if message.retain else {"last_seen_at": now}
