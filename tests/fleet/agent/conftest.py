"""A broker, and a device that is enrolled there. The harness's own test parts are used here too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from edge.fleet.agent.config import AgentConfig, load_config
from edge.fleet.agent.enrolled import make_request_file, take_enrolment
from tests.fleet.agent.makers import DEVICE
from tests.fleet.agent.world import enrolment_of, settings_file
from tests.fleet.real_broker import Broker, running_broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AgentConfig:
    """An enrolled device with a bundle that the scripted engine runs."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGE_LOCK", raising=False)
    from bench_dummies import write_bundle

    write_bundle(tmp_path)
    found = load_config(settings_file(tmp_path))
    make_request_file(found.home, found.keys, DEVICE, tmp_path, lambda _: None)
    file = tmp_path / f"{DEVICE}.enrolment.json"
    file.write_bytes(enrolment_of(broker, tmp_path / f"{DEVICE}.request.json"))
    take_enrolment(found.home, found.keys, DEVICE, file, lambda _: None)
    return found
