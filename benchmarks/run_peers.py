"""edge against llama.cpp, onnxruntime-genai and transformers: interleaved in one run, medians, ratios.

    python benchmarks/run_peers.py [--quick] [--shape smollm2|1b|all] [--json FILE] [--strict]

An engine that is not installed is a row that says so; the rest runs. Models are made once and kept in edge's cache
(EDGE_CACHE); nothing is written into the repository. With --strict a number that was missed ends with status 8.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, the folder of this file is there instead

import edge.privacy  # noqa: F401, E402  # isort: skip  # telemetry off before anything else is imported

import argparse  # noqa: E402
import contextlib  # noqa: E402
import datetime  # noqa: E402
import fcntl  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import asdict  # noqa: E402
from typing import Any  # noqa: E402

import psutil  # noqa: E402

from benchmarks.interleave import Settings, measure  # noqa: E402
from benchmarks.models import SHAPES, Models, Say, Shape  # noqa: E402
from benchmarks.results import Comparison, ExportCost, ShapeRun, StartTime  # noqa: E402
from benchmarks.start_time import edge_command, measure_start  # noqa: E402
from benchmarks.tables import checks, render  # noqa: E402
from edge.bench.bandwidth import best_of, measure_bandwidth  # noqa: E402
from edge.build.cache import cache_root  # noqa: E402
from edge.errors import EdgeError, ExitStatus  # noqa: E402
from edge.files import write_atomic  # noqa: E402

BUNDLE = ROOT / "build" / "reference-notes"
VISIT = ROOT / "profiles" / "data" / "clinical-sample" / "demo" / "visit.txt"
GENAI_PYTHON = ROOT / ".venv-genai" / "bin" / "python"
PACKAGES = ("edge-kit", "llama-cpp-python", "numpy", "onnxruntime", "onnxruntime-genai", "torch", "transformers")


def machine() -> dict[str, Any]:
    """CPU, cores, memory and the versions that a speed depends on."""
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": os.getloadavg(),
        "versions": versions,
    }


def compare(
    shape: Shape, settings: Settings, work: Path, genai_python: Path, say: Say
) -> tuple[list[ExportCost], ShapeRun]:
    """Make the models of one shape and measure every engine."""
    models = Models(shape, work, threads=settings.threads, genai_python=genai_python, say=say)
    variants = models.variants()
    if variants[0].reason:
        return models.exports, ShapeRun(shape.name, shape.title, measure(variants[:1], 0, settings, say))
    size = variants[0].file_bytes
    before = measure_bandwidth(size, settings.threads, psutil.virtual_memory().available)
    engines = measure(variants, int(models.decoder["vocab_size"]), settings, say)
    after = measure_bandwidth(size, settings.threads, psutil.virtual_memory().available)
    readings = tuple(asdict(reading) for reading in best_of(before, after))
    return models.exports, ShapeRun(shape.name, shape.title, engines, readings)


def start(bundle: Path, text: Path, repetitions: int) -> StartTime:
    """Time `edge run` on an installed bundle."""
    command = edge_command(ROOT)
    if command is None:
        return StartTime(reason="the command edge is not installed; make .venv/.ready")
    if not (bundle / "manifest.json").is_file() or not text.is_file():
        return StartTime(reason=f"there is no bundle {bundle.name} or no text {text.name}; make demo builds it")
    return measure_start([str(command), "run", str(bundle), "--task", "note", str(text)], repetitions)


@contextlib.contextmanager
def work_folder(root: Path) -> Iterator[Path]:
    """A folder for one run below `root`; those of killed runs, whose lock is free, are removed first."""
    root.mkdir(parents=True, exist_ok=True)
    for stale in root.glob("work-*"):
        descriptor = os.open(stale, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale, ignore_errors=True)
        os.close(descriptor)
    with tempfile.TemporaryDirectory(prefix="work-", dir=root) as place:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield Path(place)
        finally:
            os.close(descriptor)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repetitions, few steps")
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, help="default 5, or 2 with --quick")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="for the start of edge run")
    parser.add_argument("--text", type=Path, default=VISIT, help="what edge run reads")
    parser.add_argument("--genai-python", type=Path, default=GENAI_PYTHON, help="environment of the genai builder")
    parser.add_argument("--strict", action="store_true", help="status 8 when a number is missed")
    return parser.parse_args()


def main() -> int:
    """Measure, print the tables, write the JSON."""
    chosen = arguments()
    repetitions = chosen.repetitions or (2 if chosen.quick else 5)
    settings = Settings(
        threads=chosen.threads,
        repetitions=repetitions,
        load_repetitions=1 if chosen.quick else 3,
        decode_steps=16 if chosen.quick else 48,
        context_tokens=2048,
    )
    measured_at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = machine()
    exports: list[ExportCost] = []
    shapes: list[ShapeRun] = []

    def say(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    # A termination ends the workers and removes the files, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(ExitStatus.INTERRUPTED)))
    try:
        with work_folder(cache_root() / "bench") as work:
            for name in SHAPES if chosen.shape == "all" else [chosen.shape]:
                costs, run = compare(SHAPES[name], settings, work, chosen.genai_python, say)
                exports += costs
                shapes.append(run)
        say("start of edge run")
        started = start(chosen.bundle, chosen.text, 3 if chosen.quick else 7)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return int(error.status)
    comparison = Comparison(measured_at, facts, asdict(settings), tuple(exports), tuple(shapes), started)
    print(render(comparison))
    if chosen.json:
        write_atomic(chosen.json, (json.dumps(comparison.to_json(), indent=1) + "\n").encode())
    missed = any(check.passed is False for check in checks(comparison))
    return int(ExitStatus.GATE) if chosen.strict and missed else int(ExitStatus.OK)


if __name__ == "__main__":
    sys.exit(main())
