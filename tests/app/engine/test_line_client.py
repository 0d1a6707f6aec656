"""Clients with real processes behind them: whatever an engine does, the screen gets a list and no exception."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.app.engine.line_client import CAPACITY, LineClient
from edge.app.engine.messages import (
    MAX_LINE_BYTES,
    Cancel,
    Close,
    Died,
    DraftNote,
    Event,
    Failed,
    LineDrafted,
    Loading,
    Piece,
    Ready,
    Refused,
    Result,
)
from edge.app.engine.pipe import PipeClient
from edge.app.engine.socket_client import SocketClient
from tests.app.engine.fake_host import SECRET

FAKE = Path(__file__).parent / "fake_host.py"
REPO = Path(__file__).resolve().parents[3]
RUN = DraftNote("r1", "e1", "a cough")
Make = Callable[..., LineClient]


def wait_for(client: LineClient, done: Callable[[list[Event]], bool], timeout_s: float = 20.0) -> list[Event]:
    """Poll as a screen does until something is there."""
    found: list[Event] = []
    ends_s = time.monotonic() + timeout_s
    while not done(found):
        assert time.monotonic() < ends_s, [type(event).__name__ for event in found]
        found += client.poll()
        time.sleep(0.002)
    return found


def has(kind: type[Event]) -> Callable[[list[Event]], bool]:
    return lambda found: any(isinstance(event, kind) for event in found)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(pid: int) -> None:
    ends_s = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@pytest.fixture(params=["pipe", "socket"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """A client of a fake engine, over both kinds of line."""
    made: list[LineClient] = []
    services: list[subprocess.Popen[bytes]] = []
    environment = os.environ | {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(FAKE)]

    def make_client(mode: str, **options: float) -> LineClient:
        client: LineClient
        if request.param == "pipe":
            client = PipeClient([*command, mode], environment=environment, **options)
        else:
            path = tmp_path / "s"

            def launch() -> None:
                services.append(subprocess.Popen([*command, mode, "--socket", str(path)], env=environment))

            client = SocketClient(path, launch=launch, **options)
        made.append(client)
        return client

    yield make_client
    for client in made:
        client.kill()
    for service in services:
        service.kill()
        service.wait()


def ready(client: LineClient) -> LineClient:
    client.start()
    wait_for(client, has(Ready))
    return client


def pid_of(client: LineClient) -> int:
    channel = client.channel
    assert channel is not None
    return int(channel.pid)  # type: ignore[attr-defined]


def test_a_run_from_start_to_result(make: Make) -> None:
    """The ordinary way; a run that is sent while the engine loads is not lost."""
    client = make("plain")
    assert not client.alive
    assert client.poll() == []
    client.start()
    client.submit(RUN)
    found = wait_for(client, has(Result))
    assert client.alive
    kinds = [type(event) for event in found]
    assert kinds.index(Ready) < kinds.index(Piece) < kinds.index(Result)
    assert "".join(event.text for event in found if isinstance(event, Piece)) == "HPI: A cough."
    result = found[-1]
    assert isinstance(result, Result)
    assert result.value == {"text": "a cough"}
    assert not result.cancelled


def test_start_twice_is_one_engine(make: Make) -> None:
    """A second start must not leave a process behind that nobody knows."""
    client = ready(make("plain"))
    before = pid_of(client)
    client.start()
    assert pid_of(client) == before
    client.submit(RUN)
    wait_for(client, has(Result))


def test_cancel_is_answered_and_nothing_else_is_heard(make: Make) -> None:
    """After Stop, only the cancelled result comes: no late word appears on the screen."""
    client = ready(make("slow"))
    client.submit(RUN)
    wait_for(client, has(Piece))
    client.cancel("r1")
    found = wait_for(client, has(Result))
    assert [type(event) for event in found] == [Result]
    assert found[0].cancelled  # type: ignore[union-attr]
    client.submit(DraftNote("r2", "e1", "x"))
    wait_for(client, has(Piece))
    client.submit(Cancel("r2"))  # the request does the same as the call
    found = wait_for(client, has(Result))
    assert [type(event) for event in found] == [Result]
    client.cancel("r2")
    client.cancel("nobody")


def test_a_result_that_came_too_late_is_marked_as_cancelled(make: Make) -> None:
    """What was finished after Stop is a partial result like any other: never for use."""
    client = ready(make("stubborn"))
    client.submit(RUN)
    wait_for(client, has(Piece))
    client.cancel("r1")
    found = wait_for(client, has(Result))
    assert [type(event) for event in found] == [Result]
    assert found[0].cancelled  # type: ignore[union-attr]


def test_an_engine_that_does_not_stop_is_killed(make: Make) -> None:
    """A hung engine would hold the memory and the cores, and the next run would never begin."""
    now_s = [0.0]
    client = make("hang", clock=lambda: now_s[0])
    ready(client)
    client.submit(RUN)
    wait_for(client, has(Piece))
    pid = pid_of(client)
    client.cancel("r1")
    now_s[0] = 1.9
    client.poll()
    assert not gone(pid)
    now_s[0] = 2.1
    found = wait_for(client, has(Died))
    assert [event for event in found if not isinstance(event, Died)] == []
    assert isinstance(found[-1], Died)
    assert found[-1].exit_code == -signal.SIGKILL
    assert not client.alive
    wait_gone(pid)


@pytest.mark.parametrize("mode", ["segfault", "garbage", "not-json", "oversize", "cut", "exit"])
def test_every_death_is_one_event(make: Make, mode: str) -> None:
    """A crash, a broken line, a flood of bytes: Died once, with nothing of the line in it, and start works again."""
    client = ready(make(mode))
    pid = pid_of(client)
    client.submit(RUN)
    found = wait_for(client, has(Died))
    died = found[-1]
    assert isinstance(died, Died)
    assert died.exit_code != 0
    assert "Rosalind" not in repr(died)
    assert SECRET not in died.message
    assert not client.alive
    assert client.poll() == []
    client.submit(RUN)  # to nobody: no error
    client.cancel("r1")
    assert client.poll() == []
    wait_gone(pid)
    client.start()
    wait_for(client, has(Ready))


def test_exit_codes_are_told(make: Make) -> None:
    """A child's signal or code is what an engineer needs; a service's is not known and not made up."""
    client = ready(make("segfault"))
    client.submit(RUN)
    died = wait_for(client, has(Died))[-1]
    assert isinstance(died, Died)
    assert died.exit_code == (-signal.SIGSEGV if isinstance(client, PipeClient) else 255)


def test_kill_9_from_outside(make: Make) -> None:
    """The kernel ends the engine first when memory ends: the app goes on."""
    client = ready(make("slow"))
    client.submit(RUN)
    wait_for(client, has(Piece))
    os.kill(pid_of(client), signal.SIGKILL)
    found = wait_for(client, has(Died))
    assert sum(isinstance(event, Died) for event in found) == 1
    client.start()
    client.submit(RUN)
    wait_for(client, has(Piece))


def test_a_flood_of_text_is_merged(make: Make) -> None:
    """Twenty thousand words in a second are a few events a frame, and no word is lost."""
    client = ready(make("flood"))
    client.submit(RUN)
    found = wait_for(client, has(Result))
    pieces = [event for event in found if isinstance(event, Piece)]
    assert "".join(piece.text for piece in pieces).startswith("0 1 2 3 ")
    assert sum(piece.tokens for piece in pieces) == 20_003
    assert "".join(piece.text for piece in pieces).endswith("19999 HPI: A cough.")


def test_a_screen_that_does_not_look_holds_the_engine_back(make: Make) -> None:
    """While the app is in the background memory stays bounded, and nothing that was written is lost."""
    client = ready(make("lines"))
    client.submit(RUN)
    connection = client._connection
    assert connection is not None
    ends_s = time.monotonic() + 20
    while len(connection._events) < CAPACITY:
        assert time.monotonic() < ends_s
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(connection._events) <= CAPACITY
    found = wait_for(client, has(Result))
    numbers = [event.line["number"] for event in found if isinstance(event, LineDrafted)]
    assert numbers == list(range(12_000))


def test_events_of_other_runs_are_dropped(make: Make) -> None:
    """A result of another patient's encounter must not reach this one."""
    client = ready(make("stale"))
    client.submit(RUN)
    found = wait_for(client, has(Result))
    assert {getattr(event, "run_id", "r1") for event in found} == {"r1"}
    assert found[-1].value == {"text": "a cough"}  # type: ignore[union-attr]


