"""The benchmark, in a process of its own: python -m edge.fleet.agent.measure FOLDER

Opens the bundle with this device's trust, measures and judges it with `edge verify`'s own code, signs the attestation
with the device's key, and leaves a FieldReport for the agent. It ends at once when a visit is opened, when its time is
over, and when the agent is gone; nothing is signed or reported then. The agent that waits for it holds no model.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError, SpecError, UntrustedError
from edge.fleet.agent.job_files import Answer, BenchJob, Done, end_with_agent, quiet, read_bench_job
from edge.fleet.wire.messages import CommandReason

POLL_S = 0.2
RESULT_NAME = "result.json"


def in_a_word(error: BaseException) -> CommandReason:
    """An error as the fleet hears of it; its text stays here."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, UntrustedError):
        return "refused"
    if isinstance(error, BundleError):
        return "no_bundle"
    if isinstance(error, ResourceError):
        words = error.what
        if "took more than" in words:
            return "timed_out"
        return "disk" if "space" in words else "memory" if "memory" in words else "other"
    return "bad_arguments" if isinstance(error, SpecError | MissingToolError) else "other"


def watch(
    visit_open: Callable[[], bool], time_limit_s: float, stop: Callable[[CommandReason], None], poll_s: float = POLL_S
) -> None:
    """In a thread: `stop` when a visit is opened, an install by hand tests a build, or the time is over."""

    def look() -> None:
        until_s = time.monotonic() + time_limit_s
        while True:
            try:
                if visit_open():
                    stop("encounter_open")
                    return
            except OSError:
                stop("encounter_open")  # a lock that cannot be asked may be held
                return
            if time.monotonic() > until_s:
                stop("timed_out")
                return
            time.sleep(poll_s)

    threading.Thread(target=look, name="edge-visit", daemon=True).start()


def measure(job: BenchJob, options: Mapping[str, Any] | None = None) -> tuple[Done, bytes]:
    """Run the job; (how it ended, the report). options: of `verify`, in place of its own (tests script an engine).

    Errors: EdgeError, MemoryError.
    """
    from edge.bench.verify import utc_now, verify
    from edge.bundle.in_use import hold_open
    from edge.bundle.keys import KeyStore
    from edge.bundle.open import open_bundle
    from edge.device.facts import local_facts
    from edge.files import write_atomic
    from edge.fleet.agent.clock import believable
    from edge.fleet.agent.device_class import public_class
    from edge.fleet.wire.report import FieldReport, field_report

    store = KeyStore(Path(job.keys))
    folder = Path(job.bundle)
    held = hold_open(folder)
    try:
        opened = open_bundle(folder, store.trust_store(), device=local_facts())
        if str(opened.manifest.profile.get("name", opened.manifest.name)) != job.profile:
            raise BundleError("is of another profile than this device's", mend="set the profile in agent.yaml")
        key = store.load_signing_key(role="device")
        found = verify(opened, key=key, **({"workload": job.workload} | dict(options or {})))
    finally:
        held.close()
    report = field_report(
        found.result,
        found.checks,
        device_class=public_class(found.attestation.device_class),
        release=job.release,
        attestation_sequence=found.attestation.sequence,
        clock_trusted=found.attestation.clock_trusted and believable(utc_now()),
    ).to_bytes()
    FieldReport.from_bytes(report, "report")
    kept = Path(job.results)
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(kept / RESULT_NAME, found.result.to_bytes())
    return Done(measured=True, passed=found.passed, digest=opened.bundle_digest), report


def main(arguments: list[str], options: Mapping[str, Any] | None = None) -> int:
    """FOLDER: one job; exit code 0 when there is an answer."""
    quiet()
    folder = Path(arguments[0])
    answer = Answer(folder)
    end_with_agent(lambda: os._exit(1))
    try:
        job = read_bench_job(folder)
        from edge.bundle.update_lock import self_test_runs, swap_allowed

        lock_folder = Path(job.lock_folder)
        watch(
            lambda: not swap_allowed(lock_folder) or self_test_runs(lock_folder),
            job.time_limit_s,
            lambda reason: answer.give(Done(reason=reason)),
        )
        done, report = measure(job, options)
        answer.give(done, report)
    except (EdgeError, MemoryError) as error:
        answer.give(Done(reason=in_a_word(error)))
    except Exception:  # noqa: BLE001  whatever it says may be a patient's word: it ends here
        answer.give(Done(reason="other"))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
