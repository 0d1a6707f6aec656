"""Load for benchmarks of the collector: signed field reports of many devices, packed once, sent as fast as asked.

    python -m benchmarks.collector_load send FILE HOST PORT FOLDER NAME [RATE]

One connection sends for all devices: its name is given that right in the broker's ACL, which no device has. The packets
are what a device's own would be, with its id, key and signature.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle.signing import SigningKey
from edge.fleet.collector.packets import read_length, write_length
from edge.fleet.wire.connection import Credentials, tls_context
from edge.fleet.wire.event import RESULT, Event, sign_event, to_mqtt
from edge.fleet.wire.report import BandwidthReport as Bandwidth
from edge.fleet.wire.report import CheckReport, DecodeReport, FieldReport, GoldenReport, PrefillReport, SustainedReport

EPOCH = "0be7c4a1"
CHECKS = (
    "golden", "self_test", "decode_path", "bandwidth", "ttft_ms_max", "decode_tokens_per_s_min", "peak_rss_bytes_max",
    "prefill_tokens_per_s_min", "sustained", "load_ms_max", "disk_bytes_max", "tpot_p95_ms_max",
)  # fmt: skip
WINDOW = 900  # of the broker's 1,000 messages that were not confirmed
_SHORT = struct.Struct(">H")
_LENGTH = struct.Struct(">I")


def new_keys(count: int) -> list[SigningKey]:
    """Device keys `bench-0000`, ..."""
    found = []
    for number in range(count):
        private = Ed25519PrivateKey.generate()
        found.append(SigningKey(f"bench-{number:04d}", "device", private.public_key().public_bytes_raw(), private))
    return found


def report(device: int, seq: int) -> FieldReport:
    """A passing report of about 2 KB whose numbers differ from every other's."""
    speed = 20.0 + (device * 31 + seq * 7) % 100 / 10
    digest = f"{device * 100_000 + seq:064x}"
    return FieldReport(
        measured_at=None, duration_s=61.25, edge_version="0.1.0", profile="reference-notes", target="raspberry-pi-5",
        release="notes-12", bundle_digest="ab" * 32, behaviour_digest="cd" * 32, model_bytes=386_404_992,
        disk_bytes=402_653_184, device_class="raspberry-pi-5", emulated=False, threads=4, context_tokens=4096,
        passed=True,
        checks=tuple(
            CheckReport(name=name, outcome="passed", measured=speed + at, limit=100.5 + at)
            for at, name in enumerate(CHECKS)
        ),
        golden=GoldenReport(cases=24, top1_agreement=0.998, passed=True, self_test_passed=True),
        load_ms=2381.53,
        prefill=tuple(
            PrefillReport(prompt_tokens=size, ttft_ms=size * 11.5 + speed, tokens_per_s=86.9)
            for size in (64, 256, 1024)
        ),
        decode=tuple(
            DecodeReport(context_tokens=size, tokens_per_s=speed, tpot_p50_ms=1e3 / speed, tpot_p95_ms=1.2e3 / speed)
            for size in (128, 1024)
        ),
        sustained=SustainedReport(seconds=60.0, first_tokens_per_s=speed, floor_tokens_per_s=speed * 0.9,
                                  floor_ratio=0.9),
        peak_rss_bytes=812_345_344, energy_j_per_token=None, temperature_start_celsius=41.5,
        temperature_highest_celsius=71.2,
        bandwidth=Bandwidth(bytes_read_per_token=310_000_000, decode_tokens_per_s=speed,
                            demand_bytes_per_s=speed * 310e6, limit_bytes_per_s=1.1e10, level="memory"),
        result_sha256=digest, attestation_sequence=seq,
    )  # fmt: skip


def events(keys: Sequence[SigningKey], count: int) -> Iterator[Event]:
    """`count` signed results, device by device in turn."""
    for number in range(count):
        device, seq = number % len(keys), number // len(keys) + 1
        key = keys[device]
        yield sign_event(
            key, device=key.name, epoch=EPOCH, seq=seq, type=RESULT, data=report(device, seq).to_bytes(),
            time="2026-11-22T12:00:00.000Z",
        )  # fmt: skip


def pack(event: Event, mid: int) -> bytes:
    """The PUBLISH of an event, QoS 1."""
    topic, payload, pairs = to_mqtt(event)
    properties = b"".join(
        b"\x26" + b"".join(_SHORT.pack(len(text.encode())) + text.encode() for text in pair) for pair in pairs
    )
    name = topic.encode()
    body = b"".join(
        (_SHORT.pack(len(name)), name, _SHORT.pack(mid), write_length(len(properties)), properties, payload)
    )
    return b"\x32" + write_length(len(body)) + body


def write_packets(file: Path, found: Iterator[Event]) -> int:
    """Pack events into a file; the bytes of the largest payload."""
    largest = 0
    with file.open("wb") as out:
        for number, event in enumerate(found):
            packet = pack(event, number % 60_000 + 1)
            out.write(_LENGTH.pack(len(packet)) + packet)
            largest = max(largest, len(event.data))
    return largest


def send(file: Path, host: str, port: int, credentials: Credentials, name: str, rate: float | None = None) -> float:
    """Send a file's packets, as fast as the broker confirms them or `rate` a second; the seconds that it took."""
    data = file.read_bytes()
    with (
        socket.create_connection((host, port)) as plain,
        tls_context(credentials).wrap_socket(plain, server_hostname=host) as link,
    ):
        body = b"\x00\x04MQTT\x05\x02\x00\x00\x00" + _SHORT.pack(len(name)) + name.encode()
        link.sendall(b"\x10" + write_length(len(body)) + body)
        held = bytearray(link.recv(4096))
        held, _ = _confirmations(held)
        started, at, sent, confirmed = time.monotonic(), 0, 0, 0
        while at < len(data):
            batch = bytearray()
            room = min(WINDOW - (sent - confirmed), 100)
            for _ in range(room):
                if at >= len(data):
                    break
                length = _LENGTH.unpack_from(data, at)[0]
                batch += data[at + 4 : at + 4 + length]
                at += 4 + length
                sent += 1
            link.sendall(batch)
            if rate is not None:
                time.sleep(max(0.0, started + sent / rate - time.monotonic()))
            while sent - confirmed >= WINDOW - 100 or (at >= len(data) and confirmed < sent):
                piece = link.recv(65_536)
                if not piece:
                    raise SystemExit("the broker ended the load's connection")
                held += piece
                held, count = _confirmations(held)
                confirmed += count
        return time.monotonic() - started


def _confirmations(held: bytearray) -> tuple[bytearray, int]:
    at = count = 0
    while at + 1 < len(held):
        length, start = read_length(held, at + 1)
        if length < 0 or start + length > len(held):
            break
        if held[at] == 0x40:
            count += 1
            if length > 2 and held[start + 2] >= 0x80:
                raise SystemExit("the broker refuses the load: its ACL")
        elif held[at] != 0x20:
            raise SystemExit(f"the broker sent a packet of kind {held[at]:#x} to the load")
        at = start + length
    return held[at:], count


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    file, host, port, folder, name = arguments[:5]
    place = Path(folder)
    credentials = Credentials(place / "root.pem", place / f"parts/{name}.pem", place / f"parts/{name}.key")
    rate = float(arguments[5]) if len(arguments) > 5 else None
    print(f"{send(Path(file), host, int(port), credentials, name, rate):.3f}")


if __name__ == "__main__":
    main(sys.argv[2:])
