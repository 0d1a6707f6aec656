"""Telemetry of libraries off, before any of them is imported.

onnxruntime (and onnxruntime-genai) look up a vendor host and write a device id below ~/.cache by default;
huggingface_hub reports usage. Every entry point imports this module first; tests/test_privacy.py holds it.
"""

from __future__ import annotations

import os

TELEMETRY_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "DISABLE_TELEMETRY": "1",
    "OLIVE_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
}


def silence_telemetry() -> None:
    """Set the opt-out variable of every library that edge may import. Idempotent."""
    os.environ.update(TELEMETRY_OFF)


silence_telemetry()
