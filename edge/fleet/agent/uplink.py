"""The outbox and the rules of sending, driven by events: no socket, no thread, no clock of its own.

Whoever holds the connection (edge.fleet.agent.link) tells what happened and publishes what `due` returns. Hundreds of
these live in one process where a benchmark simulates a fleet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.errors import EdgeError, InputError, ResourceError
from edge.fleet.agent import uplink_rules as rules
from edge.fleet.agent.outbox import Outbox
from edge.fleet.agent.said import Said
from edge.fleet.agent.uplink_rules import FIRST_REFUSAL, Key, UplinkLimits, UplinkState
from edge.fleet.wire.event import MAX_EVENT_BYTES, TELEMETRY, Event, to_mqtt
from edge.fleet.wire.messages import Ack

# Fixed header, lengths, packet identifier, content type.
PACKET_BYTES = 64
# Topic and user properties of the longest device name, so that the size can be checked before a row is made.
MOST_ENVELOPE_BYTES = 1024
OVERSIZE = "oversize"


@dataclass(frozen=True)
class Outgoing:
    """One event to publish at QoS 1. key: what `settled`, `refused` and `not_sent` name."""

    key: Key
    topic: str
    payload: bytes
    properties: list[tuple[str, str]]


def packet_bytes(topic: str, payload: bytes, properties: list[tuple[str, str]]) -> int:
    """The size of a PUBLISH, a little too large rather than too small."""
    return PACKET_BYTES + len(topic.encode()) + len(payload) + sum(len(n) + len(v) + 5 for n, v in properties)


class Uplink:
    """One device's way up.

    Parameters
    ----------
    outbox: of the same thread.
    clock: monotonic seconds. chance: 0 to 1. say: one line for the journal.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        say: Callable[[str], None] = lambda _line: None,
        limits: UplinkLimits | None = None,
    ) -> None:
        self.outbox, self.limits = outbox, limits or UplinkLimits()
        self._clock, self._chance, self._said = clock, chance, Said(say, clock)
        self._state = UplinkState()
        self._max_packet_bytes: int | None = None
        # Acknowledged, and not deleted yet because the disk is full.
        self._owed: dict[str, tuple[set[int], set[int]]] = {}
        # Not to be sent, and not put aside yet because the disk is full.
        self._stuck: set[Key] = set()
        self._aside_most_bytes: int | None = 0  # of the last connection: None takes any size

    @property
    def state(self) -> UplinkState:
        """For a look from outside."""
        return self._state

    # What happened

    def connected(self, *, max_packet_bytes: int | None = None, receive_maximum: int | None = None) -> None:
        """The broker accepted a connection; the two are of its CONNACK."""
        self._max_packet_bytes = max_packet_bytes
        most = MAX_EVENT_BYTES if max_packet_bytes is None else max_packet_bytes - MOST_ENVELOPE_BYTES
        self.outbox.most_bytes = max(0, min(MAX_EVENT_BYTES, most))
        # One in four stays free for states and answers to commands.
        share = None if receive_maximum is None else max(1, receive_maximum * 3 // 4)
        self._state = rules.connected(self._state, self._clock(), self._chance(), self.limits, share)
        self._stuck.clear()
        self._take_back(max_packet_bytes)

    def _take_back(self, max_packet_bytes: int | None) -> None:
        """What was too large for a broker may not be for this one."""
        before = self._aside_most_bytes
        if before is None or (max_packet_bytes is not None and max_packet_bytes <= before):
            self._aside_most_bytes = max_packet_bytes
            return
        try:
            self.outbox.take_back(OVERSIZE)
            self._aside_most_bytes = max_packet_bytes
        except EdgeError as error:
            self._said("outbox", str(error))

    def disconnected(self) -> None:
        """The connection is gone."""
        self._state = rules.disconnected(self._state)

    def settled(self, key: Key) -> None:
        """The broker confirmed it (PUBACK): it has it, no more."""
        before, self._state = self._state, rules.settled(self._state, key, self._clock())
        if before.refusals and not self._state.refusals:
            self._said.over("refused", "the broker takes events again")

    def refused(self, key: Key, reason_code: int) -> None:
        """The broker confirmed it with an error."""
        if reason_code < FIRST_REFUSAL:
            self.settled(key)
            return
        self._state = rules.refused(self._state, key, self._clock(), self._chance(), self.limits)
        words = "not authorised" if reason_code == 0x87 else f"reason code {reason_code:#04x}"
        self._said(
            "refused",
            f"the broker refuses this device's events ({words}); they stay here and are tried again later",
        )

    def not_sent(self, key: Key) -> None:
        """The client did not take it after all: the connection is ending."""
        self._state = rules.acknowledged(self._state, (key,))

    def acknowledge(self, payload: bytes) -> tuple[Key, ...]:
        """A message on down/ack; returns the rows that a collector has committed, quarantined ones included.

        They are deleted by `flush`: one transaction for all acknowledgements that came together. One that cannot be
        read is said and changes nothing.
        """
        try:
            ack = Ack.from_bytes(payload, "acknowledgement")
        except InputError as error:
            self._said("ack", str(error))
            return ()
        bad = {seq for seq, _ in ack.quarantined}
        for reason in sorted({reason for _, reason in ack.quarantined}):
            self._said("quarantined", f"the collector keeps events of this device apart ({reason})")
        keys = tuple((ack.epoch, seq) for seq in (*ack.accepted, *sorted(bad)))
        self._state = rules.acknowledged(self._state, keys)
        owed = self._owed.setdefault(ack.epoch, (set(), set()))
        owed[0].update(ack.accepted)
        owed[1].update(bad)
        return keys

    def flush(self) -> None:
        """Delete what was acknowledged."""
        if not self._owed:
            return
        for epoch in list(self._owed):
            accepted, bad = self._owed[epoch]
            try:
                self.outbox.acknowledge(epoch, sorted(accepted), sorted(bad))
            except ResourceError as error:
                self._said("outbox", str(error))
                return
            del self._owed[epoch]
        self._said.over("outbox")

    # What to do

    def due(self) -> list[Outgoing]:
        """The events to publish now; they count as handed over."""
        if not self._state.online:
            return []
        now_s = self._clock()
        self.flush()
        try:
            out = len(self._stuck) + sum(len(a) + len(b) for a, b in self._owed.values())
            rows = self.outbox.waiting(self.limits.window + out)
            rows = [row for row in rows if row.key not in self._stuck and not self._is_owed(row.key)]
            self._state, chosen = rules.choose(self._state, rows, now_s, self.limits)
            self._more = len(rows) > len(self._state.window) + len(chosen)
            found = [self._outgoing(key) for key in chosen]
        except EdgeError as error:
            self._said("outbox", str(error))
            return []
        outgoing = []
        for key, one in zip(chosen, found, strict=True):
            if one is None:
                self._state = rules.acknowledged(self._state, (key,))
                continue
            self._state = rules.handed_over(
                self._state,
                key,
                telemetry=one.topic.endswith("/telemetry"),
                now_s=now_s,
                chance=self._chance(),
                limits=self.limits,
            )
            outgoing.append(one)
        return outgoing

    _more = False

    def _is_owed(self, key: Key) -> bool:
        accepted, bad = self._owed.get(key[0], ((), ()))
        return key[1] in accepted or key[1] in bad

    def _outgoing(self, key: Key) -> Outgoing | None:
        """None: it is gone, or put aside, or shall be: one bad row on a full disk does not hold up the others."""
        try:
            return self._readable(key)
        except EdgeError as error:
            self._said("outbox", str(error))
            self._stuck.add(key)
            return None

    def _readable(self, key: Key) -> Outgoing | None:
        event = self.outbox.event(*key)
        if event is None:
            return None
        topic, payload, properties = to_mqtt(event)
        size = packet_bytes(topic, payload, properties)
        if self._max_packet_bytes is not None and size > self._max_packet_bytes:
            self._put_aside(event, size)
            return None
        return Outgoing(key, topic, payload, properties)

    def _put_aside(self, event: Event, size: int) -> None:
        self.outbox.put_aside(event.epoch, event.seq, OVERSIZE)
        kind = "telemetry" if event.type == TELEMETRY else "event"
        self._said(
            "oversize",
            f"{kind} {event.epoch}/{event.seq} needs {size} bytes and this broker takes {self._max_packet_bytes}; "
            "it is put aside",
        )

    def wait_s(self) -> float | None:
        """How long `due` will return nothing unless something happens; None: for ever."""
        return rules.wait_s(self._state, self._clock(), more=self._more, limits=self.limits)

    def queued(self) -> None:
        """A row was put into the outbox."""
        self._more = True
