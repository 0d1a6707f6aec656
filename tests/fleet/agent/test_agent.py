"""The whole agent: enrolled by files, on a real broker, with a benchmark in a real child process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.bundle.attestation import EARLIEST_PLAUSIBLE_TIME
from edge.bundle.keys import KeyStore
from edge.bundle.update_lock import FileUpdateLock
from edge.errors import SpecError, UntrustedError
from edge.fleet.agent.agent import FULL
from edge.fleet.agent.config import AgentConfig
from edge.fleet.agent.enrolled import make_request_file, read_enrolled, take_enrolment
from edge.fleet.agent.outbox import OutboxLimits
from edge.fleet.agent.start import make_agent
from edge.fleet.pki.certificates import certificate_pem
from edge.fleet.pki.enrolment import Enrolment, make_enrolment, read_request
from edge.fleet.wire import topics
from edge.fleet.wire.event import RESULT, verify_event
from edge.fleet.wire.messages import Command, DesiredState, InstallReport, ReportedState
from edge.fleet.wire.report import FieldReport
from tests.fleet.agent.listener import listen
from tests.fleet.agent.makers import DEVICE
from tests.fleet.agent.world import ROOT, WAIT_S, Runner, enrolment_of, events, send, statuses
from tests.fleet.real_broker import Broker


@pytest.mark.slow
def test_from_enrolment_to_a_result_and_a_second_life(config: AgentConfig, broker: Broker, tmp_path: Path) -> None:
    """If not: a device that does all it should is not seen by its fleet, or does a command again after a restart."""
    fleet = listen(broker, answer=True, filters=(topics.ALL_UP, topics.ALL_COMMANDS))
    runner = Runner(config, tmp_path / "root")
    runner.until(lambda: RESULT in {e.type for e in events(fleet)}, "no result of the new bundle")
    (result,) = [event for event in events(fleet) if event.type == RESULT]
    verify_event(result, KeyStore(config.keys).load_signing_key(role="device").raw_public)
    assert result.time is not None
    report = FieldReport.from_bytes(result.data, "report")
    assert report.passed
    assert (report.profile, report.target) == ("small-profile", "here")
    send(fleet, topics.command(DEVICE, "bench", "c1"), Command(status="init", workload="quick").to_bytes())
    runner.until(lambda: "successful:none" in statuses(fleet, "bench", "c1"), "the command does not end")
    assert statuses(fleet, "bench", "c1") == ["init:none", "executing:none", "successful:none"]
    runner.until(lambda: runner.outbox.counts().rows == 0, "the outbox does not empty")
    newest = [ReportedState.from_bytes(payload, "state") for name, payload, *_ in fleet.got if name.endswith("state")]
    assert newest[-1].bundle_digest == report.bundle_digest
    assert newest[-1].paused_reason == "not_due"
    assert newest[-1].last_result_seq > 1
    assert [one.state_version for one in newest] == sorted({one.state_version for one in newest})
    results = sum(event.type == RESULT for event in events(fleet))
    runner.agent.close()

    again = Runner(config, tmp_path / "root")
    again.until(lambda: again.link.online, "it does not come back")
    for _ in range(20):
        again.until(lambda: True, "")
        time.sleep(0.02)
    assert again.agent._memory.running is None
    assert sum(event.type == RESULT for event in events(fleet)) == results == 2
    states = [ReportedState.from_bytes(payload, "state") for name, payload, *_ in fleet.got if name.endswith("state")]
    assert [one.state_version for one in states] == sorted(one.state_version for one in states)
    assert len({event.id for event in events(fleet)}) == len(events(fleet)), "an event came twice"
    again.agent.close()
    fleet.client.loop_stop()


@pytest.mark.slow
def test_a_visit_and_a_broken_benchmark(config: AgentConfig, broker: Broker, tmp_path: Path) -> None:
    """If not: a visit does not end a benchmark, a command that failed has no reason, or an order is not refused."""
    fleet = listen(broker, filters=(topics.ALL_UP, topics.ALL_COMMANDS))
    runner = Runner(config, tmp_path / "root", fault="hang")
    send(fleet, topics.command(DEVICE, "bench", "c1"), Command(status="init").to_bytes())
    send(fleet, topics.command(DEVICE, "bench", "c2"), b'{"version": 7, "status": "init", "colour": "red"}')
    desired = DesiredState(
        desired_version=3, release="notes-9", profile="other", bundle_digest="c" * 64, rollout="spring"
    )
    send(fleet, topics.down(DEVICE, "desired"), desired.to_bytes())
    runner.until(lambda: runner.agent._child is not None, "nothing starts")
    lock = FileUpdateLock(config.lock_folder)

    def locked() -> bool:
        try:
            lock.acquire()
        except Exception:  # noqa: BLE001  the agent looks at the lock for microseconds
            return False
        return lock._descriptor is not None

    runner.until(locked, "the visit cannot be opened")
    runner.until(lambda: runner.agent._child is None, "the benchmark goes on in a visit")
    runner.until(lambda: runner.agent._told is not None and runner.agent._told.paused_reason != "none", "not told")
    assert "no benchmark: encounter_open" in runner.said
    lock.release()
    runner.fault = "words"
    runner.agent._memory = runner.agent._memory.__class__(
        **(vars(runner.agent._memory) | {"queue": tuple(j for j in runner.agent._memory.queue if j.command)})
    )
    runner.until(lambda: "failed:" in " ".join(statuses(fleet, "bench", "c1")), "the command does not end")
    assert statuses(fleet, "bench", "c1")[-1] in ("failed:other", "failed:encounter_open")
    assert statuses(fleet, "bench", "c2")[-1] == "failed:bad_arguments"

    def installs() -> list[InstallReport]:
        return [InstallReport.from_bytes(e.data, "install") for e in events(fleet) if e.type.endswith("install.v1")]

    runner.until(lambda: bool(installs()), "the refused order is not told")
    assert (installs()[0].outcome, installs()[0].reason) == ("refused", "wrong_target")
    assert (installs()[0].rollout, installs()[0].release) == ("spring", "notes-9")
    runner.agent.close()
    fleet.client.loop_stop()


@pytest.fixture
def small_home(config: AgentConfig, tmp_path: Path) -> Iterator[Path]:
    """The agent's home on a file system of 1.5 MB."""
    kept = tmp_path / "kept"
    shutil.copytree(config.home, kept)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(config.home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        shutil.copytree(kept, config.home, dirs_exist_ok=True)
        yield config.home
    finally:
        subprocess.run(["umount", "-l", str(config.home)], check=False)


@pytest.mark.slow
def test_a_full_disk(config: AgentConfig, broker: Broker, tmp_path: Path, small_home: Path) -> None:
    """If not: a full disk ends the agent, fills its journal, or it does not recover when there is room again."""
    fleet = listen(broker, answer=True)
    runner = Runner(replace(config, telemetry_every_s=0.05, bundle=tmp_path / "nothing"), tmp_path / "root")
    runner.until(lambda: runner.link.online, "it does not connect")
    with contextlib.suppress(OSError), (small_home / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    steps = iter(range(40))
    runner.until(lambda: next(steps, None) is None, "it stands still")
    assert 1 <= len(runner.said) <= 6, runner.said
    assert any("no space left" in line for line in runner.said)
    before = len(events(fleet))
    (small_home / "filler").unlink()
    runner.until(lambda: len(events(fleet)) > before + 3, "nothing is sent any more")
    runner.until(lambda: runner.outbox.counts().rows <= 2, "the outbox does not empty")
    runner.agent.close()
    fleet.client.loop_stop()


CODE = "import sys; from edge.fleet.agent.command import agent; agent(sys.argv[1:])"


@pytest.mark.slow
def test_the_program_is_small_and_holds_no_model(config: AgentConfig, broker: Broker, tmp_path: Path) -> None:
    """If not: the agent that only waits takes a model's memory from the app. And kill -9, then status."""
    fleet = listen(broker)
    environment = {**os.environ, "EDGE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    (tmp_path / "bundle/tasks/note.txt").write_bytes(b"y")  # nothing to measure
    program = [sys.executable, "-c", CODE, "--config", str(config.path)]
    process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + WAIT_S
        while not {"state", "presence", "telemetry"} <= {topic.rpartition("/")[2] for topic in fleet.topics()}:
            assert time.monotonic() < deadline, fleet.topics()
            time.sleep(0.05)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        for heavy in ("numpy", "onnxruntime", "tokenizers", "llguidance", "sqlalchemy"):
            assert heavy not in maps
        status = Path(f"/proc/{process.pid}/status").read_text()
        rss_kb = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
        assert rss_kb < 100_000, f"the agent takes {rss_kb} kB"
        print(f"agent: {rss_kb} kB resident")
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = subprocess.run([*program, "outbox"], env=environment, capture_output=True, text=True, check=True)
    assert "org.edge-kit.telemetry.v1" in done.stdout
    done = subprocess.run([*program, "status", "--json"], env=environment, capture_output=True, text=True, check=True)
    assert f'"device": "{DEVICE}"' in done.stdout
    process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "agent stopped" in said
    fleet.client.loop_stop()


def test_enrolment_that_is_not_for_this_device(config: AgentConfig, broker: Broker, tmp_path: Path) -> None:
    """If not: a device takes another's certificate, or moves to another fleet by a stick that lies about."""
    from edge.fleet.pki.authority import Pki

    file = tmp_path / "wrong.json"
    make_request_file(tmp_path / "second", config.keys, "tablet-08", tmp_path, lambda _: None)
    file.write_bytes(enrolment_of(broker, tmp_path / "tablet-08.request.json"))
    with pytest.raises(UntrustedError):
        take_enrolment(config.home, config.keys, DEVICE, file, lambda _: None)
    other = Pki.create(tmp_path / "other")
    request = read_request((tmp_path / f"{DEVICE}.request.json").read_bytes(), "request")
    certificate = certificate_pem(other.issue(DEVICE, request.tls_key))
    foreign = Enrolment(DEVICE, certificate, other.ca.read_bytes(), "localhost", 8883)
    file.write_bytes(make_enrolment(foreign, other.sign))
    with pytest.raises(UntrustedError, match="another fleet"):
        take_enrolment(config.home, config.keys, DEVICE, file, lambda _: None)
    assert read_enrolled(config.home).port == broker.port
    with pytest.raises(SpecError, match="not enrolled"):
        read_enrolled(tmp_path / "nowhere")


def test_telemetry_that_gives_way_is_said(config: AgentConfig, tmp_path: Path) -> None:
    """If not: a device that was offline for long has gaps, and nothing in its journal says why."""
    said: list[str] = []
    config = replace(config, telemetry_every_s=0.0, outbox=OutboxLimits(rows=10), broker=("127.0.0.1", 1))
    agent = make_agent(config, say=said.append, root=tmp_path / "root")
    for _ in range(9):
        agent.step()
    assert FULL not in said
    for _ in range(9):
        agent.step()
    assert said.count(FULL) == 1
    assert agent._parts.outbox.counts().dropped > 5
    agent.close()


def test_events_of_a_device_that_is_not_believed(config: AgentConfig, tmp_path: Path) -> None:
    """If not: an event of a clock outside of the certificate's time carries that time."""
    enrolled = read_enrolled(config.home)
    end = enrolled.not_after
    for now, believed in (
        (end - timedelta(days=1), True), (end + timedelta(days=1), False), (EARLIEST_PLAUSIBLE_TIME, True),
        (EARLIEST_PLAUSIBLE_TIME - timedelta(days=2), False),
    ):  # fmt: skip
        assert enrolled.believe(now) is believed
    agent = make_agent(config, say=lambda _: None, root=tmp_path / "root")
    outbox = agent._parts.outbox
    assert outbox._believe(end - timedelta(days=1)) and not outbox._believe(end + timedelta(days=1))
    agent.close()