def test_refusal_is_no_death(make: Make) -> None:
    """The bundle is refused: that is what is said, not that the engine stopped."""
    client = make("refuse")
    client.start()
    found = wait_for(client, has(Refused))
    assert isinstance(found[-1], Refused)
    assert found[-1].needed_bytes == 2
    assert not client.alive
    assert client.poll() == []


def test_loading_can_be_given_up(make: Make) -> None:
    """Cancel while it loads: the process ends, and nothing is said of it afterwards."""
    client = make("loading")
    client.start()
    wait_for(client, has(Loading))
    pid = pid_of(client)
    client.kill()
    assert not client.alive
    wait_gone(pid)
    assert client.poll() == []


def test_kill_right_after_start(make: Make) -> None:
    """The process may not even exist yet: it must not stay behind."""
    client = make("plain")
    client.start()
    client.kill()
    assert not client.alive
    client.start()
    wait_for(client, has(Ready))


@pytest.mark.parametrize("mode", ["plain", "deaf"])
def test_close_ends_the_process(make: Make, mode: str) -> None:
    """In good order, and by force when the engine does not listen."""
    client = make(mode, stop_s=0.3)
    ready(client)
    pid = pid_of(client)
    client.submit(Close())
    assert not client.alive
    wait_gone(pid)
    assert client.poll() == []
    client.close()


