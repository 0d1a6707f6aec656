"""What a connection and a message cost the broker, and what a fleet of 1,000 to 100,000 devices follows from that.

    python -m benchmarks.run_fleet_scale [--collector-rate 3000]

Real mosquitto, shipped configuration, mutual TLS, one certificate a device. Costs are the broker's own processor time
(not the clients', who share the machine), its resident memory, and the database's growth. The rate of a collector is
measured by `python -m benchmarks.run_collector`; give what it printed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import ssl
import struct
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text as sql

from benchmarks.fleet.capacity import Costs, Load, most_devices, plan
from benchmarks.fleet.world import device_key, device_name, digest, register, simulated_report
from edge.fleet.broker.child import BrokerChild, start_broker
from edge.fleet.collector.judge import Accepted, Judge, KnownDevice, Moment
from edge.fleet.collector.writer import Batch, write_batch
from edge.fleet.pki.authority import Pki
from edge.fleet.store.store import open_store
from edge.fleet.wire.connection import Credentials, tls_context
from edge.fleet.wire.event import RESULT, sign_event, to_mqtt
from edge.fleet.wire.topics import ALL_UP

FLEETS = (1_000, 10_000, 100_000)
AT_ONCE = 16


def text(value: str) -> bytes:
    """An MQTT string."""
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """A packet with its length."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes((first,)) + bytes(digits) + body


def publish(mid: int, topic: str, payload: bytes, properties: list[tuple[str, str]]) -> bytes:
    """PUBLISH, QoS 1, with user properties."""
    told = b"".join(b"\x26" + text(name) + text(value) for name, value in properties)
    length = packet(0, told)[1 : -len(told)] if told else b"\x00"
    return packet(0x32, text(topic) + struct.pack("!H", mid) + length + told + payload)


@dataclass
class Line:
    """A client's connection; all it can do is say what it is told and read whole packets."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> tuple[int, bytes]:
        """One packet."""
        first = (await self.reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            digit = (await self.reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, await self.reader.readexactly(length)

    async def say(self, data: bytes) -> None:
        """Send."""
        self.writer.write(data)
        await self.writer.drain()


async def open_line(broker: BrokerChild, name: str, context: ssl.SSLContext) -> Line:
    """Connect, MQTT 5, clean start, keepalive 60 s."""
    reader, writer = await asyncio.open_connection(broker.host, broker.port, ssl=context)
    line = Line(reader, writer)
    await line.say(packet(0x10, text("MQTT") + bytes((5, 2)) + struct.pack("!H", 60) + b"\x00" + text(name)))
    first, body = await line.read()
    if first != 0x20 or body[1] >= 0x80:
        raise RuntimeError(f"the broker refused {name}: {body[:2].hex()}")
    return line


class Meter:
    """Processor time and memory of the broker."""

    def __init__(self, broker: BrokerChild) -> None:
        self._process = psutil.Process(broker.process.pid)

    def cpu_s(self) -> float:
        """User and system."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)


async def measure(broker: BrokerChild, pki: Pki, names: list[str], messages: int, seed: int) -> dict[str, float]:
    """Connect all, ping, publish; costs by name."""
    meter, gate = Meter(broker), asyncio.Semaphore(AT_ONCE)
    cards = {name: pki.issue_device(name) for name in names}
    contexts = {name: tls_context(card) for name, card in cards.items()}
    before_cpu_s, before_rss, start_s = meter.cpu_s(), meter.rss(), time.perf_counter()

    async def one(name: str) -> Line:
        async with gate:
            return await open_line(broker, name, contexts[name])

    lines = dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))
    took_s = time.perf_counter() - start_s
    connect_cpu_s, grown = meter.cpu_s() - before_cpu_s, meter.rss() - before_rss

    rounds, before_cpu_s = 5, meter.cpu_s()
    for _ in range(rounds):
        for name in names:
            await lines[name].say(b"\xc0\x00")
        for name in names:
            await lines[name].read()
    ping_cpu_s = meter.cpu_s() - before_cpu_s

    card = pki.credentials("collector")
    taker = await open_line(broker, "collector", tls_context(Credentials(card.ca, card.certificate, card.key)))
    await taker.say(packet(0x82, struct.pack("!H", 1) + b"\x00" + text(ALL_UP) + b"\x01"))
    await taker.read()
    chance = random.Random(seed)
    ready = []
    for number in range(messages):
        name = names[number % len(names)]
        data = simulated_report(chance, digest(name, number)).to_bytes()
        key = device_key(seed, name)
        event = sign_event(key, device=name, epoch="0a1b2c3d", seq=number + 1, type=RESULT, data=data)
        ready.append((name, publish(number % 60_000 + 1, *to_mqtt(event))))
    size = sum(len(data) for _, data in ready) / messages

    async def take() -> None:
        for _ in range(messages):
            first, body = await taker.read()
            topic_bytes = struct.unpack("!H", body[:2])[0]
            if first & 0x06:
                taker.writer.write(packet(0x40, body[2 + topic_bytes : 4 + topic_bytes]))
        await taker.writer.drain()

    before_cpu_s, start_s = meter.cpu_s(), time.perf_counter()
    taking = asyncio.create_task(take())
    for at in range(0, messages, 100):
        for name, data in ready[at : at + 100]:
            await lines[name].say(data)
        for name, _ in ready[at : at + 100]:
            await lines[name].read()
    await taking
    message_s, message_cpu_s = time.perf_counter() - start_s, meter.cpu_s() - before_cpu_s
    for line in (*lines.values(), taker):
        line.writer.close()
    return {
        "connects_per_s": len(names) / took_s,
        "connect_cpu_s": connect_cpu_s / len(names),
        "connection_bytes": grown / len(names),
        "ping_cpu_s": ping_cpu_s / (rounds * len(names)),
        # In and out: the broker takes it from a device and gives it to a collector.
        "message_cpu_s": message_cpu_s / (2 * messages),
        "messages_per_s": messages / message_s,
        "message_bytes": size,
    }


