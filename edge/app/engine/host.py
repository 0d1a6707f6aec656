"""The engine's process: `python -m edge.app.engine.host BUNDLE [--socket PATH]`.

It holds one bundle, takes requests as lines and answers with events (messages.py), over its standard pipes or over a
socket. One thread reads, so that a Cancel is heard while the model writes; one computes; one reads the device. It ends
at once when its input ends, when its parent dies, and on Close. Patient text goes to the client and nowhere else:
output of libraries leads nowhere, and an unexpected error is told by its type alone.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

import argparse
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app.engine.host_desk import BUSY, Desk, Run
from edge.app.engine.host_link import Doorway, Link, silence, take_stdio
from edge.app.engine.host_process import leave, settle
from edge.app.engine.messages import (
    BenchmarkDone,
    Cancel,
    Close,
    DraftNote,
    Event,
    Failed,
    Loading,
    Message,
    ProtocolError,
    RankDifferential,
    Ready,
    Refused,
    Result,
    RunBenchmark,
    Started,
    task_of,
)
from edge.errors import EdgeError, ExitStatus

if TYPE_CHECKING:
    from edge.app.engine.host_load import Loaded

REFUSED = int(ExitStatus.BUNDLE)


@dataclass(frozen=True)
class Options:
    """The command line."""

    bundle: Path
    socket: Path | None = None
    results: Path | None = None
    root: Path = Path("/")
    parent: int | None = None
    force: bool = False


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Errors: SystemExit with usage."""
    parser = argparse.ArgumentParser(prog="edge.app.engine.host", description="The engine of the bedside app.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--socket", type=Path, help="serve one client at a time here instead of the standard pipes")
    parser.add_argument("--results", type=Path, help="folder for the results of benchmarks")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where /proc and /sys of the device are")
    parser.add_argument("--parent", type=int, help="process to end with")
    parser.add_argument("--force", action="store_true", help="run a build that failed its device test")
    return Options(**vars(parser.parse_args(arguments)))


