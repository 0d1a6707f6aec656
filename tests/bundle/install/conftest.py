"""A device with empty slots."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from slots_dummies import Device

from edge.bundle.signing import SigningKey, Trust


@pytest.fixture
def device(tmp_path: Path, key: SigningKey, device_key: SigningKey, trust: Trust) -> Device:
    """See slots_dummies."""
    return Device(tmp_path, key, device_key, trust)
