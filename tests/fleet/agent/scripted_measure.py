"""edge.fleet.agent.measure with the scripted engine: `scripted_measure.py FAULT FOLDER`.

fault: of tests/bench/scripted_worker.py, or "words": an exception that holds a patient's words; "root=PATH": facts of
another device.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from edge.fleet.agent import measure  # noqa: E402

WORDS = "Jane Quimby, MRN 4711080542, keratoconus OD"


def main(fault: str, folder: str) -> int:
    from bench_dummies import SMALL, command
    from scripted_device import small_root

    options: dict[str, Any] = {"workload": SMALL, "engine_command": command(fault)}
    options["root"] = small_root(Path(folder).parent / "root")
    if fault.startswith("root="):
        options |= {"engine_command": command(), "root": Path(fault.removeprefix("root="))}
    if fault == "words":
        options["progress"] = _raise
    return measure.main([folder], options)


def _raise(_label: str, _share: float) -> None:
    print(WORDS, file=sys.stderr, flush=True)
    raise RuntimeError(WORDS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
