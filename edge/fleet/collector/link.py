"""Keeps one connection to the broker: connects, subscribes, notices its end, waits, connects again.

The session survives at the broker for two minutes, so that what was sent to this collector while it was away comes when
it is back. Not longer: mosquitto gives a collector that is away its share of what comes, and holds it until then. What
nobody comes back for, the devices send again. Each connection is a new client, so that nothing of an old one (half a
packet, message ids) reaches the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import EdgeError, OfflineError, UntrustedError
from edge.fleet.collector.client import CollectorClient
from edge.fleet.collector.inbox import Inbox
from edge.fleet.collector.metrics import Metrics
from edge.fleet.collector.patience import Patience
from edge.fleet.collector.states import FILTERS, SUBSCRIPTION

SESSION_EXPIRY_S = 120
_CONNACK_WITHIN_S = 20.0
STABLE_S = 3.0
SHORT_IN_A_ROW = 3


class Link:
    """connect: gives a client that has sent its CONNECT (EdgeError or OSError when it cannot)."""

    def __init__(
        self,
        connect: Callable[[], CollectorClient],
        inbox: Inbox,
        metrics: Metrics,
        *,
        shared: str,
        where: str,
        say: Callable[[str], None],
    ) -> None:
        self._connect, self._inbox, self._metrics, self._where, self._say = connect, inbox, metrics, where, say
        self._shared = shared  # the filter of the shared subscription
        self._patience = Patience(say)
        self._stopped = threading.Event()
        self._gone = threading.Event()
        self._answered = threading.Event()  # CONNACK, or gone
        self._short = 0  # connections in a row that the broker ended at once
        self._reason: EdgeError | None = None
        self._leading = False
        self._client: CollectorClient | None = None  # only while it is connected and subscribed
        self._lock = threading.Lock()

    @property
    def client(self) -> CollectorClient | None:
        """The client while it is connected and subscribed."""
        return self._client

    def run(self) -> None:
        """Until `stop`; the thread's body."""
        while not self._stopped.is_set():
            error = self._one_connection()
            if not self._stopped.is_set():
                self._stopped.wait(self._patience.failed(error))

    def stop(self) -> None:
        """Disconnect in order: the session stays, no will is due."""
        self._stopped.set()
        self._end()

    def _end(self) -> None:
        self._gone.set()
        self._answered.set()

    def lead(self, leading: bool) -> None:
        """Hear the retained states too, or no longer."""
        with self._lock:
            changed, self._leading = leading != self._leading, leading
            if changed and self._client is not None:
                self._subscribe_states(self._client)

    def _one_connection(self) -> EdgeError:
        """Connect and stay; why it ended."""
        self._gone.clear()
        self._answered.clear()
        self._reason = None
        try:
            client = self._connect()
        except EdgeError as error:
            return error
        except OSError as error:
            return _unreachable(error, self._where)
        client.deliver, client.full = self._inbox.put, self._inbox.full
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.loop_start()
        if not self._stopped.is_set():
            self._answered.wait(_CONNACK_WITHIN_S)
        if self._client is client:
            if not self._gone.wait(STABLE_S):
                self._short = 0
                self._patience.worked(f"{self._where}: connected to the broker again")
                self._gone.wait()
            else:
                self._short += 1
        with self._lock:
            self._client = None
        self._metrics.broker_up.set(0)
        client.disconnect()
        client.loop_stop()
        self._inbox.forget(client)
        if self._short >= SHORT_IN_A_ROW:
            return _same_certificate(self._where)
        return self._reason or OfflineError("the broker does not answer", where=self._where, mend="look at its log")

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._reason = _refused(str(code), self._where)
            self._end()
            return
        if not isinstance(client, CollectorClient):
            return
        client.allowed_unconfirmed = min(client.allowed_unconfirmed, getattr(properties, "ReceiveMaximum", 65_535))
        client.subscribe(self._shared, options=SubscribeOptions(qos=1))

    def _on_subscribe(self, client: mqtt.Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._reason = _refused("a subscription is not allowed", self._where)
            self._end()
            return
        with self._lock:
            if self._client is not None or not isinstance(client, CollectorClient):
                return
            self._client = client
            self._subscribe_states(client)
        self._metrics.broker_up.set(1)
        self._answered.set()

    def _subscribe_states(self, client: CollectorClient) -> None:
        """Said at each connection: the session may remember what it was as a leader. The lock is held."""
        if self._leading:
            marked = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            marked.SubscriptionIdentifier = SUBSCRIPTION
            client.subscribe([(one, SubscribeOptions(qos=1)) for one in FILTERS], properties=marked)
        else:
            client.unsubscribe(list(FILTERS))

    def _on_disconnect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if self._reason is None and code.is_failure:
            self._reason = _ended(str(code), self._where)
        self._end()


def _unreachable(error: OSError, where: str) -> EdgeError:
    import ssl

    if isinstance(error, ssl.SSLError):
        return UntrustedError(
            "the broker and this collector do not trust each other",
            where=where,
            mend="compare the fleet's CA and the broker's name with the certificates, and their dates with the clocks",
        )
    return OfflineError("the broker does not answer", where=where, mend="start it; the work goes on by itself")


def _refused(why: str, where: str) -> EdgeError:
    return UntrustedError(
        f"the broker refuses this collector ({why.lower()})", where=where, mend="look at its certificate and the ACL"
    )


def _ended(why: str, where: str) -> EdgeError:
    return OfflineError(f"the broker ended the connection ({why.lower()})", where=where, mend="look at its log")


def _same_certificate(where: str) -> EdgeError:
    """mosquitto closes the older of two connections with one name without saying why."""
    return UntrustedError(
        "the broker ends each connection at once, as it does when two collectors have the same certificate",
        where=where,
        mend="give each collector its own: collector-1, collector-2",
    )
