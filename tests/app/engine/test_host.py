"""The engine's process from inside: every request has an end, and no error carries what a patient said."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.app.engine import host as host_module
from edge.app.engine import host_bench, host_load, host_runs
from edge.app.engine.host import Host, Options, read_options
from edge.app.engine.host_desk import BUSY, Run
from edge.app.engine.host_link import Link
from edge.app.engine.host_runs import RunCancelledError
from edge.app.engine.messages import (
    BenchmarkDone,
    Cancel,
    Close,
    DraftNote,
    Event,
    Failed,
    Loading,
    Message,
    Piece,
    ProtocolError,
    RankDifferential,
    Ready,
    Refused,
    Result,
    RunBenchmark,
    Started,
    decode,
    encode,
)
from edge.app.engine.scripted import FACTS
from edge.errors import InputError

SECRET = "Rosalind Example"
RUN = DraftNote("r1", "e1", SECRET)


class Left(BaseException):
    """The process has ended."""


class Client:
    """The other end of a line."""

    def __init__(self, *messages: Message) -> None:
        self.out = io.BytesIO()
        self.link = Link(io.BytesIO(b"".join(map(encode, messages))), self.out)

    @property
    def heard(self) -> list[Event]:
        return [decode(line + b"\n") for line in self.out.getvalue().splitlines()]  # type: ignore[misc]


def leave(code: int) -> None:
    raise Left(code)


def make(**options: Any) -> Host:
    """A host that is loaded."""
    host = Host(Options(Path("nowhere"), **options), leave=leave)
    session = SimpleNamespace(closed=0)
    session.close = lambda: setattr(session, "closed", session.closed + 1)
    host._loaded = SimpleNamespace(facts=FACTS, session=session, bundle="bundle")  # type: ignore[assignment]
    return host


def step(host: Host, request: Any) -> list[Event]:
    """One run, and what its client heard."""
    client = Client()
    host.desk.add(Run(request, client.link))
    host.step(host.desk.next())
    assert not host.desk.busy
    return client.heard


def test_options() -> None:
    """The command line of the child."""
    assert read_options(["b"]) == Options(Path("b"))
    given = read_options(["b", "--socket", "s", "--results", "r", "--root", "/x", "--parent", "7", "--force"])
    assert given == Options(Path("b"), Path("s"), Path("r"), Path("/x"), 7, True)


def test_a_run_ends_with_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note and a differential go to their own code, with the client's own line."""
    result = Result("r1", "e1", "note", {"x": 1})

    def note(_session: Any, request: DraftNote, send: Any, cancelled: Any) -> Result:
        assert not cancelled()
        send(Piece(request.run_id, "a"))
        return result

    monkeypatch.setattr(host_runs, "run_note", note)
    monkeypatch.setattr(host_runs, "run_scored", lambda *_: replace(result, task="differential"))
    assert step(make(), RUN) == [Piece("r1", "a"), result]
    found = step(make(), RankDifferential("r1", "e1", "differential", SECRET))
    assert found == [replace(result, task="differential")]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(SECRET), "internal error (ValueError)"),
        (UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET), "internal error (UnicodeDecodeError)"),
        (MemoryError(SECRET), "there is not enough memory"),
        (InputError("the case needs 9000 tokens", where=SECRET), "the case needs 9000 tokens"),
    ],
)
def test_an_error_is_one_line_without_a_word_of_a_patient(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """Its type, or what edge's own error says; never a library's message, which may quote the text."""

    def fail(*_: Any) -> Result:
        raise error

    monkeypatch.setattr(host_runs, "run_note", fail)
    assert step(make(), RUN) == [Failed("r1", message)]


def test_a_cancelled_run_ends_as_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left by its own exception, or by an error on the way out."""
    host = make()

    def left(*_: Any) -> Result:
        host.desk.cancel("r1")
        raise RunCancelledError

    def failed(*_: Any) -> Result:
        host.desk.cancel("r1")
        raise InputError("torn")

    for run in (left, failed):
        monkeypatch.setattr(host_runs, "run_note", run)
        assert step(host, RUN) == [Result("r1", "e1", "note", {}, cancelled=True)]


def test_a_task_that_the_bundle_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the process lives; the same before the model is there."""
    assert step(make(), RankDifferential("r1", "e1", "judge", "")) == [
        Failed("r1", "this bundle does not have the task")
    ]
    empty = make()
    empty._loaded = None
    assert step(empty, RUN) == [Failed("r1", "the model is not loaded")]


def test_a_result_that_does_not_fit_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run still ends."""
    huge = Result("r1", "e1", "note", {"x": "x" * (5 << 20)})
    monkeypatch.setattr(host_runs, "run_note", lambda *_: huge)
    (end,) = step(make(), RUN)
    assert isinstance(end, Failed)
    assert "too long" in end.message


def test_requests_of_a_client() -> None:
    """Queued, refused while a benchmark is there, cancelled while waiting, closed."""
    host = make()
    client = Client(RunBenchmark("b"), RUN, Cancel("b"), RUN, Cancel("nobody"), Cancel("r1"))
    host.serve(client.link)
    assert client.heard == [
        Loading(0.0, None),
        Failed("r1", BUSY),
        Result("b", "", "benchmark", {}, cancelled=True),
        Result("r1", "e1", "note", {}, cancelled=True),
    ]
    with pytest.raises(Left):
        host.serve(Client(Close()).link)


def test_what_a_client_does_not_say() -> None:
    """An event from a client, or half a line: it is no client of ours."""
    with pytest.raises(ProtocolError):
        make().serve(Client(Piece("r1", "x")).link)
    half = Client()
    half.link = Link(io.BytesIO(b'{"v":1'), half.out)
    with pytest.raises(ProtocolError):
        make().serve(half.link)


def test_a_client_that_leaves_stops_its_runs() -> None:
    """What it asked for is not begun; what is said of the process goes to nobody."""
    host = make()
    host.desk.add(Run(replace(RUN, run_id="r0"), Client().link))
    host.desk.next()
    client = Client(RUN)
    host.serve(client.link)
    assert host.desk.stopped()
    host.tell(Loading(0.5))
    assert len(client.heard) == 1


def test_a_late_client_is_greeted_with_how_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine was loaded before the app came back."""
    host = make()
    loaded = host._ready()
    monkeypatch.setattr(host_load, "load", lambda *_, **__: loaded)
    host.prepare()
    client = Client()
    host.serve(client.link)
    assert client.heard == [Ready(FACTS)]


@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_is_heard_before_the_process_ends(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """By the client that is there, or by the first one that comes."""
    host = make()
    event = Refused("missing", "there is no bundle")

    def load(*_: Any, **__: Any) -> Any:
        raise host_load.RefusedError("missing", "there is no bundle")

    monkeypatch.setattr(host_load, "load", load)
    client = Client()
    if late:
        asked = threading.Event()
        real = host._came.wait
        monkeypatch.setattr(host._came, "wait", lambda *a: (asked.set(), real(*a)))
        ended: list[object] = []

        def prepare() -> None:
            with pytest.raises(Left):
                host.prepare()
            ended.append(1)

        thread = threading.Thread(target=prepare, daemon=True)
        thread.start()
        assert asked.wait(10)
        host.serve(client.link)
        thread.join(10)
        assert ended
    else:
        host._link = client.link
        with pytest.raises(Left):
            host.prepare()
    assert client.heard == [event]


def test_a_crash_while_loading_tells_its_type_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the runtime is a refusal, not a silence."""
    host = make()
    host._link = (client := Client()).link

    def load(*_: Any, **__: Any) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(host_load, "load", load)
    with pytest.raises(Left):
        host.prepare()
    assert client.heard == [Refused("unsupported", "the model could not be loaded (RuntimeError)")]


def benchmark(host: Host, monkeypatch: pytest.MonkeyPatch, measure: Any) -> list[Event]:
    monkeypatch.setattr(host_load, "open_session", lambda _bundle: SimpleNamespace(again=True))
    monkeypatch.setattr(host_bench, "run_benchmark", measure)
    return step(host, RunBenchmark("b"))


def test_a_benchmark_frees_the_engine_and_loads_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device need not hold the model twice; afterwards the state is the measured one."""
    host = make(results=Path("results"))
    host._loaded.facts = replace(FACTS, verified="none")  # type: ignore[union-attr]
    before: Any = host._ready().session
    told = Client()
    host._link = told.link

    def measure(_bundle: Any, request: RunBenchmark, _send: Any, results: Any, **_: Any) -> BenchmarkDone:
        assert before.closed == 1
        assert results == Path("results")
        return BenchmarkDone(request.run_id, True, "p", "passed")

    assert benchmark(host, monkeypatch, measure) == [
        Started("b", "", "benchmark", 1),
        BenchmarkDone("b", True, "p", "passed"),
    ]
    assert told.heard == [Ready(FACTS)]
    assert host._ready().session.again  # type: ignore[attr-defined]


def test_a_failed_benchmark_turns_suggestions_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `edge verify`; with force it goes on and says so."""

    def measure(*_: Any, **__: Any) -> BenchmarkDone:
        return BenchmarkDone("b", False, "p", "failed: golden")

    host = make()
    host._link = (told := Client()).link
    with pytest.raises(Left):
        benchmark(host, monkeypatch, measure)
    assert told.heard == [Refused("unverified", "this build failed its device test on this kind of device")]
    forced = make(force=True)
    benchmark(forced, monkeypatch, measure)
    assert forced._ready().facts.verified == "forced"


def test_a_benchmark_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal wakes the waiting thread only while it measures; the engine is there again afterwards."""
    host = make()

    def measure(*_: Any, **__: Any) -> BenchmarkDone:
        host.desk.cancel("b")
        host.interrupted()
        raise AssertionError("not reached")

    assert benchmark(host, monkeypatch, measure)[-1] == Result("b", "", "benchmark", {}, cancelled=True)
    assert host._ready().session.again  # type: ignore[attr-defined]
    host.interrupted()
    host._interrupt()


def test_the_module_imports_no_runtime() -> None:
    """The first word to the screen must not wait for the runtime's import."""
    assert not hasattr(host_module, "Session")
