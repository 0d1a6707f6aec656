"""The benchmark's child with real processes. When these fail, a visit is slowed down, or a patient's word gets out."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from bench_dummies import write_bundle

from edge.bundle.open import open_bundle
from edge.bundle.update_lock import FileUpdateLock
from edge.errors import BundleError, UntrustedError
from edge.fleet.agent.children import Child
from edge.fleet.agent.device_class import public_class
from edge.fleet.agent.job_files import BenchJob, ChangeJob, Done
from edge.fleet.agent.measure import in_a_word, measure
from edge.fleet.wire.report import FieldReport
from tests.fleet.agent.scripted_measure import WORDS

SCRIPT = Path(__file__).with_name("scripted_measure.py")
WAIT_S = 40.0


def job_of(folder: Path, **changes: object) -> BenchJob:
    values: dict[str, object] = {
        "bundle": str(folder / "bundle"), "profile": "small-profile", "release": "notes-2", "workload": "quick",
        "keys": str(folder / "home"), "lock_folder": str(folder / "lock"), "results": str(folder / "measured"),
        "time_limit_s": 60.0,
    }  # fmt: skip
    return BenchJob(**(values | changes))  # type: ignore[arg-type]


def start(folder: Path, job: BenchJob | ChangeJob, fault: str = "") -> Child:
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = (sys.executable, str(SCRIPT), fault)
    return Child(folder / "jobs", job, clock=time.monotonic, command=command, environment=environment)


def end(child: Child) -> tuple[Done, bytes | None]:
    deadline = time.monotonic() + WAIT_S
    while (found := child.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_a_report_comes_out(tmp_path: Path) -> None:
    """If not: no result of the field ever exists, or it is signed by nobody."""
    write_bundle(tmp_path)
    done, report = end(start(tmp_path, job_of(tmp_path)))
    assert (done.measured, done.passed, done.reason) == (True, True, "none")
    assert report is not None
    found = FieldReport.from_bytes(report, "report")
    assert (found.profile, found.release, found.bundle_digest) == ("small-profile", "notes-2", done.digest)
    assert found.attestation_sequence == 1
    assert (tmp_path / "measured/result.json").exists()
    from edge.bundle.keys import KeyStore

    opened = open_bundle(tmp_path / "bundle", KeyStore(tmp_path / "home").trust_store())
    assert len(opened.attestations) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "reason"), [("words", "other"), ("memory", "memory")])
def test_failures_are_words_of_a_list(tmp_path: Path, fault: str, reason: str) -> None:
    """If not: what an exception says, which may be a patient's words, leaves the child."""
    write_bundle(tmp_path)
    done, report = end(start(tmp_path, job_of(tmp_path), fault))
    assert (done.measured, report) == (False, None)
    assert done.reason == reason
    for path in (tmp_path / "jobs").iterdir():
        for word in WORDS.replace(",", "").split():
            if len(word) > 2:
                assert word.encode() not in path.read_bytes()


def test_what_is_not_to_be_measured(tmp_path: Path) -> None:
    """If not: a bundle of another profile, a changed one or none at all is measured and signed."""
    write_bundle(tmp_path)
    for job in (job_of(tmp_path, profile="letters"), job_of(tmp_path, bundle=str(tmp_path / "nothing"))):
        with pytest.raises(BundleError) as raised:
            measure(job)
        assert in_a_word(raised.value) == "no_bundle"
    (tmp_path / "bundle/tasks/note.txt").write_bytes(b"y")
    with pytest.raises(BundleError, match="changed"):
        measure(job_of(tmp_path))
    (tmp_path / "home/trusted/builder.pub.pem").unlink()
    with pytest.raises(UntrustedError) as refused:
        measure(job_of(tmp_path))
    assert in_a_word(refused.value) == "refused"
    assert not (tmp_path / "bundle/attestations").exists()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def until_measuring(child: Child) -> int:
    deadline = time.monotonic() + WAIT_S
    while not (found := children_of(child.pid)):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


