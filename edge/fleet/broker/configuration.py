"""The broker's configuration: pure functions from paths and limits to the text of mosquitto.conf and of its ACL.

Written for and tested with mosquitto 2.0.11 (Debian 12); the same in `edge fleet dev`, the tests and production. Rules:
(1) Nobody without a certificate of the fleet's root, TLS 1.2 or newer; the certificate's name is the user's name *and*
    the client's id. So nobody can throw out another, or take over its session, by using its id; and every collector
    that runs beside another needs a certificate of its own (collector-1, collector-2, ...).
(2) A device writes the topics that the fleet knows below its own name, reads what is meant for it, nothing else. A
    collector reads what devices say. An operator reads. There is no wildcard at the end of what a device may write, so
    that a device gone mad cannot fill the broker with retained topics of its own invention.
(3) A revoked device is refused by the revocation list when it connects, and until then, where it is connected already,
    by a line of the ACL: SIGHUP loads both, but closes no connection.
(4) The database of sessions, queues and retained messages is written every five seconds, not each half hour as by
    default. By time and not by changes: "after every change" costs most of the broker's throughput, and "after 1,000"
    leaves a single command unwritten for ever on a quiet broker (benchmarks/run_broker.py measures them). What came in
    since the last write is lost when the broker is killed: no part of the fleet takes the broker's acknowledgement for
    durability.
(5) Limits say what one client may cost. What goes over them is refused or dropped, and its sender, who waits for the
    acknowledgement of a collector, sends it again.
(6) No log line shows a payload; mosquitto writes none at any level.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from edge.bundle.canonical import SLUG
from edge.errors import SpecError
from edge.fleet.wire.connection import MAX_PACKET_BYTES
from edge.fleet.wire.topics import DOWN_KINDS, OPERATIONS, ROOT, UP_KINDS

DEFAULT_PORT = 8883
DATABASE = "mosquitto.db"
MAX_PARTS = 32  # collectors and operators that the ACL names
# Of operators: shows whether the broker kept what it was told, see `edge.fleet.broker.marker`.
MARKER_TOPIC = "edge/broker/marker"


@dataclass(frozen=True)
class BrokerFiles:
    """Where the broker finds and puts things. data: a folder that it may write; the rest are files."""

    data: PurePath
    ca: PurePath
    certificate: PurePath
    key: PurePath
    crl: PurePath
    acl: PurePath


@dataclass(frozen=True)
class BrokerLimits:
    """What one broker bears. The defaults are for some thousands of devices on a machine with 2 GiB to spare."""

    connections: int = 10_000
    queued_messages: int = 100_000  # a client; a collector that is away for an hour
    queued_bytes: int = 256 << 20
    inflight_messages: int = 1_000  # a client; more than a collector's batch
    memory_bytes: int = 1 << 30
    keepalive_s: int = 300
    session_months: int = 6  # a tablet in a drawer
    save_interval_s: int = 5


def configuration_text(
    files: BrokerFiles,
    *,
    host: str | None,
    port: int,
    user: str | None = None,
    log: str = "stdout",
    limits: BrokerLimits | None = None,
) -> str:
    """mosquitto.conf. host: None listens on all addresses; user: whom it becomes when root started it.

    Errors: SpecError for a path or a name that cannot stand in the file.
    """
    limits = limits if limits is not None else BrokerLimits()
    for value in (*vars(files).values(), host or "", user or "", log):
        text = str(value)
        if any(ord(character) < 32 for character in text) or text != text.strip():
            raise SpecError(f"{text[:60]!r} cannot stand in mosquitto.conf", mend="choose a path without line ends")
    listener = f"listener {port}" if host is None else f"listener {port} {host}"
    lines = (
        "# The fleet's broker. Made by `edge fleet broker-config`; make it anew instead of changing it.",
        "per_listener_settings false",
        *((f"user {user}",) if user else ()),
        "",
        "# Nothing is lost that was written: defaults lose half an hour.",
        "persistence true",
        f"persistence_location {files.data}/",
        f"persistence_file {DATABASE}",
        "autosave_on_changes false",
        f"autosave_interval {limits.save_interval_s}",
        f"persistent_client_expiration {limits.session_months}m",
        "",
        "# Limits",
        f"max_packet_size {MAX_PACKET_BYTES}",
        f"max_inflight_messages {limits.inflight_messages}",
        f"max_queued_messages {limits.queued_messages}",
        f"max_queued_bytes {limits.queued_bytes}",
        f"max_keepalive {limits.keepalive_s}",
        f"memory_limit {limits.memory_bytes}",
        "queue_qos0_messages false",
        "set_tcp_nodelay true",
        "sys_interval 10",
        "",
        "# Who may do what",
        "allow_anonymous false",
        "allow_zero_length_clientid false",
        f"acl_file {files.acl}",
        "check_retain_source true",
        "",
        "# Connections and errors; never topics or payloads",
        f"log_dest {log}",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages true",
        "log_timestamp true",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        "",
        listener,
        "protocol mqtt",
        f"max_connections {limits.connections}",
        "max_qos 1",
        f"cafile {files.ca}",
        f"certfile {files.certificate}",
        f"keyfile {files.key}",
        f"crlfile {files.crl}",
        "tls_version tlsv1.2",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
    )
    return "\n".join((*lines, ""))


def part_names(part: str) -> tuple[str, ...]:
    """`part`, `part-1`, ... as far as the ACL names them."""
    return (part, *(f"{part}-{number}" for number in range(1, MAX_PARTS + 1)))


def acl_text(revoked: Iterable[str] = ()) -> str:
    """The ACL file. revoked: devices that shall do nothing any more. Errors: SpecError for an odd name."""
    lines = ["# Made by `edge fleet broker-config`. A device may do what stands under `pattern`, for its own name.", ""]
    lines += [f"pattern write {ROOT}/%u/up/{kind}" for kind in UP_KINDS]
    lines += [f"pattern read {ROOT}/%u/down/{kind}" for kind in DOWN_KINDS]
    lines += [f"pattern readwrite {ROOT}/%u/cmd/{operation}/+" for operation in OPERATIONS]
    for name in part_names("collector"):
        lines += ["", f"user {name}", f"topic read {ROOT}/+/up/+"]
        lines += [f"topic write {ROOT}/+/down/{kind}" for kind in DOWN_KINDS]
        lines += [f"topic readwrite {ROOT}/+/cmd/+/+", "topic read $SYS/#"]
    for name in part_names("operator"):
        lines += ["", f"user {name}", f"topic read {ROOT}/#", f"topic readwrite {MARKER_TOPIC}", "topic read $SYS/#"]
    for name in revoked:
        if not SLUG.fullmatch(name):
            raise SpecError(f"{name[:60]!r} is no name of a device")
        lines += ["", "# revoked", f"user {name}", f"topic deny {ROOT}/#"]
    return "\n".join((*lines, ""))
