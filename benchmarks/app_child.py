"""The bedside app as it is, watched from inside: what benchmarks/run_app.py starts under a virtual screen.

Modes: `start` (time to the first frame, memory), `gap` (time between frames, at rest and while the real engine works),
`memory` (many encounters with a scripted engine). The result is one line of JSON on the file given by --out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

PIN = "271828"
Steps = Iterator[Callable[[], bool]]


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def own_bytes() -> int:
    """Resident memory without the files of a software drawing driver, which a device with a GPU has no need of."""
    kept, total = True, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            kept = not re.search(r"LLVM|swrast|libz3|gallium", line)
        elif kept and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


class Watch:
    """Gaps between frames. Each frame is drawn anew, so that there is always something to wait for."""

    def __init__(self) -> None:
        self.gaps_ms: list[float] = []
        self._last = 0.0
        self.on = False

    def flip(self, *_: Any) -> None:
        """A frame is on the screen."""
        now = time.perf_counter()
        if self.on and self._last:
            self.gaps_ms.append((now - self._last) * 1000)
        self._last = now

    def take(self) -> dict[str, float]:
        """Figures since the last call."""
        gaps, self.gaps_ms = self.gaps_ms, []
        return {"frames": len(gaps), "p50_ms": percentile(gaps, 0.5), "p95_ms": percentile(gaps, 0.95)} if gaps else {}


def workspace(folder: Path, bundle: Path | None) -> Any:
    """A desk with a cheap key (the key's cost is not what is measured) and a real or a scripted engine."""
    from edge.app.background import Worker
    from edge.app.engine.multiplex import engines_for
    from edge.app.engine.scripted import ScriptedClient, note_answer
    from edge.app.vault.keys import Cost
    from edge.app.vault.sqlcipher import SqlCipherVault
    from edge.app.workspace import Services, Workspace

    if bundle is not None:
        engines: Any = engines_for((bundle,), results=folder / "results")
    else:
        note = {
            "sections": [
                {
                    "section": "HPI",
                    "lines": [
                        {"text": f"The pain is {index} of 10.", "origin": "model", "evidence": []} for index in range(9)
                    ],
                }
            ],
            "withheld": 0,
            "notices": [],
        }
        engines = {"note": ScriptedClient(time.monotonic, note_answer(note, step_s=0.001))}
    counter = itertools.count(1)
    return Workspace(
        Services(
            vault=SqlCipherVault(folder / "vault", cost=Cost(memory_kib=64, passes=1)),
            clock=lambda: datetime.now(UTC),
            monotonic=time.monotonic,
            new_id=lambda: f"id-{next(counter)}",
            engines=engines,
            background=Worker(),
        )
    )


def main() -> None:
    """Run one mode."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["start", "gap", "memory"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--started", type=float, default=0.0, help="time.monotonic() of the parent at the start")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--undrawn", action="store_true", help="without a drawing driver: the app's own memory")
    parser.add_argument("--equal", action="store_true", help="take the engine's nice value away (needs root)")
    parser.add_argument("--encounters", type=int, default=200)
    given = parser.parse_args()
    from edge.app.ui.environment import prepare

    prepare(size=(1280, 800), backend="mock" if given.undrawn else "")
    from kivy.clock import Clock
    from kivy.core.window import Window

    from edge.app.ui.app import BedsideApp

    desk = workspace(given.folder, given.bundle)
    result: dict[str, Any] = {}
    watch = Watch()
    Window.bind(on_flip=watch.flip)

    def first() -> None:
        result["first_frame_s"] = time.monotonic() - given.started

    app = BedsideApp(desk, on_window=first)
    steps = {"start": at_start, "gap": gaps, "memory": memory}[given.mode](app, desk, watch, result, given)

    waiting: list[Callable[[], bool]] = []

    def step(_dt: float) -> None:
        if watch.on:
            Window.canvas.ask_update()
        if waiting and not waiting[0]():
            return
        waiting.clear()
        try:
            waiting.append(next(steps))
        except StopIteration:
            given.out.write_text(json.dumps(result))
            app.stop()

    Clock.schedule_interval(step, 0)
    app.run()
    desk.quit()


def after(seconds: float) -> Callable[[], bool]:
    """True once so much time has gone."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def unlocked(desk: Any) -> Callable[[], bool]:
    """Make the vault; true once it is open."""
    desk.create_vault(PIN, lambda _error: None)
    return lambda: not desk.locked


def at_start(app: Any, desk: Any, _watch: Watch, result: dict[str, Any], _given: Any) -> Steps:
    """First frame, then every screen once: memory without the engine."""
    from edge.app.samples.fill import fill_empty_worklist

    yield after(0.5)
    result["rss_first_bytes"] = rss_bytes()
    yield unlocked(desk)
    fill_empty_worklist(desk)
    desk.open(desk.worklist()[0].id)
    for name in ("worklist", "exam", "eye", "note", "review", "device", "settings"):
        app.shell.go(name)
        yield after(0.4)
    yield after(3)  # screens that were thrown away are collected in a quiet moment
    result["rss_all_screens_bytes"] = rss_bytes()
    result["own_bytes"] = own_bytes()


def gaps(app: Any, desk: Any, watch: Watch, result: dict[str, Any], given: Any) -> Steps:
    """Time between frames of the note's screen: at rest, then while the engine drafts on all cores."""
    from edge.app.samples.fill import fill_empty_worklist

    yield unlocked(desk)
    fill_empty_worklist(desk)
    chosen = next(one for one in desk.worklist() if one.name.startswith("THOMPSON"))
    desk.open(chosen.id)
    app.shell.go("note")
    yield lambda: desk.facts("note") is not None
    if given.equal:
        for engine in psutil.Process().children(recursive=True):
            engine.nice(0)
    watch.on = True
    yield after(3)  # what was drawn for the first time is not counted
    watch.take()
    yield after(given.seconds)
    result["rest"] = watch.take()
    desk.runs.start_note()
    yield lambda: desk.streaming is not None and bool(desk.streaming.text)
    watch.take()
    end = after(given.seconds)
    yield lambda: end() or desk.streaming is None
    result["writing"] = watch.take()
    result["rss_bytes"] = rss_bytes()
    result["engine_rss_bytes"] = desk.runs.peak_rss_bytes
    desk.runs.stop()


def memory(app: Any, desk: Any, _watch: Watch, result: dict[str, Any], given: Any) -> Steps:
    """Encounters one after another: memory of the app after each twentieth."""
    from edge.clinical.encounter import edits
    from edge.clinical.encounter.model import FoundItem, Patient, Presence, VisitText

    yield unlocked(desk)
    desk.set_setting("autolock_s", 600)
    said = "[doctor] how bad is the pain ?\n[patient] it is an eight .\n" * 40
    seen = []
    for index in range(given.encounters):
        desk.touch()
        desk.new_encounter(Patient(f"SAMPLE, {index}", None or "", 50, "female", f"{10000 + index}", "1", (), True))
        for name in ("cough", "fever", "nausea"):
            desk.edit(edits.set_finding, FoundItem(f"{index}-{name}", name, Presence.PRESENT))
        desk.edit(edits.set_visit, VisitText(said))
        # Every tenth goes through all screens, so that some are thrown away and made anew.
        for name in ("exam", "eye", "note", "review", "worklist") if index % 10 == 0 else ("exam", "note", "worklist"):
            app.shell.go(name)
            yield after(0.02)
        app.shell.go("note")
        desk.runs.start_note()
        yield lambda: desk.streaming is None
        desk.close()
        if (index + 1) % 20 == 0:
            yield after(0.1)
            seen.append(rss_bytes())
    result["rss_bytes"] = seen


if __name__ == "__main__":
    main()