def test_a_text_that_is_too_long_fails_as_a_run(make: Make) -> None:
    """Five megabytes of text: one line to the person, and the engine lives."""
    client = ready(make("plain"))
    client.submit(DraftNote("r9", "e1", "x" * MAX_LINE_BYTES))
    found = wait_for(client, has(Failed))
    assert found[-1].run_id == "r9"  # type: ignore[union-attr]
    client.submit(RUN)
    wait_for(client, has(Result))


def test_an_engine_that_does_not_read_never_stalls_the_screen(make: Make) -> None:
    """The pipe holds 64 kB: what does not fit waits in the writer's thread, and submit returns at once."""
    client = ready(make("unread"))
    for number in range(20):
        began_s = time.perf_counter()
        client.submit(DraftNote(f"n{number}", "e1", "word " * 20_000))
        assert time.perf_counter() - began_s < 0.1


def test_what_cannot_be_started_has_died(tmp_path: Path) -> None:
    """A missing interpreter or socket is told like every other end."""
    pipe = PipeClient([str(tmp_path / "nowhere")])
    socket = SocketClient(tmp_path / "s", connect_s=0.1)
    for client in (pipe, socket):
        client.start()
        found = wait_for(client, has(Died))
        assert isinstance(found[-1], Died)
        assert found[-1].exit_code == 127
        assert not client.alive


def test_polling_an_idle_engine_costs_nothing(make: Make) -> None:
    """It is done sixty times a second on the screen's thread; the bound is ten times what it takes."""
    client = ready(make("plain"))
    times = []
    for _ in range(300):
        began_s = time.perf_counter()
        client.poll()
        times.append(time.perf_counter() - began_s)
    assert sorted(times)[len(times) // 2] < 0.0002
