"""The child of the power-on self-test: `python -m edge.fleet.install.self_test_child [--workload W] SLOT`.

Verifies and signs, and says one line of JSON: {"passed": ..., "detail": ...}. It ends when its standard input closes,
so a device is not kept busy by the test of an installer that was killed.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from edge.bench.verify import verify
from edge.bench.workload import Workload, load_workload
from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.device.facts import local_facts
from edge.errors import EdgeError

# As little as gives every budget a number; three repetitions, so that one disturbance does not decide.
PROBE = Workload(
    version=1,
    name="probe",
    warmups=1,
    repetitions=3,
    load_repetitions=1,
    prompt_tokens=(64,),
    decode_contexts=(0,),
    decode_tokens=32,
    sustained_s=0.0,
    window_s=1.0,
    seed=20240,
    timeout_s=1500.0,
)


def end_with_parent() -> None:
    """From here on the process ends when its standard input does."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="edge-parent", daemon=True).start()


def run(slot: Path, workload: Workload) -> tuple[bool, str]:
    """(passed, one line that says why not). Errors: EdgeError."""
    store = KeyStore()
    key = own_key(store, None, "device", lambda _: None)
    opened = open_bundle(slot, store.trust_store(), device=local_facts())
    verified = verify(opened, key=key, workload=workload)
    failed = [check.line for check in verified.checks if check.outcome == "failed"]
    return verified.passed, "; ".join(failed) if failed else "" if verified.passed else "no check could be made"


def main(arguments: Sequence[str] | None = None) -> int:
    """Always says its line; exit code 0 when the line is the verdict."""
    parser = argparse.ArgumentParser(prog="edge.fleet.install.self_test_child")
    parser.add_argument("slot", type=Path)
    parser.add_argument("--workload", default="")
    given = parser.parse_args(arguments)
    # What libraries print must not stand where the verdict is read.
    answer = os.dup(1)
    os.dup2(2, 1)
    end_with_parent()
    try:
        passed, detail = run(given.slot, load_workload(given.workload) if given.workload else PROBE)
        status = 0
    except EdgeError as error:
        passed, detail, status = False, str(error), int(error.status)
    os.write(answer, json.dumps({"passed": passed, "detail": detail}).encode() + b"\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
