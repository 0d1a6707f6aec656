"""Starts the measuring process, watches its memory and the device's sensors, and makes a BenchResult.

The process ends with this call whatever happens: it is stopped on Ctrl-C, on a time-out and on an error here,
and it ends by itself when this process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.bench import collect
from edge.bench.bandwidth import BandwidthReading, best_of, measure_bandwidth
from edge.bench.collect import Events
from edge.bench.memory import MemorySampler
from edge.bench.result import SCHEMA_VERSION, BenchResult, BundleFacts, Energy, Environment, Temperature
from edge.bench.worker import JOB_VERSION, Job
from edge.bench.workload import Workload
from edge.bundle.manifest import Manifest, behaviour_digest
from edge.device.facts import cpu_governor, load_average, local_facts
from edge.device.sensors import SensorSampler, open_sensors
from edge.errors import BundleError, EdgeError, ResourceError

Progress = Callable[[str, float], None]

# -P: a file in the current folder must not stand in for a module of ours.
WORKER = (sys.executable, "-P", "-m", "edge.bench.worker")
STOP_S = 2.0
EMULATED = "not measured (emulated)"
ERROR_LINES = 20


def silent(_label: str, _fraction: float) -> None:
    """Progress for nobody."""


def error_of(event: Mapping[str, Any]) -> EdgeError:
    """The error that the measuring process reported, as the class that it was there."""
    kinds = {int(kind.status): kind for kind in EdgeError.__subclasses__()}
    kind = kinds.get(int(event["status"]), EdgeError)
    return kind(str(event["what"]), where=str(event["where"]), mend=str(event["mend"]))


def death(return_code: int, last_step: str, last_line: str) -> EdgeError:
    """A measuring process that ended without its last event, in one line.

    return_code: as subprocess gives it, negative for a signal; last_line: of its standard error.
    """
    during = f" during '{last_step}'" if last_step else " before it began"
    if return_code == -signal.SIGKILL:
        return ResourceError(
            f"The measuring process died (signal 9){during}, most likely for lack of memory",
            mend="close other programs, or build with a smaller model or context",
        )
    if return_code == -signal.SIGILL:
        return BundleError(
            f"The measuring process died (signal 4){during}: this CPU lacks an instruction of the runtime",
            mend="build for this device's target",
        )
    if return_code < 0:
        return EdgeError(f"The measuring process died (signal {-return_code}){during}", mend="run it again")
    said = f" ({last_line[:200]})" if last_line else ""
    return EdgeError(f"The measuring process stopped with code {return_code}{during}{said}", mend="run it again")


class WorkerProcess:
    """One measuring process; a context manager that never leaves it running.

    Parameters
    ----------
    command: of the process; it reads a job and writes events (edge.bench.worker).
    job: what it shall measure.
    """

    def __init__(self, command: Sequence[str], job: Job) -> None:
        try:
            # Its own session: Ctrl-C in the terminal reaches this process only, which then stops the other.
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ResourceError(
                f"the measuring process cannot be started ({error.strerror})",
                mend="free memory and try again",
            ) from error
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._errors: deque[bytes] = deque(maxlen=ERROR_LINES)
        self._readers = [
            threading.Thread(target=self._read_events, name="edge-events", daemon=True),
            threading.Thread(target=self._read_errors, name="edge-errors", daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        with contextlib.suppress(BrokenPipeError):  # it died at once: `events` says how
            self._stdin().write(job.to_line().encode())
            self._stdin().flush()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def _stdin(self) -> Any:
        return self._process.stdin

    def _read_events(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        for line in self._process.stderr or ():
            self._errors.append(line)

    def events(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Events as they come, up to and with "done".

        Errors: that of an "error" event; EdgeError when the process dies; ResourceError after timeout_s.
        """
        deadline_s = time.monotonic() + timeout_s
        last_step = ""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                raise ResourceError(
                    f"measuring took more than {timeout_s:.0f} s and was stopped during '{last_step}'",
                    mend="use a shorter workload or a larger timeout_s",
                ) from None
            if line is None:
                raise self._death(last_step)
            try:
                event = dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise EdgeError("the measuring process wrote something else than an event") from error
            if event.get("event") == "error":
                raise error_of(event)
            if event.get("event") == "step":
                last_step = str(event["label"])
            yield event
            if event.get("event") == "done":
                return

    def _death(self, last_step: str) -> EdgeError:
        try:
            return_code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.stop()
            return EdgeError("the measuring process closed its output and went on", mend="run it again")
        self._readers[1].join(STOP_S)
        last_line = self._errors[-1].decode("utf-8", errors="replace").strip() if self._errors else ""
        return death(return_code, last_step, last_line)

    def stop(self) -> None:
        """End the process now, if it has not ended, and free its pipes."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with contextlib.suppress(OSError):
            self._stdin().close()
        for reader in self._readers:
            reader.join(STOP_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def folder_bytes(folder: Path) -> int:
    """Bytes of all regular files below a folder, links not followed."""
    return sum((Path(base) / name).lstat().st_size for base, _, names in os.walk(folder) for name in names)


def bundle_facts(folder: Path, manifest: Manifest) -> BundleFacts:
    """Identity and size of a bundle."""
    return BundleFacts(
        name=manifest.name,
        profile=str(manifest.profile.get("name", manifest.name)),
        target=str(manifest.target["name"]),
        bundle_digest=manifest.bundle_digest,
        behaviour_digest=behaviour_digest(manifest),
        disk_bytes=folder_bytes(folder),
        # Weights alone: what is read for each token. Compiled code and licences lie beside them.
        model_bytes=sum(
            entry.size_bytes
            for entry in manifest.files
            if entry.path.startswith("model/") and not entry.path.endswith((".so", ".LICENSE"))
        ),
    )


def job_for(folder: Path, manifest: Manifest, workload: Workload, threads: int | None) -> Job:
    """The job of a bundle: its profile's context, chunk and threads; the prompt of its TTFT budget is
    added.
    """
    profile = manifest.profile
    ttft = (profile.get("budgets") or {}).get("ttft_ms_max")
    if ttft:
        workload = workload.with_prompt(int(ttft["prompt_tokens"]))
    chosen = threads or profile.get("threads")
    if not chosen:
        from edge.runtime.engine import default_threads

        chosen = default_threads()
    return Job(
        version=JOB_VERSION,
        bundle_folder=str(folder),
        threads=int(chosen),
        context_tokens=int(profile.get("context_tokens", 2048)),
        prefill_chunk_tokens=int(profile.get("prefill_chunk_tokens", 256)),
        golden=any(entry.path == "golden/cases.json" for entry in manifest.files),
        workload=workload,
        engine=str(manifest.runtime.get("engine", "onnxruntime")),
    )


def run_bench(
    bundle_folder: Path,
    manifest: Manifest,
    workload: Workload,
    *,
    progress: Progress = silent,
    engine_command: Sequence[str] | None = None,
    threads: int | None = None,
    root: Path = Path("/"),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    emulated: str = "",
    arch: str | None = None,
) -> BenchResult:
    """Measure one bundle on this device.

    Parameters
    ----------
    bundle_folder, manifest: of an opened bundle; its files are trusted to be what the manifest says.
    progress: called with what is being measured and the fraction done, 0 to 1.
    engine_command: replaces the measuring process (tests script an engine).
    threads: overrides the profile's.
    root: where /sys and /proc of the device are read for facts and sensors.
    emulated: the emulator in words where `engine_command` runs under one; then no time, bandwidth or energy is kept,
    because none of them is the device's. arch: of the emulated device, whose facts lie below `root`.

    Errors: ResourceError (no memory, time-out), EdgeError when the process dies, and the engine's own.
    KeyboardInterrupt stops the measuring process and goes on up.
    """
    began_s = time.monotonic()
    job = job_for(bundle_folder, manifest, workload, threads)
    facts = bundle_facts(bundle_folder, manifest)
    device = local_facts(root, arch=arch)
    load_before = load_average(root)
    sensors, absent = ({}, {}) if emulated else open_sensors(root)

    def read_speed() -> tuple[BandwidthReading, ...]:
        if emulated:
            return ()
        return measure_bandwidth(facts.model_bytes, job.threads, device.memory_available_bytes, root=root)

    progress("read bandwidth", 0.0)
    before = read_speed()
    events = Events()
    with (
        SensorSampler(sensors) as sampler,
        WorkerProcess(engine_command or WORKER, job) as worker,
        MemorySampler(worker.pid) as watched,
    ):
        for event in worker.events(job.workload.timeout_s):
            if event["event"] == "step":
                progress(event["label"], event["done"] / max(1, event["total"]))
            else:
                events.add(event)
    progress("read bandwidth", 1.0)
    readings = best_of(before, read_speed())

    told = dict.fromkeys(sensors, "present")
    told |= {name: f"no sensor: {missing.reason}" for name, missing in absent.items()}
    series = sampler.series()
    use = collect.memory(events, watched.samples, watched.rollups)
    decode = () if emulated else collect.decode_speeds(events)
    context = int(events.one("loaded")["context_tokens"])
    versions = {"python": platform.python_version()} | dict(events.one("started")["versions"])
    return BenchResult(
        schema_version=SCHEMA_VERSION,
        measured_at=now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration_s=time.monotonic() - began_s,
        bundle=facts,
        environment=Environment(
            device=device.to_json(),
            versions=versions,
            threads=job.threads,
            context_tokens=context,
            prefill_chunk_tokens=job.prefill_chunk_tokens,
            load_average_before=load_before,
            governor=cpu_governor(root),
            sensors=dict(sorted(told.items())),
            workload=job.workload.to_json(),
            emulated=emulated,
        ),
        load=collect.load_time(events),
        prefill=() if emulated else collect.prefill_speeds(events),
        decode=decode,
        memory=use,
        sustained=None if emulated else collect.sustained_run(events, job.workload.window_s),
        energy=Energy(None, None, 0, "", EMULATED) if emulated else collect.energy(events, series, told),
        temperature=Temperature(None, None, "", EMULATED) if emulated else collect.temperature(series, told),
        sensor_series=collect.sensor_series(series, began_s),
        prediction=collect.prediction(
            manifest.predicted_memory, use, collect.touched_tokens(job.workload, context), context
        ),
        bandwidth=collect.bandwidth(decode, readings, facts.model_bytes, manifest.decoder, job.workload.decode_tokens),
        golden=collect.golden(events),
        fidelity=collect.fidelity(events),
        self_test=collect.self_test(events),
        suite=collect.suite(events),
        skipped=tuple(str(event["reason"]) for event in events.all("skipped")),
    )