def stored_bytes(folder: Path, results: int, seed: int) -> float:
    """Growth of a SQLite database by one result, through the collector's own judge and writer."""
    store = open_store(f"sqlite:///{folder / 'size.sqlite'}")
    names = [device_name(number) for number in range(100)]
    register(store, seed, names)
    keys = {name: device_key(seed, name) for name in names}
    known = {
        name: KnownDevice(name, Ed25519PublicKey.from_public_bytes(key.raw_public), key.fingerprint, False)
        for name, key in keys.items()
    }
    chance, judge = random.Random(seed), Judge({})

    def used() -> int:
        with store.reading() as connection:
            pages = connection.execute(sql("PRAGMA page_count")).scalar_one()
            return int(pages) * int(connection.execute(sql("PRAGMA page_size")).scalar_one())

    before = used()
    for at in range(0, results, 500):
        batch = Batch(Moment.at(datetime.now(UTC)))
        for number in range(at, min(at + 500, results)):
            name = names[number % len(names)]
            data = simulated_report(chance, digest(name, number)).to_bytes()
            event = sign_event(keys[name], device=name, epoch="0a1b2c3d", seq=number + 1, type=RESULT, data=data)
            verdict = judge.event(event, known[name], batch.moment)
            if not isinstance(verdict, Accepted):
                raise RuntimeError(f"a simulated result is not believed: {verdict.reason}")
            batch.accepted.append(verdict)
        with store.writing() as connection:
            write_batch(connection, batch)
    grown = used() - before
    store.close()
    return grown / results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--collector-rate", type=float, default=3000.0, help="msg/s of one collector")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="edge-fleet-scale-"))
    try:
        pki = Pki.create(folder / "pki")
        broker = start_broker(folder / "broker", pki)
        try:
            names = [device_name(number) for number in range(options.devices)]
            found = asyncio.run(measure(broker, pki, names, options.messages, options.seed))
        finally:
            broker.stop()
        found["stored_bytes"] = stored_bytes(folder, options.messages, options.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"measured with {options.devices} TLS connections and {options.messages} results:")
    for name, value in found.items():
        print(f"  {name:<18} {value:,.6g}")
    costs = Costs(
        broker_cpu_s_per_connect=found["connect_cpu_s"],
        broker_bytes_per_connection=found["connection_bytes"],
        broker_cpu_s_per_ping=found["ping_cpu_s"],
        broker_cpu_s_per_message=found["message_cpu_s"],
        collector_messages_per_s=options.collector_rate,
        stored_bytes_per_result=found["stored_bytes"],
    )
    load = Load()
    print("\ncomputed: devices | msg/s | broker, share of a core | its memory MB | reconnect in 5 min, share | "
          "broker cores | collectors | GB a year")  # fmt: skip
    for devices in FLEETS:
        one = plan(costs, load, devices)
        broker_words = f"{one.broker_share:.1%} | {one.broker_memory_bytes / 1e6:,.0f} | {one.reconnect_share:.1%}"
        print(
            f"  {devices:>7,} | {one.messages_per_s:.1f} | {broker_words} | {one.brokers} | {one.collectors} | "
            f"{one.stored_bytes_per_year / 1e9:,.1f}"
        )
    print(f"one broker core and one collector carry {most_devices(costs, load):,} devices")


if __name__ == "__main__":
    main()
