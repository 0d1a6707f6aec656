"""`edge fleet dev` with a real mosquitto and a real collector. If these fail, so does the first thing tried."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import MissingToolError, ResourceError
from edge.fleet.agent.config import load_config
from edge.fleet.agent.enrolled import read_enrolled
from edge.fleet.dev.devices import TrialPlace, settings_text
from edge.fleet.dev.trial import device_names, run_trial
from edge.fleet.pki.authority import Pki
from tests.fleet.broker.party import Party, party, refused, until
from tests.fleet.real_broker import program

# As `edge collector`, without the rest of the command line.
COLLECTOR = (sys.executable, "-c", "from edge.fleet.collector.command import collector; collector()")


class _Broker:
    """What `party` needs of a broker."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port


@contextlib.contextmanager
def trial(folder: Path, count: int) -> Iterator[list[str]]:
    """A running one; yields what it said."""
    ended, said, failed = threading.Event(), [], []

    def run() -> None:
        try:
            run_trial(folder, count, say=said.append, ended=ended, collector=COLLECTOR)
        except BaseException as error:  # noqa: BLE001  shown in the test's thread
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert until(lambda: failed or [line for line in said if "Ctrl-C" in line], 30.0)
        assert not failed, failed
        yield said
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_a_whole_fleet(tmp_path: Path) -> None:
    """Broker, collector, page or devices are not ready when it says so, or a revoked device is not shut out."""
    program()
    folder = tmp_path / "fleet"
    with trial(folder, 2) as said:
        page = next(line for line in said if line.startswith("page")).split("http://")[1].rstrip("/")
        connection = http.client.HTTPConnection(page, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        devices = {name: folder / "devices" / name for name in device_names(2)}
        enrolled = {name: read_enrolled(place / "fleet") for name, place in devices.items()}
        for name, place in devices.items():
            config = load_config(place / "agent.yaml")
            assert (config.device, config.home) == (name, place / "fleet")
            assert any(f"EDGE_HOME={place}" in line for line in said)
        one = enrolled["tablet-1"]
        broker = _Broker(one.host, one.port)
        with party(broker, one.credentials) as device:  # type: ignore[arg-type]
            assert device.publish("edge/v1/tablet-1/up/presence", b'{"online":true,"version":1}', retain=True) == 0
        Pki.open(folder / "pki").revoke("tablet-2")
        assert until(lambda: refused(broker, enrolled["tablet-2"].credentials))  # type: ignore[arg-type]
        with pytest.raises(ResourceError, match="another"):
            run_trial(folder, 1, say=said.append, ended=threading.Event(), collector=COLLECTOR)
    with pytest.raises(OSError):
        Party(broker, one.credentials, "x", 0)  # type: ignore[arg-type]
    port = one.port
    with trial(folder, 2) as said:
        assert read_enrolled(folder / "devices" / "tablet-1" / "fleet").port == port
        assert len(Pki.open(folder / "pki").issued()) == 6  # the same certificates


def test_a_collector_that_ends(tmp_path: Path) -> None:
    """A part that cannot start leaves the others running and a person waiting."""
    program()
    bad = (sys.executable, "-c", "import sys; print('edge: no reason. '); sys.exit(7)")
    with pytest.raises(ResourceError, match="no reason"):
        run_trial(tmp_path, 0, say=lambda _line: None, ended=threading.Event(), collector=bad)


def test_without_mosquitto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the broker gets a traceback, or half a fleet."""
    monkeypatch.setattr("edge.fleet.dev.trial.find_mosquitto", lambda: _missing())
    with pytest.raises(MissingToolError, match="apt install mosquitto"):
        run_trial(tmp_path / "fleet", 1, say=lambda _line: None, ended=threading.Event())
    assert not (tmp_path / "fleet").exists()


def _missing() -> Path:
    from edge.fleet.broker.child import find_mosquitto

    return find_mosquitto("/nowhere")


@pytest.mark.slow
def test_ctrl_c_and_kill(tmp_path: Path) -> None:
    """Ctrl-C leaves a broker or a collector behind, or kill -9 does."""
    program()
    script = (
        "import sys; from pathlib import Path; from edge.fleet.dev.trial import run_trial\n"
        "run_trial(Path(sys.argv[1]), 0, say=lambda line: print(line, flush=True), collector=(sys.executable, '-c',"
        " 'from edge.fleet.collector.command import collector; collector()'))"
    )
    for number in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        children = _children(process.pid)
        assert len(children) == 2
        process.send_signal(number)
        assert process.wait(20) == (0 if number == signal.SIGINT else -signal.SIGKILL)
        process.stdout.close()
        assert until(lambda children=children: not any(_runs(child) for child in children))  # type: ignore[misc]


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_settings(tmp_path: Path) -> None:
    """A folder with an odd name makes an agent.yaml that says something else."""
    odd = tmp_path / 'a: "b" #c'
    odd.mkdir()
    (odd / "agent.yaml").write_text(settings_text("tablet-1", odd, TrialPlace("127.0.0.1", 1, repository=odd)))
    found = load_config(odd / "agent.yaml")
    assert (found.home, found.slots, found.updates) == (odd / "fleet", odd / "slots", (str(odd),))
