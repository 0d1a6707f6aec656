"""A real mosquitto for tests, with the shipped configuration and a PKI of its own.

    with running_broker(tmp_path) as broker:
        device = broker.pki.issue_device("tablet-1")      # ca, certificate, key
        collector = broker.pki.credentials("collector")   # collector, operator, broker, page are there already
        second = broker.pki.issue_collector("collector-1")
        broker.kill9(); broker.restart(); broker.pki.revoke("tablet-1"); broker.reload()

The broker takes the certificate's name for the client's id too (`use_username_as_clientid`): two connections with one
certificate throw each other out, so every collector and every device needs its own certificate.
Skips the test where mosquitto cannot be had.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import MissingToolError
from edge.fleet.broker.child import BrokerChild, find_mosquitto, start_broker
from edge.fleet.broker.configuration import BrokerLimits
from edge.fleet.pki.authority import Pki

Broker = BrokerChild


def program() -> Path:
    """mosquitto's; skips the test where it cannot be had."""
    try:
        return find_mosquitto()
    except MissingToolError as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def running_broker(folder: Path, *, limits: BrokerLimits | None = None, pki: Pki | None = None) -> Iterator[Broker]:
    """A broker on loopback; everything of it lies below `folder`. It is ended with the block."""
    found = program()
    broker = start_broker(folder / "broker", pki or Pki.create(folder / "pki"), program=found, limits=limits)
    try:
        yield broker
    finally:
        broker.stop()
