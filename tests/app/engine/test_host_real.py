"""The whole engine, real runtime and real processes: a tiny random model for the ways, the reference for the words.

The reference is taken from EDGE_REFERENCE_BUNDLE (with EDGE_HOME for its keys) where a machine has one; else it is
built as in tests/e2e, which needs the registry.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.app.engine.line_client import LineClient
from edge.app.engine.messages import (
    BenchmarkDone,
    DeviceReading,
    Died,
    DraftNote,
    Event,
    Failed,
    LineDrafted,
    Loading,
    Piece,
    Progress,
    RankDifferential,
    Ready,
    Refused,
    Result,
    RunBenchmark,
    Started,
)
from edge.app.engine.pipe import PipeClient, host_command
from edge.app.engine.socket_client import SocketChannel, SocketClient
from tests.app.engine.test_line_client import gone, has, pid_of, wait_for, wait_gone
from tests.e2e.conftest import built, world
from tests.e2e.test_reference import VISIT, environment, reference
from tests.e2e.world import REPO, World

__all__ = ["built", "reference", "world"]
pytestmark = pytest.mark.slow
WAIT_S = 120.0


class Machine:
    """A bundle, the environment in which it is trusted, and the clients that a test has started."""

    def __init__(self, bundle: Path, environment: dict[str, str]) -> None:
        self.bundle, self.environment = bundle, environment | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
        self.clients: list[PipeClient] = []

    def client(self, **options: object) -> PipeClient:
        command = host_command(self.bundle, **options)  # type: ignore[arg-type]
        # Longer than the app's two seconds: on a busy machine one chunk of reading may take that long.
        made = PipeClient(command, environment=self.environment, stop_s=30.0)
        self.clients.append(made)
        made.start()
        return made

    def ready(self, **options: object) -> PipeClient:
        client = self.client(**options)
        wait_for(client, lambda found: has(Ready)(found) or has(Refused)(found), WAIT_S)
        assert client.alive
        return client


def ended(found: list[Event]) -> bool:
    return any(isinstance(event, Result | Failed | Died | Refused) for event in found)


@pytest.fixture
def tiny(world: World) -> Iterator[Machine]:
    """A random model of two layers: it writes nonsense in the right form, at once."""
    machine = Machine(world.bundle, world.environment())
    yield machine
    for client in machine.clients:
        client.kill()


@pytest.fixture(scope="module")
def reference_place(request: pytest.FixtureRequest) -> tuple[Path, dict[str, str]]:
    """The reference notes' bundle and the environment that trusts it."""
    if given := os.environ.get("EDGE_REFERENCE_BUNDLE"):
        return Path(given), dict(os.environ)
    made: World = request.getfixturevalue("reference")
    return made.bundle, made.environment(**environment())


@pytest.fixture
def notes(reference_place: tuple[Path, dict[str, str]]) -> Iterator[Machine]:
    machine = Machine(*reference_place)
    yield machine
    for client in machine.clients:
        client.kill()


def test_a_note_of_the_tiny_model(tiny: Machine, world: World) -> None:
    """Loading is told, the facts are those of the bundle, and the run ends with a note in its form."""
    client = tiny.client()
    client.submit(DraftNote("r1", "e1", (world.root / "visit.txt").read_text()))
    found = wait_for(client, ended, WAIT_S)
    kinds = [type(event) for event in found]
    assert kinds.index(Loading) < kinds.index(Ready) < kinds.index(Started) < kinds.index(Piece)
    facts = next(event for event in found if isinstance(event, Ready)).facts
    assert facts.bundle_digest == world.digest()
    assert facts.verified == "none"
    assert facts.tasks == ("note",)
    assert facts.load_ms > 0
    reading = next(event for event in found if isinstance(event, DeviceReading))
    assert reading.free_bytes > 0
    result = found[-1]
    assert isinstance(result, Result), result
    assert result.encounter_id == "e1"
    assert result.figures.prompt_tokens > 0