class Host:
    """The process's state. leave: ends the process; a test replaces it."""

    def __init__(self, options: Options, *, leave: Callable[[int], None] = leave) -> None:
        self.options = options
        self.desk = Desk()
        self._leave = leave
        self._link: Link | None = None
        self._greeting: Event = Loading(0.0, None)
        self._came = threading.Condition()
        self._loaded: Loaded | None = None
        self._measuring = False

    # ---- clients ----------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Say something of the process to whoever listens."""
        with self._came:
            link = self._link
        if link is not None:
            link.send(event)

    def serve(self, link: Link) -> None:
        """Read a client's requests to its end. Errors: ProtocolError."""
        with self._came:
            self._link = link
            link.send(self._greeting)
            self._came.notify_all()
        try:
            for message in link.messages():
                self.take(message, link)
        finally:
            with self._came:
                self._link = None
            self.desk.clear()
            self._interrupt()

    def take(self, message: Message, link: Link) -> None:
        """One request of a client. Errors: ProtocolError for what a client does not say."""
        if isinstance(message, Close):
            self._leave(0)
        elif isinstance(message, Cancel):
            waiting = self.desk.cancel(message.run_id)
            if waiting is not None:
                link.send(_stopped(waiting))
            self._interrupt()
        elif isinstance(message, DraftNote | RankDifferential | RunBenchmark):
            if not self.desk.add(Run(message, link)):
                link.send(Failed(message.run_id, BUSY))
        else:
            raise ProtocolError("a client does not say this")

    def _interrupt(self) -> None:
        """Wake the computing thread when it waits for the measuring process."""
        if self._measuring and self.desk.stopped():
            ident = threading.main_thread().ident
            if ident is not None:
                signal.pthread_kill(ident, signal.SIGUSR1)

    # ---- work -------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Load; a refusal is told and ends the process."""
        from edge.app.engine.host_load import RefusedError, load

        try:
            self._loaded = load(self.options.bundle, self.tell, root=self.options.root, force=self.options.force)
        except RefusedError as error:
            self.refuse(error.event)
        except Exception as error:  # noqa: BLE001  a client must hear of every end, and its words may hold a path only
            self.refuse(Refused("unsupported", f"the model could not be loaded ({type(error).__name__})"))
        else:
            self.greet(Ready(self._loaded.facts))

    def greet(self, event: Event) -> None:
        """Tell how things are, also to a client that comes later."""
        with self._came:
            self._greeting = event
            if self._link is not None:
                self._link.send(event)

    def refuse(self, event: Refused) -> None:
        """Say why, to a client that is there or to the next one, and end."""
        with self._came:
            self._greeting = event
            if self._link is not None:
                self._link.send(event)
            else:
                self._came.wait()
        self._leave(REFUSED)

    def work(self) -> None:
        """Do runs for ever."""
        while True:
            self.step(self.desk.next())

    def step(self, run: Run) -> None:
        """One run, with the event that ends it whatever happens."""
        from edge.app.engine.host_runs import RunCancelledError

        send, run_id = run.link.send, run.request.run_id
        ready: Event | None = None
        try:
            end: Event
            if isinstance(run.request, RunBenchmark):
                end, ready = self._benchmark(run.request, send)
            else:
                end = self._run(run.request, send)
        except RunCancelledError:
            end = _stopped(run)
        except EdgeError as error:
            end = _stopped(run) if self.desk.stopped() else Failed(run_id, error.what)
        except MemoryError:
            end = Failed(run_id, "there is not enough memory")
        except Exception as error:  # noqa: BLE001  its message may hold what a patient said: the type alone is told
            end = Failed(run_id, f"internal error ({type(error).__name__})")
        # Free before it is told: who hears of the end may ask for the next run at once.
        self.desk.done()
        try:
            send(end)
        except ProtocolError as error:
            send(Failed(run_id, str(error)))
        if isinstance(ready, Refused):
            self.refuse(ready)
        elif ready is not None:
            self.greet(ready)

    def _run(self, request: DraftNote | RankDifferential, send: Callable[[Event], None]) -> Result:
        from edge.app.engine.host_runs import run_note, run_scored

        loaded = self._ready()
        if task_of(request) not in loaded.facts.tasks:
            raise EdgeError("this bundle does not have the task")
        if isinstance(request, DraftNote):
            return run_note(loaded.session, request, send, self.desk.stopped)
        return run_scored(loaded.session, request, send, self.desk.stopped)

    def _benchmark(self, request: RunBenchmark, send: Callable[[Event], None]) -> tuple[BenchmarkDone, Event]:
        """(the end of the run, what the process says of itself afterwards)."""
        from edge.app.engine.host_bench import run_benchmark
        from edge.app.engine.host_load import open_session
        from edge.app.engine.host_runs import RunCancelledError

        loaded = self._ready()
        send(Started(request.run_id, "", task_of(request), 1))
        loaded.session.close()
        try:
            self._measuring = True
            try:
                if self.desk.stopped():
                    raise RunCancelledError
                done = run_benchmark(loaded.bundle, request, send, self.options.results, root=self.options.root)
            finally:
                self._measuring = False
        finally:
            loaded.session = open_session(loaded.bundle)
        if done.passed:
            loaded.facts = replace(loaded.facts, verified="passed")
        elif self.options.force:
            loaded.facts = replace(loaded.facts, verified="forced")
        else:
            return done, Refused("unverified", "this build failed its device test on this kind of device")
        return done, Ready(loaded.facts)

    def interrupted(self, *_: object) -> None:
        """The signal of _interrupt, in the computing thread. Errors: RunCancelledError while it measures."""
        from edge.app.engine.host_runs import RunCancelledError

        if self._measuring and self.desk.stopped():
            raise RunCancelledError

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise EdgeError("the model is not loaded")
        return self._loaded


def _stopped(run: Run) -> Result:
    request = run.request
    return Result(request.run_id, getattr(request, "encounter_id", ""), task_of(request), {}, cancelled=True)


def _serve_pipe(host: Host, link: Link) -> None:
    try:
        host.serve(link)
    except ProtocolError:
        leave(int(ExitStatus.USAGE))
    leave(0)


def _serve_socket(host: Host, doorway: Doorway) -> None:
    def serve(link: Link, left: Callable[[], None]) -> None:
        try:
            host.serve(link)
        except ProtocolError:
            pass  # hung up on: it is no client of ours
        finally:
            left()

    for link, connection in doorway.clients():
        left = (lambda one: lambda: doorway.left(one))(connection)
        threading.Thread(target=serve, args=(link, left), name="edge-client", daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the end of the input."""
    options = read_options(arguments)
    settle(options.parent)
    host = Host(options)
    signal.signal(signal.SIGUSR1, host.interrupted)
    if options.socket is None:
        threading.Thread(target=_serve_pipe, args=(host, take_stdio()), name="edge-requests", daemon=True).start()
    else:
        doorway = Doorway(options.socket)
        silence(0, 1, 2)
        threading.Thread(target=_serve_socket, args=(host, doorway), name="edge-door", daemon=True).start()
    from edge.app.engine.host_device import DeviceWatch

    watch = DeviceWatch(options.root, lambda: host.desk.busy)
    ended = threading.Event()
    threading.Thread(target=watch.watch, args=(host.tell, ended), name="edge-device", daemon=True).start()
    host.prepare()
    host.work()


if __name__ == "__main__":
    main()
