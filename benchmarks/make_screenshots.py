"""Pictures of every screen, light and night, in three sizes: python -m benchmarks.make_screenshots docs/screens

Drawn without a display (EGL, software). The patient is a sample; what the models say was recorded from the reference
bundles (edge/app/samples/*.json) and is played by the scripted engine, so that the pictures need no model and are the
same on every run. Kivy takes one density a process: each size is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
# name -> (pixels, density): a tablet, the same held upright, a dense panel.
SIZES: dict[str, tuple[tuple[int, int], float]] = {
    "1280x800": ((1280, 800), 1.0),
    "800x1280": ((800, 1280), 1.0),
    "1920x1200": ((1920, 1200), 1.5),
}
SAMPLES = REPO / "edge" / "app" / "samples"
Picture = Callable[[str], None]


def recorded(name: str) -> dict[str, Any]:
    """What a reference model said of the sample patient."""
    found: dict[str, Any] = json.loads((SAMPLES / f"angle-closure.{name}.json").read_text(encoding="utf-8"))
    return found


def answers(request: Any) -> Any:
    """The scripted engine: a note at forty words a second, a differential in a second."""
    from edge.app.engine.scripted import differential_answer, note_answer

    task = getattr(request, "task", "note")
    if task == "note":
        return note_answer(recorded("note"), step_s=0.025)(request)
    return differential_answer(recorded(task), step_s=0.2)(request)


def _bump(index: int) -> float:
    """A board that gets hot and cools down again: 0 to 1 to 0 over sixty readings."""
    return max(0.0, 1 - abs(index - 35) / 20)


def draw(size: str, folder: Path) -> None:
    """All pictures of one size."""
    pixels, density = SIZES[size]
    os.environ["EDGE_UI_BACKEND"] = "offscreen"
    from edge.app.ui import environment

    environment.prepare(size=pixels, density=density, backend="offscreen")
    from edge.app.engine.messages import DeviceReading
    from edge.app.samples import load_sample, sample_names
    from tests.app.desk import PIN, Desk
    from tests.app.ui.driver import Driver

    driver = Driver()
    from edge.app.ui.screens import make_screens
    from edge.app.ui.shell.shell import Shell

    with tempfile.TemporaryDirectory() as data:
        desk = Desk(Path(data), answers)
        work = desk.workspace
        shell = Shell(work, make_screens(work))
        driver.mount(shell, size=pixels)

        def settle(seconds: float = 0.5) -> None:
            desk.wait(seconds)
            driver.frame(8)

        def picture(name: str) -> None:
            for night in (False, True):
                driver.theme.night = night
                driver.frame(4)
                image = driver.screenshot()
                path = folder / f"{name}-{size}-{'night' if night else 'light'}.png"
                image.quantize(128).save(path, optimize=True)
            driver.theme.night = False

        settle()
        picture("setup")
        desk.create()
        work.set_setting("autolock_s", 600)
        for name in sample_names():
            new_id = work.services.new_id
            work.add(load_sample(name, encounter_id=new_id(), now=work.now(), new_id=new_id))
            desk.now_s += 61
            work.touch()
        work.runs.start_engines()
        settle()
        for index in range(60):
            desk.engine.push(
                DeviceReading(41 + 40 * _bump(index), 30 <= index < 40, 1_300_000_000, 610_000_000, 2400.0)
            )
            desk.now_s += 2
            work.touch()
            work.tick()
        settle()
        shell.go("worklist")
        settle()
        picture("worklist")
        work.open(next(one.id for one in work.worklist() if one.name.startswith("MORALES")))
        shell.go("exam")
        settle()
        work.runs.start_differential("ophthalmology")
        settle(2)
        picture("exam")
        shell.screen("exam").pane = 1
        settle()
        picture("differential")
        shell.go("eye")
        settle()
        picture("eye")
        shell.go("note")
        settle()
        work.runs.start_note()
        settle(3)
        shell.screen("note").pane = 1
        settle(0.2)
        picture("note-writing")
        settle(20)
        picture("note")
        shell.go("review")
        settle()
        picture("review")
        for name in ("device", "settings"):
            shell.go(name)
            settle()
            picture(name)
        work.lock()
        settle()
        picture("lock")
        desk.unlock(PIN)
        desk.close()


def main() -> None:
    """Draw all sizes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.size:
        draw(given.size, given.folder)
        return
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.make_screenshots", str(given.folder), "--size", size]
        subprocess.run(command, check=True, cwd=REPO, env=os.environ)
    print(f"{len(list(given.folder.glob('*.png')))} pictures in {given.folder}")


if __name__ == "__main__":
    main()
