"""`edge fleet check` against real brokers: a right one and wrong ones. If these fail, a hole is called good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.fleet.broker.check import check_broker
from edge.fleet.broker.child import find_mosquitto, free_port
from edge.fleet.broker.configuration import DATABASE, BrokerLimits
from edge.fleet.pki.authority import Pki
from tests.fleet.broker.party import until
from tests.fleet.real_broker import Broker, running_broker


def verdicts(broker: Broker, marker: Path, *, ahead_s: float = 0) -> dict[str, str]:
    """ahead_s: how far this machine's clock runs ahead."""
    pki = Pki.open(broker.pki.folder, clock=lambda: datetime.now(UTC) + timedelta(seconds=ahead_s))
    return {finding.text: finding.verdict for finding in check_broker(pki, broker.host, broker.port, marker, 1.0)}


def changed(broker: Broker, **settings: str) -> None:
    """Restart it with other settings; "" leaves one out."""
    path = broker.folder / "mosquitto.conf"
    lines = []
    for line in path.read_text().splitlines():
        name = line.partition(" ")[0]
        value = settings.get(name)
        lines += [line] if value is None else [f"{name} {value}"] * bool(value)
    path.write_text("\n".join((*lines, "")))
    broker.restart()


@pytest.mark.slow
def test_a_right_broker(tmp_path: Path) -> None:
    """The shipped configuration is called bad, or persistence good before anybody has seen it."""
    with running_broker(tmp_path, limits=BrokerLimits(save_interval_s=1)) as broker:
        first = verdicts(broker, tmp_path / "mark")
        assert sorted(first.values()) == ["good"] * 7 + ["unknown"]
        assert until(lambda: (broker.folder / "data" / DATABASE).exists())
        broker.restart()
        second = verdicts(broker, tmp_path / "mark", ahead_s=60)
        assert set(second.values()) == {"good"}
        assert any("kept what it was told" in text for text in second)


@pytest.mark.slow
def test_wrong_brokers(tmp_path: Path) -> None:
    """A broker without persistence, ACL, limits, or with certificates optional passes."""
    with running_broker(tmp_path) as broker:
        verdicts(broker, tmp_path / "mark")
        changed(broker, persistence="false", acl_file="", max_packet_size="", use_username_as_clientid="false")
        found = verdicts(broker, tmp_path / "mark", ahead_s=60)
        bad = " ".join(text for text, verdict in found.items() if verdict == "bad")
        for name in ("persistence", "acl_file", "max_packet_size", "use_username_as_clientid"):
            assert name in bad
        changed(broker, require_certificate="false", allow_anonymous="true", use_identity_as_username="false",
                crlfile="", use_username_as_clientid="")  # fmt: skip
        found = verdicts(broker, tmp_path / "mark2")
        assert [text for text, verdict in found.items() if verdict == "bad" and "without a certificate" in text]


def test_no_broker(tmp_path: Path) -> None:
    """A broker that is not there, or one of another fleet, ends in a traceback."""
    pki = Pki.create(tmp_path / "pki")
    (finding,) = check_broker(pki, "127.0.0.1", free_port(), tmp_path / "mark")
    assert finding.verdict == "bad" and "no broker answers" in finding.text
    with running_broker(tmp_path / "other") as broker:
        (finding,) = check_broker(pki, broker.host, broker.port, tmp_path / "mark")
        assert finding.verdict == "bad" and "no certificate of this fleet" in finding.text


def test_the_program_is_found() -> None:
    """A missing mosquitto ends in anything but one line."""
    from edge.errors import MissingToolError

    with pytest.raises(MissingToolError, match="apt install mosquitto"):
        find_mosquitto("/nowhere")
