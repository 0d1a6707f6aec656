"""paho's client with a fast lane: PUBLISH and PUBACK never become paho's objects; its own `publish` stays unused.

What arrives is cut into packets as many as a read brings, and handed over in one call with the connection they came
by. Acknowledgements are written side by side in one piece. CONNECT, SUBSCRIBE, pings, TLS and the loop stay paho's.

What is published goes out with QoS 1 and as many at a time as the broker allows (Receive Maximum). What it has not
confirmed is not kept: a device that hears nothing sends its event again and is answered again, and whoever needs to
know gives a function that is told.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.exception import MQTTException

from edge.fleet.collector.packets import PUBACK, PUBLISH, MalformedError, pubacks, publish, read_length

READ_BYTES = 1 << 18
PAUSE_S = 0.01
# Mids below are paho's own, for SUBSCRIBE.
_FIRST_MID, _LAST_MID = 1000, 65_000
# Acknowledgements that wait for the broker; the oldest goes first, its device asks again.
MAX_WAITING = 20_000

# first byte and body of a PUBLISH
Frame = tuple[int, bytes]
Confirmed = Callable[[bool], None]
_NO_PERMISSION = 0x80  # and above: a reason code that says no


class CollectorClient(mqtt.Client):
    """A client whose `deliver` gets what arrives; it runs in the loop's thread and must return at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.deliver: Callable[[CollectorClient, list[Frame]], None] | None = None
        self.full: Callable[[], bool] = lambda: False
        self.allowed_unconfirmed = 60_000  # set from CONNACK
        self._bytes = bytearray()
        self._sending = threading.Lock()
        self._unconfirmed: dict[int, Confirmed | None] = {}
        self._next_mid = _FIRST_MID
        self._waiting: deque[tuple[str, bytes, bool, Confirmed | None]] = deque(maxlen=MAX_WAITING)

    def reconnect(self) -> MQTTErrorCode:
        """As paho's; the rest of a packet of the last connection is no start of the next."""
        self._bytes.clear()
        return super().reconnect()

    def acknowledge(self, mids: Iterable[int]) -> None:
        """PUBACK messages that arrived by this client, from any thread."""
        if piece := pubacks(mids):
            self._packet_queue(PUBACK, piece, 0, 0)

    def tell(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish (topic, payload), from any thread; not kept when the connection ends."""
        with self._sending:
            self._waiting.extend([(topic, payload, False, None) for topic, payload in messages])
            self._send_waiting()

    def tell_one(self, topic: str, payload: bytes, *, retain: bool, confirmed: Confirmed) -> None:
        """Publish, from any thread. confirmed: told in the loop's thread whether the broker took it; never told when
        the connection ends before."""
        with self._sending:
            self._waiting.append((topic, payload, retain, confirmed))
            self._send_waiting()

    def _send_waiting(self) -> None:
        """As many as the broker takes. The lock is held."""
        pieces = []
        while self._waiting and len(self._unconfirmed) < self.allowed_unconfirmed:
            topic, payload, retain, confirmed = self._waiting.popleft()
            mid = self._free_mid()
            pieces.append(publish(topic, payload, mid, retain=retain))
            self._unconfirmed[mid] = confirmed
        if pieces:
            self._packet_queue(PUBACK, b"".join(pieces), 0, 0)  # not as PUBLISH: paho would look for its own

    def _free_mid(self) -> int:
        while True:
            mid = self._next_mid
            self._next_mid = mid + 1 if mid < _LAST_MID else _FIRST_MID
            if mid not in self._unconfirmed:
                return mid

    def _packet_read(self) -> MQTTErrorCode:
        """Read what is there and handle each whole packet in it; nothing while whoever takes it has no room."""
        if self.full():
            time.sleep(PAUSE_S)
            self._ping_t = 0.0  # the broker's answer lies behind what is not read
            return MQTTErrorCode.MQTT_ERR_AGAIN
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_AGAIN
        except OSError:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if not data:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        with self._msgtime_mutex:
            self._last_bytes_received = mqtt.time_func()
        self._bytes += data
        try:
            return self._handle_all()
        except (MalformedError, MQTTException):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _handle_all(self) -> MQTTErrorCode:
        frames: list[Frame] = []
        confirmed: list[tuple[int, bool]] = []
        held, at = self._bytes, 0
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        while at + 1 < len(held) and code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            length, start = read_length(held, at + 1)
            if length < 0 or start + length > len(held):
                break
            first, body = held[at], bytes(held[start : start + length])
            at = start + length
            if first & 0xF0 == PUBLISH:
                frames.append((first, body))
            elif first & 0xF0 == PUBACK and length >= 2:
                confirmed.append((body[0] << 8 | body[1], length < 3 or body[2] < _NO_PERMISSION))
            else:
                code = self._handle_other(first, body)
        del held[:at]
        if frames and self.deliver is not None:
            self.deliver(self, frames)
        if confirmed:
            self._confirm(confirmed)
        return code

    def _confirm(self, confirmed: list[tuple[int, bool]]) -> None:
        with self._sending:
            told = [(self._unconfirmed.pop(mid, None), taken) for mid, taken in confirmed]
            self._send_waiting()
        for function, taken in told:
            if function is not None:
                function(taken)

    def _handle_other(self, first: int, body: bytes) -> MQTTErrorCode:
        """A packet of paho's own lane, put where paho expects it."""
        self._in_packet = {
            "command": first,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(body),
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        return self._packet_handle()
