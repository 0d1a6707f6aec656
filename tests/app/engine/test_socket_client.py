"""The socket: only this user, only one client at a time."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app.engine import host_link, socket_client
from edge.app.engine.messages import Died, Ready, Result
from edge.app.engine.socket_client import SocketClient, peer_of
from tests.app.engine.test_line_client import FAKE, REPO, RUN, has, ready, wait_for


@pytest.fixture
def service(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A fake engine that listens, and its socket."""
    path = tmp_path / "s"
    environment = os.environ | {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen([sys.executable, str(FAKE), "plain", "--socket", str(path)], env=environment)
    yield path
    process.kill()
    process.wait()


def test_peer_is_this_process() -> None:
    """The check that keeps other users out rests on what the kernel says."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_of(one) == (os.getpid(), os.getuid())


def test_the_socket_is_for_the_owner_alone(service: Path) -> None:
    """Another user of the tablet must not be able to read drafts."""
    client = ready(SocketClient(service))
    assert stat.S_IMODE(service.stat().st_mode) == 0o600
    client.close()


def test_another_users_service_is_refused(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that somebody else has put there gets no patient's text."""
    monkeypatch.setattr(socket_client.os, "getuid", lambda: os.geteuid() + 1)
    client = SocketClient(service)
    client.start()
    found = wait_for(client, has(Died))
    assert [type(event) for event in found] == [Died]


def test_another_users_client_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the other way round."""
    doorway = host_link.Doorway(tmp_path / "s")
    peers = iter([(1, os.getuid() + 1), (1, os.getuid())])
    monkeypatch.setattr(host_link, "peer_of", lambda _connection: next(peers))
    with socket.socket(socket.AF_UNIX) as stranger, socket.socket(socket.AF_UNIX) as own:
        stranger.connect(str(tmp_path / "s"))
        own.connect(str(tmp_path / "s"))
        _, connection = next(doorway.clients())
        assert stranger.recv(1) == b""
        doorway.left(connection)


def test_a_second_client_waits_for_the_first(tmp_path: Path) -> None:
    """Two screens on one engine would mix two patients' events."""
    doorway = host_link.Doorway(tmp_path / "s")
    clients = doorway.clients()
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.connect(str(tmp_path / "s"))
        _, first = next(clients)
        two.connect(str(tmp_path / "s"))
        with socket.socket(socket.AF_UNIX) as three:
            three.connect(str(tmp_path / "s"))
            doorway_left = False

            def leave_later() -> None:
                nonlocal doorway_left
                doorway_left = True
                doorway.left(first)

            accepted = doorway._listener.accept()[0]  # what clients() would do with the second
            assert not doorway._taken.acquire(blocking=False)
            accepted.close()
            assert two.recv(1) == b""
            leave_later()
            next(clients)
            assert doorway_left


def test_a_client_that_comes_after_another_is_served(service: Path) -> None:
    """The app was restarted: the engine that is still loaded serves it at once."""
    first = ready(SocketClient(service))
    channel = first.channel
    assert channel is not None
    channel._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # as when the app dies
    second = SocketClient(service)
    second.start()
    second.submit(RUN)
    found = wait_for(second, has(Result))
    assert any(isinstance(event, Ready) for event in found)
    second.close()


def test_an_old_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    """A crash leaves the file behind; a second service must not take the place of one that runs."""
    path = tmp_path / "s"
    first = host_link.Doorway(path)
    with pytest.raises(OSError, match="in use"):
        host_link.Doorway(path)
    first._listener.close()
    host_link.Doorway(path)
    plain = tmp_path / "file"
    plain.write_text("x", encoding="utf-8")
    with pytest.raises(OSError, match="in use"):
        host_link.Doorway(plain)
