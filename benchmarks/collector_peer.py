"""A collector as one writes it first, to measure against: paho as it is, and a commit a message or in batches.

    python -m benchmarks.collector_peer message|batch HOST PORT FOLDER DATABASE

It checks the same signatures and documents and writes the same rows. What differs: paho's own reading of packets, an
object for each property, one PUBACK and one acknowledgement at a time; with `message`, one transaction each.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from sqlalchemy import select

from edge.fleet.collector.acks import ack_messages
from edge.fleet.collector.judge import Accepted, Moment
from edge.fleet.collector.writer import Batch, write_batch
from edge.fleet.store.store import Store, open_store
from edge.fleet.store.tables import devices
from edge.fleet.wire.connection import Credentials, connect_client
from edge.fleet.wire.event import from_mqtt, verify_event
from edge.fleet.wire.report import FieldReport, plausible
from edge.fleet.wire.topics import SHARED_UP


class Peer:
    """A straightforward collector."""

    def __init__(self, store: Store, client: mqtt.Client, batch: int) -> None:
        self.store, self.client, self.batch = store, client, batch
        self.queue: queue.SimpleQueue[mqtt.MQTTMessage] = queue.SimpleQueue()
        with store.reading() as connection:
            self.keys = {
                row.device: bytes(row.public_key)
                for row in connection.execute(select(devices.c.device, devices.c.public_key))
            }
        client.on_message = lambda _client, _data, message: self.queue.put(message)
        client.on_connect = lambda found, *_: found.subscribe(SHARED_UP, qos=1)

    def run(self) -> None:
        """For ever."""
        while True:
            found = [self.queue.get()]
            end = time.monotonic() + 0.05
            while len(found) < self.batch and (left := end - time.monotonic()) > 0:
                try:
                    found.append(self.queue.get(timeout=left))
                except queue.Empty:
                    break
            self.settle(found)

    def settle(self, found: Sequence[mqtt.MQTTMessage]) -> None:
        """Check, commit, acknowledge."""
        moment = Moment.at(self.store.clock())
        accepted = [self.check(message) for message in found]
        with self.store.writing() as connection:
            write_batch(connection, Batch(moment, accepted=accepted))
        for message in found:
            self.client.ack(message.mid, message.qos)
        events = [one.event for one in accepted]
        for topic, payload in ack_messages((one.device, one.epoch, one.seq, "") for one in events):
            self.client.publish(topic, payload, qos=1)

    def check(self, message: mqtt.MQTTMessage) -> Accepted:
        """By the wire's own functions."""
        import hashlib

        properties: Any = message.properties
        event = from_mqtt(message.topic, message.payload, properties.UserProperty)
        verify_event(event, self.keys[event.device])
        report = FieldReport.from_bytes(event.data, "event")
        if plausible(report):
            raise SystemExit("the load is not plausible")
        return Accepted(event, report, hashlib.sha256(event.data).hexdigest(), event.time, clock_wrong=False)


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    mode, host, port, folder, database = arguments
    place = Path(folder)
    credentials = Credentials(place / "root.pem", place / "parts/collector.pem", place / "parts/collector.key")
    store = open_store(database)
    client = connect_client(
        "collector", credentials, host, int(port), session_expiry_s=3600, manual_ack=True, receive_maximum=1000
    )
    peer = Peer(store, client, 1 if mode == "message" else 500)
    client.loop_start()
    threading.Thread(target=peer.run, daemon=True).start()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main(sys.argv[1:])
