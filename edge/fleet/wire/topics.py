"""Topics of the fleet. Below `edge/v1/<device>` a device writes `up`, reads `down`, and shares `cmd` with the fleet.

    up/result, up/install, up/telemetry   events, through the outbox, acknowledged by the collector after its commit
    up/state, up/presence                 retained, the newest counts
    down/ack, down/desired                the collector's acknowledgements; the retained desired state
    cmd/<operation>/<id>                  retained; status init (fleet), executing, successful, failed (device)

A topic holds names of devices, operations and commands, and nothing else: brokers and their logs show topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edge.bundle.canonical import SLUG
from edge.errors import InputError

ROOT = "edge/v1"
EventKind = Literal["result", "install", "telemetry"]
Kind = Literal["result", "install", "telemetry", "state", "presence", "ack", "desired", "command"]
Operation = Literal["bench", "install", "rollback", "report"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
UP_KINDS = (*EVENT_KINDS, "state", "presence")
DOWN_KINDS = ("ack", "desired")
# All that devices say. Several collectors share it: each message goes to one of them.
ALL_UP = f"{ROOT}/+/up/+"
ALL_COMMANDS = f"{ROOT}/+/cmd/+/+"
SHARE_GROUP = "collectors"
SHARED_UP = f"$share/{SHARE_GROUP}/{ALL_UP}"  # of tools and tests; a fleet's group has a secret in its name
# Certificates with these names belong to the fleet's own parts.
RESERVED = ("collector", "operator", "broker")


@dataclass(frozen=True)
class Address:
    """What a topic says. operation, command: of kind "command" only, else ""."""

    device: str
    kind: Kind
    operation: str = ""
    command: str = ""


def shared_up(group: str) -> str:
    """The subscription that the collectors of one database share; see edge.fleet.store.share."""
    return f"$share/{group}/{ALL_UP}"


def good_device(name: str) -> str:
    """The name, when a device may have it. Errors: InputError."""
    if not SLUG.fullmatch(name):
        raise InputError(
            f"device name {name[:60]!r} is not lower case letters, digits, '.', '_', '-'", mend="choose another name"
        )
    if name.startswith(RESERVED):
        raise InputError(f"the name {name!r} is reserved for the fleet's own parts", mend="choose another name")
    return name


def up(device: str, kind: str) -> str:
    """Where a device writes `kind`, one of UP_KINDS."""
    return f"{ROOT}/{device}/up/{kind}"


def down(device: str, kind: str) -> str:
    """Where a device reads `kind`, one of DOWN_KINDS."""
    return f"{ROOT}/{device}/down/{kind}"


def command(device: str, operation: str, command_id: str) -> str:
    """The topic of one command."""
    return f"{ROOT}/{device}/cmd/{operation}/{command_id}"


def device_subscriptions(device: str) -> tuple[str, ...]:
    """What a device listens to."""
    return (f"{ROOT}/{device}/down/+", f"{ROOT}/{device}/cmd/+/+")


def parse_topic(topic: str) -> Address:
    """Inverse of the functions above. Errors: InputError, without the topic's text, which may be hostile."""
    parts = topic.split("/")
    if len(parts) >= 5 and "/".join(parts[:2]) == ROOT and SLUG.fullmatch(parts[2]):
        device, way, rest = parts[2], parts[3], parts[4:]
        if way == "up" and len(rest) == 1 and rest[0] in UP_KINDS:
            return Address(device, rest[0])  # type: ignore[arg-type]
        if way == "down" and len(rest) == 1 and rest[0] in DOWN_KINDS:
            return Address(device, rest[0])  # type: ignore[arg-type]
        if way == "cmd" and len(rest) == 2 and rest[0] in OPERATIONS and SLUG.fullmatch(rest[1]):
            return Address(device, "command", rest[0], rest[1])
    raise InputError("a message came on a topic that this edge does not know", where="topic", mend="update edge")
