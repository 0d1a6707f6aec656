"""Kills an export at every step and looks at the folder. Run by test_folder.py in a process of its own.

python export_kill_child.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "fault"))

from bundle_kill_child import run_killed

from edge.app.export.folder import write

DATA = b"the whole export of one visit" * 1000


def main(home: Path) -> None:
    """Print {"steps": n, "seen": [...]}."""
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    step, killed, seen = 0, True, set()
    while killed:
        step += 1
        folder = home / f"step-{step}"
        folder.mkdir()
        killed = run_killed(lambda folder=folder: write(folder, "visit-1-2026-03-04", ".pdf", DATA), step)
        shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
        seen.add("whole" if shown else "nothing")
        for path in shown:
            assert path.read_bytes() == DATA, "half a file has the export's name"
        for path in folder.iterdir():
            assert path.stat().st_size == 0 or path.stat().st_mode & 0o077 == 0, "others can read a part"
        done = write(folder, "visit-1-2026-03-04", ".pdf", DATA)
        assert [path.name for path in folder.iterdir()] == [done.path.name], "litter with a patient's words is left"
    print(json.dumps({"steps": step - 1, "seen": sorted(seen)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
