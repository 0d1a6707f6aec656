"""What all simulated devices and their parent agree on: names, keys, reports. All of it follows from a seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from edge import __version__
from edge.bundle.signing import SigningKey
from edge.fleet.store import tables
from edge.fleet.store.store import Store
from edge.fleet.wire.report import BandwidthReport, CheckReport, DecodeReport, FieldReport, GoldenReport, PrefillReport

PROFILE, TARGET = "reference-notes", "raspberry-pi-5"
MODEL_BYTES = 138_000_000
BANDWIDTH_BYTES_PER_S = 9.4e9
LEDGER = "ledger.txt"


def digest(*words: object) -> str:
    """A sha256 in hex over words."""
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()


def device_name(number: int) -> str:
    """tablet-0007."""
    return f"tablet-{number:04d}"


def device_key(seed: int, device: str) -> SigningKey:
    """The device's signing key, the same in every process. Not a secret: it signs simulated results."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed}/{device}".encode()).digest())
    return SigningKey(device, "device", private.public_key().public_bytes_raw(), private)


def register(store: Store, seed: int, devices: Iterable[str]) -> None:
    """Put the devices into the database, as `edge fleet enrol` does one by one."""
    rows = []
    for device in devices:
        key = device_key(seed, device)
        rows.append(
            {
                "device": device,
                "public_key": key.raw_public,
                "key_fingerprint": key.fingerprint,
                "profile": PROFILE,
                "target": TARGET,
                "ring": "all",
                "enrolled_at": store.now(),
            }
        )
    with store.writing() as connection:
        connection.execute(insert(tables.devices), rows)


def simulated_report(chance: random.Random, result_sha256: str, *, bundle_digest: str = "ab" * 32) -> FieldReport:
    """A report as a Raspberry Pi 5 might send it. Numbers are drawn, not measured."""
    speed = chance.uniform(18, 30)
    first = chance.uniform(800, 1400)
    return FieldReport(
        measured_at="2026-11-22T12:00:00Z",
        duration_s=chance.uniform(50, 70),
        edge_version=__version__,
        profile=PROFILE,
        target=TARGET,
        release="notes-1",
        bundle_digest=bundle_digest,
        behaviour_digest="cd" * 32,
        model_bytes=MODEL_BYTES,
        disk_bytes=MODEL_BYTES + 4_000_000,
        device_class="aarch64-cortex-a76-raspberry-pi-5",
        emulated=False,
        threads=4,
        context_tokens=2048,
        passed=True,
        checks=tuple(
            CheckReport(name=name, outcome="passed", measured=chance.random(), limit=1.0)
            for name in ("golden", "clinical_golden", "bandwidth", "predicted_memory", "disk_bytes_max", "load_ms_max",
                         "peak_rss_bytes_max", "decode_tokens_per_s_min", "ttft_ms_max")
        ),
        golden=GoldenReport(cases=6, top1_agreement=0.99, passed=True, self_test_passed=True),
        load_ms=chance.uniform(300, 500),
        prefill=(
            PrefillReport(prompt_tokens=64, ttft_ms=first / 6, tokens_per_s=400.0),
            PrefillReport(prompt_tokens=512, ttft_ms=first, tokens_per_s=450.0),
        ),
        decode=(
            DecodeReport(context_tokens=0, tokens_per_s=speed, tpot_p50_ms=1000 / speed, tpot_p95_ms=1100 / speed),
            DecodeReport(context_tokens=512, tokens_per_s=speed * 0.9, tpot_p50_ms=1000 / speed, tpot_p95_ms=45.0),
        ),
        sustained=None,
        peak_rss_bytes=330_000_000,
        energy_j_per_token=None,
        temperature_start_celsius=45.0,
        temperature_highest_celsius=chance.uniform(60, 80),
        bandwidth=BandwidthReport(
            bytes_read_per_token=MODEL_BYTES,
            decode_tokens_per_s=speed,
            demand_bytes_per_s=speed * MODEL_BYTES,
            limit_bytes_per_s=BANDWIDTH_BYTES_PER_S,
            level="memory",
        ),
        result_sha256=result_sha256,
        attestation_sequence=1,
    )  # fmt: skip


def read_ledger(folder: Path) -> list[tuple[str, str]]:
    """Device and digest of all results that a process's devices had queued and said so, in the order of making.

    A line that a kill cut short was not said.
    """
    path = folder / LEDGER
    if not path.exists():
        return []
    found = [line.split(" ") for line in path.read_text(encoding="ascii").split("\n")]
    return [(words[0], words[1]) for words in found if len(words) == 2 and len(words[1]) == 64]
