"""The bedside app's figures, side by side: python -m benchmarks.run_app --bundle build/reference-notes

Frame gap at rest against while the engine drafts a real visit on all cores; the same with the engine at the app's own
priority, which is what its nice value buys; cold start; memory without the engine; memory over many encounters.
A virtual screen (Xvfb) with software drawing stands for a panel: the ratios say something, the absolute times do not.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
RSS_LIMIT_BYTES, START_LIMIT_S, GAP_RATIO_LIMIT, GROWTH_LIMIT = 200e6, 3.0, 2.0, 0.05


@contextmanager
def screen(size: str = "1280x800x24") -> Iterator[str]:
    """A virtual screen; gives its DISPLAY."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp"],
        pass_fds=(write,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        if not select.select([read], [], [], 30)[0]:
            raise SystemExit("Xvfb did not start: apt-get install xvfb")
        with os.fdopen(read, encoding="ascii") as line:  # the whole line: the server dies of a pipe closed early
            display = line.readline().strip()
        yield f":{display}"
    finally:
        server.terminate()
        server.wait()


def child(display: str, mode: str, *options: str) -> dict[str, Any]:
    """Run a mode of app_child in a fresh process and folder."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, "-m", "benchmarks.app_child", mode, "--out", str(out), "--folder", folder, *options]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--started", repr(started)],
            cwd=REPO,
            env={**os.environ, "DISPLAY": display},
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        if done.returncode or not out.is_file():
            raise SystemExit(f"app_child {mode} failed: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def verdict(holds: bool) -> str:
    """A word for a limit."""
    return "holds" if holds else "MISSED"


def speed_and_size(display: str, given: argparse.Namespace, result: dict[str, Any]) -> None:
    """Start, memory without the engine, and the gap between frames."""
    starts = [child(display, "start") for _ in range(given.starts)]
    first_s = statistics.median(one["first_frame_s"] for one in starts)
    holds = verdict(first_s < START_LIMIT_S)
    print(f"cold start to the first frame {first_s:5.2f} s  limit {START_LIMIT_S} s: {holds}")
    own = child(display, "start", "--undrawn")["own_bytes"]
    drawn = max(one["rss_all_screens_bytes"] for one in starts)
    print("memory of the app without its engine, every screen shown once, MB")
    print(f"  its own, nothing drawn           {own / 1e6:4.0f}  limit 200: {verdict(own < RSS_LIMIT_BYTES)}")
    print(f"  with this machine's software drawing (LLVM, textures in RAM) {drawn / 1e6:4.0f}")
    options = ("--bundle", str(given.bundle.resolve()), "--seconds", str(given.seconds))
    print("frame gap, ms                        p50    p95   p95 against rest")
    for words, more in (("engine at nice +15", ()), ("engine at equal priority", ("--equal",))):
        found = child(display, "gap", *options, *more)
        rest, writing = found["rest"], found["writing"]
        ratio = writing["p95_ms"] / rest["p95_ms"]
        print(f"  at rest                         {rest['p50_ms']:6.1f} {rest['p95_ms']:6.1f}")
        print(f"  writing, {words:24} {writing['p50_ms']:5.1f} {writing['p95_ms']:6.1f}  {ratio:5.2f}x", end="")
        print("" if more else f"  limit 2x: {verdict(ratio <= GAP_RATIO_LIMIT)}")
        result[words] = found
    result |= {"starts": starts, "own_bytes": own}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--encounters", type=int, default=200)
    parser.add_argument("--only-memory", action="store_true", help="only the encounters, without the rest")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load before {load:.1f}{' (not quiet)' if load > 0.5 else ''}")
    result: dict[str, Any] = {"load_before": load}
    with screen() as display:
        if not given.only_memory:
            speed_and_size(display, given, result)
        grown = child(display, "memory", "--encounters", str(given.encounters))["rss_bytes"]
        growth = grown[-1] / grown[len(grown) // 2] - 1
        told = ", ".join(f"{one / 1e6:.0f}" for one in grown)
        print(f"memory after each 20 encounters, MB: {told}")
        print(f"growth over the second half {growth:+.1%}  limit {GROWTH_LIMIT:.0%}: {verdict(growth < GROWTH_LIMIT)}")
        result["memory"] = grown
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
