"""The service that proves a bundle on the phone, as docs/devices.md says: a job in a folder, its outcome beside it.

There is no second Python to start on Android, so this service's own process is the measuring one: the worker runs in a
thread of it and its events go through a queue in place of a pipe. Memory is that of this process, which holds nothing
else.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.app.android.jobs import held, job_folder, refuse
from edge.app.android.places import Places
from edge.bench import on_device, runner
from edge.bench.on_device import DeviceJob
from edge.bench.runner import Progress, error_of
from edge.bench.verify import Verification
from edge.bench.worker import EngineFactory, Job, versions, work
from edge.bundle.manifest import ATTESTATIONS_FOLDER, MANIFEST_NAME
from edge.bundle.open import OpenBundle
from edge.bundle.signing import SigningKey
from edge.errors import EdgeError, ExitStatus, ResourceError
from edge.files import write_atomic
from edge.runtime.android_engine import java_engine
from edge.runtime.engine import Engine

ARGUMENT = "PYTHON_SERVICE_ARGUMENT"  # set by python-for-android in a service


def java_factory(model_folder: Path, *, threads: int, context_tokens: int) -> Engine:
    """An EngineFactory of edge.bench.worker."""
    return java_engine()(model_folder, threads=threads, context_tokens=context_tokens)


class WorkerHere:
    """As runner.WorkerProcess, in this process. factory: of the engine."""

    def __init__(self, _command: Sequence[str], job: Job, factory: EngineFactory = java_factory) -> None:
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._job, self._factory = job, factory
        self._thread = threading.Thread(target=self._run, name="edge-worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def _put(self, event: dict[str, Any]) -> None:
        self._events.put(json.loads(json.dumps(event)))  # as it would come out of a pipe

    def _run(self) -> None:
        error: EdgeError
        try:
            self._put({"event": "started", "t": time.monotonic(), "import_ms": 0.0, "versions": versions()})
            work(self._job, self._factory, self._put)
            return
        except EdgeError as caught:
            error = caught
        except MemoryError:
            error = ResourceError("not enough memory", mend="close other apps or use a smaller model or context")
        except Exception as caught:  # noqa: BLE001  its words may hold anything: the type alone is told
            error = EdgeError(f"the measuring failed ({type(caught).__name__})", mend="report this as a bug")
        status = int(error.status)
        self._put({"event": "error", "status": status, "what": error.what, "where": error.where, "mend": error.mend})

    def events(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        """See WorkerProcess.events."""
        ends_s = time.monotonic() + timeout_s
        while True:
            try:
                event = self._events.get(timeout=max(0.0, ends_s - time.monotonic()))
            except queue.Empty:
                raise ResourceError(
                    f"measuring took more than {timeout_s:.0f} s", mend="use a shorter workload or a larger timeout_s"
                ) from None
            if event.get("event") == "error":
                raise error_of(event)
            yield event
            if event.get("event") == "done":
                return

    def __enter__(self) -> WorkerHere:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to stop: the thread goes with the process, which ends after its one job."""


@contextlib.contextmanager
def in_this_process(factory: EngineFactory = java_factory) -> Iterator[None]:
    """While it lasts, run_bench measures here and starts no process."""
    kept = runner.WorkerProcess
    vars(runner)["WorkerProcess"] = lambda command, job: WorkerHere(command, job, factory)
    try:
        yield
    finally:
        vars(runner)["WorkerProcess"] = kept


def measure(factory: EngineFactory = java_factory) -> on_device.Measure:
    """How run_job measures on Android."""

    def measured(bundle: OpenBundle, key: SigningKey, job: DeviceJob, progress: Progress) -> Verification:
        with in_this_process(factory):
            return on_device.measure_here(bundle, key, job, progress)

    return measured


def run(places: Places, external: Path, name: str, *, factory: EngineFactory = java_factory) -> int:
    """Do one job; the exit code of its done.json. A name that is none is refused without a word: nobody asked."""
    folder = job_folder(external, name)
    if folder is None or not folder.is_dir():
        return int(ExitStatus.USAGE)
    try:
        with held(places):
            done = on_device.run_job(folder, measure=measure(factory))
            if done.attestation:
                keep(places, folder, done.attestation)
            return done.status
    except ResourceError:
        refuse(folder)
        return int(ExitStatus.RESOURCE)


def keep(places: Places, folder: Path, name: str) -> None:
    """Put the signed word into the app's own copy of the bundle too, if it is the same bundle."""
    with contextlib.suppress(OSError, EdgeError):  # the app has none yet: the job is done all the same
        job = on_device.read_job(folder)
        own, measured = places.bundle / MANIFEST_NAME, folder.parent.parent / job.bundle / MANIFEST_NAME
        if own.read_bytes() == measured.read_bytes():
            place = places.bundle / ATTESTATIONS_FOLDER
            place.mkdir(mode=0o700, exist_ok=True)
            write_atomic(place / name, (folder / on_device.ATTESTATION).read_bytes())


def asked(argument: str) -> tuple[Path, str]:
    """(the folder of the app that a cable can write to, the run) from the service's argument."""
    external, _, name = argument.rpartition("\n")
    return Path(external), name


def main(leave: Callable[[int], None] = os._exit) -> None:
    """Do the job that the app names, then end the process: memory and threads go with it."""
    places = Places.from_environment()
    places.settle()
    external, name = asked(os.environ.get(ARGUMENT, ""))
    leave(run(places, external, name))
