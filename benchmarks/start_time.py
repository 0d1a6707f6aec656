"""How long `edge run` takes from its start until it reads the prompt."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.results import StartTime
from edge.privacy import TELEMETRY_OFF

TRACE = "EDGE_TRACE_START"
READING = "reading"
LONGEST_S = 60.0


def edge_command(root: Path) -> Path | None:
    """The installed `edge`: of this environment, of the product's, or of the path."""
    for place in (Path(sys.executable).with_name("edge"), root / ".venv" / "bin" / "edge"):
        if place.is_file():
            return place
    found = shutil.which("edge")
    return Path(found) if found else None


def measure_start(command: list[str], repetitions: int) -> StartTime:
    """Start `command` again and again; each run ends as soon as the line came.

    One start before them is not counted: it fills the page cache, as on an installed device.
    """
    seconds: list[float] = []
    for repetition in range(repetitions + 1):
        taken, said = _one_start(command)
        if taken is None:
            return StartTime(reason=said)
        if repetition:
            seconds.append(taken)
    return StartTime(tuple(seconds))


def _one_start(command: list[str]) -> tuple[float | None, str]:
    """(seconds, "") or (None, what it said instead)."""
    start_s = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | TELEMETRY_OFF | {TRACE: "1"},
    )
    said = b""
    try:
        if process.stderr is None:
            raise ValueError("no standard error")
        descriptor = process.stderr.fileno()
        while True:
            left_s = start_s + LONGEST_S - time.perf_counter()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                return None, f"no line '{READING}' within {LONGEST_S:.0f} s"
            piece = os.read(descriptor, 4096)
            taken_s = time.perf_counter() - start_s
            if not piece:
                last = said.decode("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
                return None, f"edge run ended before it read the prompt: {last[-1][:160]}"
            said += piece
            if any(line.strip() == READING.encode() for line in said.splitlines()):
                return taken_s, ""
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
