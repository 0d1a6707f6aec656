"""The word to systemd. When these fail, a kiosk restarts an app that works, or keeps one that is frozen."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge.app.kiosk.density import density_for, dpi_of
from edge.app.kiosk.notify import Notifier
from edge.errors import InputError


def test_alive_at_half_the_time() -> None:
    """If not: a word comes too late, or 60 times a second."""
    told: list[bytes] = []
    notifier = Notifier(told.append, watchdog_s=10)
    notifier.ready()
    for frame in range(601):
        notifier.alive(frame / 60)
    notifier.stopping()
    assert told == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_over_a_real_socket(tmp_path: Path) -> None:
    """If not: systemd hears nothing and ends the start after a minute."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = f"{tmp_path}/notify"
        systemd.bind(address)
        known = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
        notifier = Notifier.from_environment(known, pid=7)
        notifier.ready()
        notifier.alive(0.0)
        assert (systemd.recv(99), systemd.recv(99)) == (b"READY=1", b"WATCHDOG=1")
        # A watchdog of another process is not ours.
        other = Notifier.from_environment(known, pid=8)
        other.alive(0.0)
        other.ready()
        assert systemd.recv(99) == b"READY=1"
    notifier.ready()  # nobody listens any more: no error


def test_without_systemd() -> None:
    """If not: the app fails on a desktop."""
    for known in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "udp:1.2.3.4"}):
        notifier = Notifier.from_environment(known)
        notifier.ready()
        notifier.alive(0.0)
        notifier.stopping()


def test_density() -> None:
    """If not: a 48 dp button is no 48 dp on the panel."""
    assert density_for(160) == 1.0
    assert density_for(224) == pytest.approx(1.4)
    assert (density_for(20), density_for(2000)) == (0.5, 4.0)
    assert dpi_of((1280, 720), (154.9, 87.1)) == pytest.approx(210, abs=1)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            density_for(wrong)
    with pytest.raises(InputError):
        dpi_of((1280, 720), (0, 0))
