"""`edge inspect`: when these fail, a user cannot see what a bundle is, or sees another text on each call."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import bundle_dummies

from edge.bundle.attestation import Check, new_attestation, write_attestation
from edge.bundle.inspect import format_bytes, summary, summary_json
from edge.bundle.open import open_bundle
from edge.bundle.signing import SigningKey, Trust, grouped


def test_summary(bundle: Path, trust: Trust, key: SigningKey, device_key: SigningKey) -> None:
    """If not: digest, signer, target, licence or verdict is not shown."""
    opened = open_bundle(bundle, trust)
    text = summary(opened, files=True)
    for part in (
        opened.bundle_digest,
        opened.behaviour_digest,
        grouped(key.fingerprint),
        "linux (x86_64)",
        "licence Apache-2.0",
        "scheme int4",
        "version 1.31.1",
        "weights 2.0 KiB",
        "9, 2.1 KiB, checked",
        "on no device that is trusted here",
        "model/decoder.onnx.data",
    ):
        assert part in text
    assert summary(opened, files=True) == text
    assert "NOT checked" in summary(open_bundle(bundle, trust, check_files=False))
    for now, checks in ((datetime(2026, 12, 1, tzinfo=UTC), True), (datetime(1999, 1, 1, tzinfo=UTC), False)):
        opened = open_bundle(bundle, trust)
        item = new_attestation(
            opened,
            device_class="pi",
            device={},
            checks=[Check("ttft_ms", checks)],
            result=b"",
            clock=lambda now=now: now,
        )
        write_attestation(bundle, item, device_key)
    text = summary(open_bundle(bundle, trust))
    assert "verified on pi" in text
    assert "failed at an unknown time" in text
    assert "run 2, 1 checks: ttft_ms" in text


def test_an_adapter_beside_its_base_is_shown(tmp_path: Path, trust: Trust, key: SigningKey) -> None:
    """If not: nobody sees that this bundle takes a small update, nor which file it is in."""
    facts = {"digest": "c" * 64, "merged": False, "rank": "16", "file": "model/adapter.weights", "file_bytes": 11 << 20}
    for name, adapter, words in (
        ("beside", facts, f"{'c' * 16}, unmerged, rank 16, model/adapter.weights (11.0 MiB)\n"),
        ("merged", {"digest": "c" * 64}, f"{'c' * 16}\n"),
        ("none", None, "none\n"),
    ):
        bundle_dummies.build(tmp_path / name, key, adapter=adapter)
        row = next(line for line in summary(open_bundle(tmp_path / name, trust)).splitlines(True) if "adapter " in line)
        assert row.split(maxsplit=1)[1] == words


def test_json(finished: Path, trust: Trust) -> None:
    """If not: scripts cannot read what a user sees."""
    opened = open_bundle(finished, trust)
    value = json.loads(json.dumps(summary_json(opened)))
    assert value["bundle_digest"] == opened.bundle_digest
    assert value["manifest"]["name"] == "notes"


def test_sizes() -> None:
    """If not: sizes are shown in a unit that nobody reads."""
    assert [format_bytes(size) for size in (0, 1023, 1024, 1536, 5 << 20, 3 << 30, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "3072.0 GiB",
    ]