def gone(*pids: int) -> bool:
    deadline = time.monotonic() + 10
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
def test_a_visit_ends_it_at_once(tmp_path: Path) -> None:
    """If not: the tablet is slow in the hand of a clinician for half an hour."""
    write_bundle(tmp_path)
    (tmp_path / "lock").mkdir()
    over = FileUpdateLock(tmp_path / "lock")
    over.acquire()
    over.release()  # its file stays
    child = start(tmp_path, job_of(tmp_path), "hang")
    engine = until_measuring(child)
    lock = FileUpdateLock(tmp_path / "lock")
    deadline = time.monotonic() + 5  # the child looks at the lock for microseconds now and then
    while True:
        try:
            lock.acquire()
            break
        except Exception:  # noqa: BLE001
            assert time.monotonic() < deadline
    began_s = time.monotonic()
    done, report = end(child)
    assert time.monotonic() - began_s < 2.0
    assert (done.reason, report) == ("encounter_open", None)
    assert gone(engine), "the model stays in memory"
    lock.release()


@pytest.mark.slow
def test_its_time_limit_and_the_agent_s_end(tmp_path: Path) -> None:
    """If not: a build that hangs measures for ever, or goes on after the agent was killed."""
    write_bundle(tmp_path)
    child = start(tmp_path, job_of(tmp_path, time_limit_s=1.0), "hang")
    assert end(child)[0].reason == "timed_out"
    reader, writer = os.pipe()
    agent = os.fork()
    if agent == 0:
        child = start(tmp_path, job_of(tmp_path), "hang")
        engine = until_measuring(child)
        os.write(writer, f"{child.pid} {engine}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(agent, 0)
    pids = [int(word) for word in os.read(reader, 100).split()]
    assert len(pids) == 2
    assert gone(*pids), "the benchmark outlives its agent"


def test_a_child_that_cannot_answer(tmp_path: Path) -> None:
    """If not: the agent waits for ever, or believes half an answer."""
    for code, reason in (("pass", "other"), ("import os; os.kill(os.getpid(), 9)", "memory")):
        command = (sys.executable, "-I", "-S", "-c", code)
        child = Child(tmp_path / "jobs", job_of(tmp_path), clock=time.monotonic, command=command)
        assert end(child) == (Done(reason=reason), None)  # type: ignore[arg-type]
    half = "import sys, pathlib; pathlib.Path(sys.argv[1], 'done.json').write_text('{\"measured\": true')"
    child = Child(
        tmp_path / "jobs", job_of(tmp_path), clock=time.monotonic, command=(sys.executable, "-I", "-S", "-c", half)
    )
    assert end(child)[0].measured is False
    now = [0.0]
    child = Child(tmp_path / "jobs", job_of(tmp_path), clock=lambda: now[0], command=("/bin/sleep",))
    child.stop()
    child = Child(tmp_path / "jobs", job_of(tmp_path), clock=lambda: now[0], command=("/bin/sh", "-c", "sleep 600"))
    assert child.poll() is None
    now[0] = 1e6
    assert child.poll() == (Done(reason="timed_out"), None)


@pytest.mark.parametrize(
    ("found", "sent"),
    [
        ("aarch64-raspberry-pi-4-model-b", "aarch64-raspberry-pi-4-model-b"),
        ("x86_64-intel-xeon-processor-family-6-model-143", "x86_64-intel-xeon-processor-family-6-model-143"),
        ("x86_64-intel-r-n100", None),
        ("x86_64-intel-core-i5-1240p", "x86_64-intel-core-i5-1240p"),
        ("aarch64-nvidia-jetson-orin-nano-developer-kit", "aarch64-nvidia-jetson-orin-nano-developer-kit"),
        ("emulated-aarch64-cortex-a76", "emulated-aarch64-cortex-a76"),
        ("aarch64", "aarch64"),
        ("aarch64-ward-3-mrs-smith-born-1952-03-07", None),
    ],
)
def test_a_device_class_of_words_that_are_known(found: str, sent: str | None) -> None:
    """If not: what an owner wrote into a firmware's name goes to the server."""
    public = public_class(found)
    if sent is not None:
        assert public == sent
        return
    assert public != found
    for word in ("smith", "ward", "1952", "born", "-r-"):
        assert word not in public
    assert public.rpartition("-x")[2] != ""
    assert public_class(found + "-x") != public
