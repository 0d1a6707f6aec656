"""If these fail, the shipped configuration lets somebody in, loses what it was told, or says what it must not."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from edge.errors import SpecError
from edge.fleet.broker.configuration import BrokerFiles, BrokerLimits, acl_text, configuration_text
from edge.fleet.broker.production import broker_files, production_text, unit_text
from edge.fleet.wire.connection import MAX_PACKET_BYTES
from edge.fleet.wire.event import MAX_EVENT_BYTES
from edge.fleet.wire.topics import device_subscriptions, parse_topic

FILES = broker_files(PurePosixPath("/etc/mosquitto/edge"), PurePosixPath("/var/lib/mosquitto"))


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition(" ") for line in lines if "log_type" not in line)}


def test_what_it_must_say() -> None:
    """A default of mosquitto that loses data or lets somebody in comes back."""
    said = settings(configuration_text(FILES, host="127.0.0.1", port=8883))
    for name, value in {
        "persistence": "true", "autosave_on_changes": "false", "allow_anonymous": "false",
        "require_certificate": "true", "use_identity_as_username": "true", "use_username_as_clientid": "true",
        "tls_version": "tlsv1.2", "crlfile": "/etc/mosquitto/edge/crl.pem", "acl_file": "/etc/mosquitto/edge/acl",
        "listener": "8883 127.0.0.1", "per_listener_settings": "false", "queue_qos0_messages": "false",
    }.items():  # fmt: skip
        assert said[name] == value, name
    assert int(said["autosave_interval"]) <= 10
    assert int(said["max_queued_messages"]) > 1000
    assert MAX_EVENT_BYTES < int(said["max_packet_size"]) == MAX_PACKET_BYTES < MAX_EVENT_BYTES * 1.2


def test_listeners_options_come_after_it() -> None:
    """Certificates stand before the listener: mosquitto would open a second one, without TLS."""
    text = configuration_text(FILES, host=None, port=8883)
    at = text.index("\nlistener 8883\n")
    assert all(text.index(f"\n{name} ") > at for name in ("cafile", "certfile", "require_certificate", "crlfile"))
    assert text.count("listener 8883") == 1


def test_no_topic_is_logged() -> None:
    """The log shows who subscribes to what."""
    text = production_text()
    assert "log_type subscribe" not in text and "log_type all" not in text and "log_type debug" not in text


@pytest.mark.parametrize("path", ["/a\nallow_anonymous true", "/a\r", " /a", "/a "])
def test_no_line_can_be_smuggled_in(path: str) -> None:
    """The name of a folder changes who may come in."""
    files = BrokerFiles(**{**vars(FILES), "data": PurePosixPath(path)})
    with pytest.raises(SpecError):
        configuration_text(BrokerFiles(**{**vars(files), "ca": path}), host=None, port=8883)  # type: ignore[arg-type]
    with pytest.raises(SpecError):
        acl_text([f"tablet-1{path}"])


def test_the_acl_knows_every_topic_of_the_fleet() -> None:
    """A topic that devices use is not in the ACL: its messages would be dropped without a word."""
    lines = acl_text().splitlines()
    patterns = [line.split(" ")[2].replace("%u", "tablet-1") for line in lines if line.startswith("pattern")]
    for topic in patterns:
        assert parse_topic(topic.replace("+", "id")).device == "tablet-1"
    assert all(subscription.startswith("edge/v1/tablet-1/") for subscription in device_subscriptions("tablet-1"))
    assert not [topic for topic in patterns if "#" in topic]
    assert "topic deny edge/v1/#" not in lines
    denied = acl_text(["tablet-1"])
    assert denied.endswith("user tablet-1\ntopic deny edge/v1/#\n")


def test_production_unit() -> None:
    """The unit allows fewer files than the configuration allows connections."""
    limits = BrokerLimits(connections=5000)
    assert "LimitNOFILE=6000" in unit_text(limits=limits)
    assert "max_connections 5000" in production_text(limits=limits)
