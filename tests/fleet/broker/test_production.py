"""The production folder, installed as `broker-config` says, under Debian's user mosquitto.

If it fails, the broker of a real fleet does not start, or its reload after a revocation locks out everybody.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.fleet.broker.child import BrokerChild, answers, free_port
from edge.fleet.broker.configuration import BrokerLimits
from edge.fleet.broker.production import ACL, CONFIGURATION, CRL, KEY, hints, write_production
from edge.fleet.pki.authority import Pki
from tests.fleet.broker.party import party, refused, until
from tests.fleet.real_broker import program


def install(source: Path, home: Path, names: tuple[str, ...]) -> None:
    """As the hints say: mode 0640, group mosquitto."""
    group = grp.getgrnam("mosquitto").gr_gid
    for name in names:
        shutil.copyfile(source / name, home / name)
        os.chown(home / name, 0, group)
        (home / name).chmod(0o640)


def test_as_the_user_mosquitto(tmp_path: Path) -> None:
    """Files that only root reads: mosquitto starts with them, and loses them at its first reload."""
    found = program()
    try:
        user = pwd.getpwnam("mosquitto")
    except KeyError:
        pytest.skip("there is no user mosquitto")
    if os.geteuid() != 0:
        pytest.skip("only root installs a broker")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o011)
    home, data, out = tmp_path / "edge", tmp_path / "data", tmp_path / "out"
    for folder in (home, data):
        folder.mkdir(mode=0o750)
        os.chown(folder, user.pw_uid, user.pw_gid)
    pki, port = Pki.create(tmp_path / "pki"), free_port()
    pki.issue_device("tablet-1")
    pki.issue_device("stolen")
    files = write_production(pki, out, home=home, data=data, host="127.0.0.1", port=port)
    install(out, home, tuple(path.name for path in files))
    assert all(name in hints(out) for name in (CONFIGURATION, ACL, KEY, CRL))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([found, "-c", home / CONFIGURATION], stdout=log, stderr=log)
    broker = BrokerChild(tmp_path, pki, "127.0.0.1", port, process, found, BrokerLimits())
    try:
        assert until(lambda: answers("127.0.0.1", port, pki))
        assert Path(f"/proc/{process.pid}").stat().st_uid == user.pw_uid
        with party(broker, pki.credentials("stolen")):
            pki.revoke("stolen")
            write_production(pki, out, home=home, data=data, host="127.0.0.1", port=port)
            install(out, home, (ACL, CRL))
            broker.reload()
            assert until(lambda: refused(broker, pki.credentials("stolen")))
        with party(broker, pki.credentials("tablet-1")) as device:
            assert device.publish("edge/v1/tablet-1/up/result", b"r") == 0
    finally:
        broker.stop()
    assert (data / "mosquitto.db").exists()
