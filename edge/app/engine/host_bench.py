"""A benchmark asked for at the bedside: what `edge verify` does, its result kept beside the user's data as well.

The engine is freed while the measuring process has its own, so that the device need not hold the model twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.app.engine.messages import BenchmarkDone, Event, Progress, RunBenchmark
from edge.bench.runner import Progress as BenchProgress
from edge.bench.verify import Verification, verify
from edge.bundle.attestation import write_attestation
from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle
from edge.errors import ResourceError
from edge.files import write_atomic

Measure = Callable[[OpenBundle, BenchProgress, Path], Verification]
STEPS = 100


def quick(bundle: OpenBundle, progress: BenchProgress, root: Path) -> Verification:
    """The quick workload, not signed yet."""
    return verify(bundle, key=None, workload="quick", progress=progress, root=root)


def run_benchmark(
    bundle: OpenBundle,
    request: RunBenchmark,
    send: Callable[[Event], None],
    results: Path | None,
    *,
    root: Path = Path("/"),
    store: KeyStore | None = None,
    measure: Measure = quick,
) -> BenchmarkDone:
    """Measure a bundle whose engine is not loaded here, sign the outcome into it, and keep the result.

    results: a folder for the result and a copy of the signed outcome; None: only the bundle is written. A bundle that
    cannot be written (installed read-only) keeps its state, and the words say so.
    Errors: those of edge.bench.verify; ResourceError when neither place can be written.
    """

    def progress(_label: str, fraction: float) -> None:
        send(Progress(request.run_id, round(STEPS * min(1.0, max(0.0, fraction))), STEPS))

    verified = measure(bundle, progress, root)
    key = own_key(store or KeyStore(), None, "device", _nobody)
    signed = verified.attestation
    failed = [check.name for check in verified.checks if check.outcome == "failed"]
    words = "passed" if verified.passed else f"failed: {', '.join(failed)}" if failed else "nothing could be measured"
    path: Path | None = None
    if results is not None:
        results.mkdir(parents=True, exist_ok=True)
        path = write_attestation(results, signed, key)
        result = results / f"{path.stem}.result.json"
        write_atomic(result, verified.result.to_bytes())
        path = result
    try:
        own = write_attestation(bundle.path, signed, key)
    except ResourceError:
        if path is None:
            raise
        words += "; the bundle cannot be written, so its state stays as it was"
    else:
        path = path or own
    return BenchmarkDone(request.run_id, verified.passed, str(path), words)


def _nobody(_line: str) -> None:
    """A new key is said to nobody here; the attestation names it."""
