"""The measuring process: one JSON job on standard input, events (one JSON object a line) on standard output.

It is a process of its own so that its memory is the runtime's alone and its death is a result. It ends when
its standard input closes, so it never outlives the process that started it. Times named `t`, `start` and
`end` are of the monotonic clock, which all processes of a machine share.

Events, in order: started, step..., loaded, skipped..., prefill/decode/work..., window..., sustained, measured,
golden, fidelity, self_test, suite, load..., done; or error, after which nothing comes.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from edge.bench.clinical_gate import ClinicalFiles, load_clinical, run_self_test, run_suite
from edge.bench.golden import load_golden, run_golden
from edge.bench.measure import Emit, Speeds, Steps, count_steps, fitting
from edge.bench.memory import high_water_bytes
from edge.bench.source_fidelity import measure_source_fidelity
from edge.bench.workload import Workload, parse_workload
from edge.errors import BundleError, EdgeError, ExitStatus, ResourceError
from edge.runtime.engine import Engine

if TYPE_CHECKING:
    from edge.runtime.text import ChatTokenizer

JOB_VERSION = 1
VERSIONED = ("edge-kit", "numpy", "onnxruntime", "apache-tvm-ffi")


class EngineFactory(Protocol):
    """Loads a model; `OnnxEngine` itself is one."""

    def __call__(self, model_folder: Path, *, threads: int, context_tokens: int) -> Engine: ...


@dataclass(frozen=True)
class Job:
    """What to measure. bundle_folder: an opened (verified) bundle; golden: whether to run its golden
    cases; engine: as its manifest names it."""

    version: int
    bundle_folder: str
    threads: int
    context_tokens: int
    prefill_chunk_tokens: int
    golden: bool
    workload: Workload
    engine: str = "onnxruntime"

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def from_line(line: str) -> Job:
        """Inverse of to_line. Errors: BundleError when it is not a job of this version."""
        try:
            value = json.loads(line)
            if value["version"] != JOB_VERSION:
                raise BundleError("the measuring process is of another version", mend="install one edge only")
            return Job(**(value | {"workload": parse_workload(value["workload"], "job")}))
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError("the measuring process was given no valid job", mend="use `edge bench`") from error


def bundle_engine(name: str) -> EngineFactory:
    """Import the runtime; separate from loading a model, because each is timed by itself."""
    import edge.runtime.text  # noqa: F401  # timed here, used when loading
    from edge.runtime.engines import engine_factory, import_library

    import_library(name)

    make = engine_factory(name, "manifest.json")

    def load(model_folder: Path, *, threads: int, context_tokens: int) -> Engine:
        return make(model_folder, threads, context_tokens)

    return load


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that a speed depends on."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


class Loader:
    """Loads what a task needs, tokenizer and model, as often as asked, and times it."""

    def __init__(self, job: Job, factory: EngineFactory) -> None:
        self._job, self._factory = job, factory
        self._folder = Path(job.bundle_folder)
        self.tokenizer: ChatTokenizer | None = None

    def load(self) -> tuple[Engine, float]:
        """An engine, and the milliseconds that it and the tokenizer took to load.

        The tokenizer is kept although no speed needs it: its memory is part of what a task takes.
        """
        start_s = time.perf_counter()
        if (self._folder / "tokenizer").is_dir():
            from edge.runtime.text import ChatTokenizer

            self.tokenizer = ChatTokenizer(self._folder / "tokenizer")
        engine = self._factory(
            self._folder / "model", threads=self._job.threads, context_tokens=self._job.context_tokens
        )
        return engine, (time.perf_counter() - start_s) * 1e3


def work(job: Job, factory: EngineFactory, emit: Emit) -> None:
    """Run a whole job. Errors: those of the engine and of the golden cases."""
    golden_path = Path(job.bundle_folder) / "golden" / "cases.json"
    golden = load_golden(golden_path) if job.golden else None
    cases = len(golden.cases) if golden else 0
    asked = load_clinical(golden_path.parent) if job.golden else ClinicalFiles((), None)
    steps = Steps(emit, 1 + asked.steps + count_steps(job.workload, job.context_tokens, cases))
    loader = Loader(job, factory)

    steps.begin("load")
    engine, load_ms = loader.load()
    emit({"event": "loaded", "t": time.monotonic(), "ms": load_ms, "context_tokens": engine.context_tokens})
    try:
        # The engine may hold less than was asked for: a model is built for one context.
        prompts, contexts, skipped = fitting(job.workload, engine.context_tokens)
        steps.total = 1 + asked.steps + count_steps(job.workload, engine.context_tokens, cases)
        for reason in skipped:
            emit({"event": "skipped", "reason": reason})
        speeds = Speeds(engine, job.workload, chunk_tokens=job.prefill_chunk_tokens, emit=emit, steps=steps)
        speeds.run(prompts, contexts)
        emit({"event": "measured", "t": time.monotonic(), "high_water_bytes": high_water_bytes()})
        if golden is not None:
            outcome = run_golden(engine, golden, each=lambda case: steps.begin(f"golden case {case}"))
            emit({"event": "golden", "outcome": asdict(outcome)})
            opinions = golden_path.with_name("source.json")
            if opinions.exists():
                emit({"event": "fidelity", "measured": asdict(measure_source_fidelity(engine, golden, opinions))})
            clinical(asked, job, engine, loader.tokenizer, steps)
    finally:
        engine.close()
    del engine, speeds
    for repetition in range(1, job.workload.load_repetitions):
        gc.collect()
        steps.begin(f"load {repetition + 1} of {job.workload.load_repetitions}")
        again, load_ms = loader.load()
        again.close()
        del again
        emit({"event": "load", "ms": load_ms})
    emit({"event": "done"})


def clinical(asked: ClinicalFiles, job: Job, engine: Engine, tokenizer: ChatTokenizer | None, steps: Steps) -> None:
    """The self-test and the suite of a bundle that has them; after all that is measured, for they load the tasks."""
    if asked.cases:
        if tokenizer is None:
            raise BundleError("has clinical cases and no tokenizer", where=job.bundle_folder, mend="build it again")
        folder, chunk = Path(job.bundle_folder), job.prefill_chunk_tokens
        tested = run_self_test(asked, folder, engine, tokenizer, chunk, steps.begin)
        steps.emit({"event": "self_test", "outcome": asdict(tested)})
    if asked.suite is not None:
        steps.begin("clinical suite")
        steps.emit({"event": "suite", "scores": asdict(run_suite(asked.suite, engine))})


@contextlib.contextmanager
def event_stream() -> Iterator[IO[str]]:
    """Standard output for events only: whatever a library prints goes to standard error instead."""
    sys.stdout.flush()
    private = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(private, "w", encoding="utf-8", buffering=1) as stream:
        yield stream


def end_with_parent() -> None:
    """End this process, in the middle of a pass if need be, when standard input closes."""

    def watch() -> None:
        # By the descriptor: a blocked sys.stdin would be locked when the interpreter shuts down.
        while os.read(0, 4096):
            pass
        os._exit(ExitStatus.INTERRUPTED)

    threading.Thread(target=watch, name="edge-parent", daemon=True).start()


def read_line(descriptor: int = 0) -> str:
    """One line, unbuffered, so that the rest of the stream stays for `end_with_parent`."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1)
        if not piece:
            break
        line += piece
    return line.decode("utf-8", errors="replace")


def main(factory: EngineFactory | None = None) -> int:
    """Entry point; `factory` replaces the bundle's engine (tests script one)."""
    with event_stream() as stream:

        def emit(event: dict[str, Any]) -> None:
            stream.write(json.dumps(event) + "\n")

        try:
            job = Job.from_line(read_line())
            end_with_parent()
            start_s = time.perf_counter()
            chosen = factory or bundle_engine(job.engine)
            import_ms = (time.perf_counter() - start_s) * 1e3
            emit({"event": "started", "t": time.monotonic(), "import_ms": import_ms, "versions": versions()})
            work(job, chosen, emit)
        except MemoryError:
            mend = "close other programs or use a smaller model or context"
            return _failed(emit, ResourceError("not enough memory", mend=mend))
        except EdgeError as error:
            return _failed(emit, error)
    return int(ExitStatus.OK)


def _failed(emit: Emit, error: EdgeError) -> int:
    status = int(error.status)
    emit({"event": "error", "status": status, "what": error.what, "where": error.where, "mend": error.mend})
    return status


if __name__ == "__main__":
    sys.exit(main())