def test_no_file_holds_what_was_said(tiny: Machine, world: World) -> None:
    """Caches, temporary files, home: a lost device must give nothing away."""
    secret = "Quizzlebury"
    client = tiny.ready()
    client.submit(DraftNote("r1", "e1", f"[doctor] hello {secret} . [patient] i am {secret} and i cough ."))
    assert isinstance(wait_for(client, ended, WAIT_S)[-1], Result)
    os.kill(pid_of(client), signal.SIGKILL)  # with no time to tidy up
    wait_for(client, has(Died), 10)
    files = [path for path in world.root.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert secret.encode() not in path.read_bytes(), path
        assert secret not in path.name


def test_what_the_bundle_lacks_fails_and_the_engine_lives(tiny: Machine) -> None:
    """One line; the next run is done."""
    client = tiny.ready()
    client.submit(RankDifferential("r1", "e1", "differential", "Fever."))
    assert isinstance(wait_for(client, ended, WAIT_S)[-1], Failed)
    client.submit(DraftNote("r2", "e1", "[doctor] hello . [patient] i cough ."))
    assert isinstance(wait_for(client, ended, WAIT_S)[-1], Result)


def test_refusals(tiny: Machine, tmp_path: Path, world: World) -> None:
    """Missing, changed, another device's memory: the reason comes, the process ends, no death is told."""
    place = tiny.bundle
    root = tmp_path / "small"
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(Path("/proc/cpuinfo").read_text())
    (root / "proc/meminfo").write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n")
    cases: list[tuple[dict[str, object], str]] = [({"root": root}, "low_memory")]
    for options, code in cases:
        client = tiny.client(**options)
        refused = wait_for(client, has(Refused), WAIT_S)[-1]
        assert isinstance(refused, Refused)
        assert refused.code == code
        assert refused.needed_bytes > refused.free_bytes == 1_024_000
    model = place / "model" / "model.weights"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    refused = wait_for(tiny.client(), has(Refused), WAIT_S)[-1]
    assert isinstance(refused, Refused)
    assert refused.code == "mismatch"
    shutil.rmtree(place)
    client = tiny.client()
    refused = wait_for(client, has(Refused), WAIT_S)[-1]
    assert isinstance(refused, Refused)
    assert refused.code == "missing"
    assert not client.alive


def test_a_benchmark_can_be_stopped(tiny: Machine, tmp_path: Path) -> None:
    """The measuring process ends too, and the engine takes runs again."""
    client = tiny.ready(results=tmp_path / "results")
    client.submit(RunBenchmark("b"))
    wait_for(client, has(Progress), WAIT_S)
    began_s = time.monotonic()
    client.cancel("b")
    found = wait_for(client, lambda some: has(Result)(some) or has(Died)(some), 40)
    assert isinstance(found[-1], Result), found
    assert found[-1].cancelled
    assert time.monotonic() - began_s < 20.0  # the whole measurement takes longer
    assert client.alive
    client.submit(DraftNote("r2", "e1", "[doctor] hello . [patient] i cough ."))
    assert isinstance(wait_for(client, ended, WAIT_S)[-1], Result)
    assert not any(isinstance(event, BenchmarkDone) for event in found)


def test_the_process_ends_with_its_input(tiny: Machine) -> None:
    """The app has gone, also while the model loads: nothing stays behind."""
    done = subprocess.run(
        host_command(tiny.bundle), env=tiny.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_real_service_serves_one_screen_after_the_other(tiny: Machine, tmp_path: Path) -> None:
    """As on Android: the app comes back and the model is still there; Close ends the service."""
    path = tmp_path / "s"
    command = [part for part in host_command(tiny.bundle) if part not in ("--parent", str(os.getpid()))]
    service = subprocess.Popen([*command, "--socket", str(path)], env=tiny.environment)
    run = DraftNote("r1", "e1", "[doctor] hello . [patient] i cough .")
    try:
        first = SocketClient(path)
        first.start()
        first.submit(run)
        assert isinstance(wait_for(first, ended, WAIT_S)[-1], Result)
        channel = first.channel
        assert isinstance(channel, SocketChannel)
        channel._socket.shutdown(socket.SHUT_RDWR)  # as when the app dies
        second = SocketClient(path)
        second.start()
        second.submit(run)
        found = wait_for(second, ended, WAIT_S)
        assert isinstance(found[-1], Result)
        assert not any(isinstance(event, Loading) for event in found)
        second.close()
        assert service.wait(20) == 0
    finally:
        service.kill()
        service.wait()


def test_a_whole_benchmark(tiny: Machine, tmp_path: Path) -> None:
    """Measured, signed, kept, told; the engine then shows the new state or refuses by it."""
    client = tiny.ready(results=tmp_path / "results")
    client.submit(RunBenchmark("b"))
    found = wait_for(client, has(BenchmarkDone), WAIT_S)
    done = found[-1]
    if not isinstance(done, BenchmarkDone):
        done = next(event for event in found if isinstance(event, BenchmarkDone))
    assert Path(done.path).parent == tmp_path / "results"
    assert Path(done.path).is_file()
    assert len(list((tiny.bundle / "attestations").iterdir())) == 1
    progress = [event.done for event in found if isinstance(event, Progress)]
    assert progress == sorted(progress)
    after = [event for event in found[found.index(done) + 1 :] if isinstance(event, Ready | Refused)]
    after = after or [wait_for(client, lambda some: has(Ready)(some) or has(Refused)(some), 20)[-1]]
    if done.passed:
        assert isinstance(after[-1], Ready)
        assert after[-1].facts.verified == "passed"
    else:
        assert isinstance(after[-1], Refused)
        assert after[-1].code == "unverified"


def test_the_demo_visit_with_the_reference(notes: Machine) -> None:
    """A real note: lines that passed the check, each with its place in the visit; nothing of it in the process list."""
    client = notes.ready()
    text = VISIT.read_text(encoding="utf-8")
    client.submit(DraftNote("r1", "e1", text))
    found = wait_for(client, ended, WAIT_S)
    result = found[-1]
    assert isinstance(result, Result), result
    lines = [event.line for event in found if isinstance(event, LineDrafted)]
    assert len(lines) >= 5
    assert all(text[one["start"] : one["end"]] == one["quote"] for line in lines for one in line["evidence"])
    assert sum(len(section["lines"]) for section in result.value["sections"]) == len(lines)
    assert result.figures.tokens_per_s is not None
    written = "".join(event.text for event in found if isinstance(event, Piece))
    assert ": " in written
    assert text[:30] not in Path(f"/proc/{pid_of(client)}/cmdline").read_text()


def test_stop_in_the_middle_of_the_reference(notes: Machine) -> None:
    """The same call shows it, the engine reacts, and the next run is whole."""
    client: LineClient = notes.ready()
    text = VISIT.read_text(encoding="utf-8")
    client.submit(DraftNote("r1", "e1", text))
    wait_for(client, has(Piece), WAIT_S)
    began_s = time.perf_counter()
    client.cancel("r1")
    assert time.perf_counter() - began_s < 0.01
    found = wait_for(client, has(Result), 40)
    assert [type(event) for event in found if not isinstance(event, DeviceReading)] == [Result]
    assert found[-1].cancelled  # type: ignore[union-attr]
    client.submit(DraftNote("r2", "e1", text))
    assert isinstance(wait_for(client, ended, WAIT_S)[-1], Result)


def test_kill_9_in_the_middle_of_the_reference(notes: Machine) -> None:
    """One Died, and a fresh start writes the note."""
    client = notes.ready()
    text = VISIT.read_text(encoding="utf-8")
    client.submit(DraftNote("r1", "e1", text))
    wait_for(client, has(Piece), WAIT_S)
    pid = pid_of(client)
    os.kill(pid, signal.SIGKILL)
    found = wait_for(client, has(Died), 10)
    assert found[-1] == Died(-9)
    wait_gone(pid)
    assert gone(pid)
    client.start()
    client.submit(DraftNote("r2", "e1", text))
    assert isinstance(wait_for(client, ended, WAIT_S)[-1], Result)
