"""A host with a bundle, and a board of the same machine whose runner is a script with the scripted engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench_dummies import SMALL, write_bundle

from edge.bench.remote import Proven, Runner, verify_on_board
from edge.bundle.open import OpenBundle, open_bundle
from edge.device.reach.local import LocalDevice
from edge.device.reach.plan import LocalFile
from edge.device.reach.session import BoardSession
from edge.files import sha256_file

HERE = Path(__file__).parent
ADDRESS = "ssh://pi@board"


class World:
    """A host with a bundle, and a board of the same machine with its own home and folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened, self.store = write_bundle(root)
        self.board_home, self.board_folder = root / "board-home", root / "board"
        self.said: list[str] = []

    def connect(self, home: Path | None = None) -> LocalDevice:
        pairs = {
            "EDGE_HOME": str(home or self.board_home),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "OMP_NUM_THREADS": "1",
        }
        env = ["env", *(f"{name}={value}" for name, value in pairs.items())]
        return LocalDevice(folder=str(self.board_folder), command=[*env, "/bin/sh", "-c"])

    def runner(self, fault: str = "") -> Any:
        """A runner that is one script: the scripted device."""
        script = self.root / f"runner-{fault}.sh"
        script.write_text(
            f'shift\nPYTHONPATH={HERE.parents[1]} exec {sys.executable} {HERE}/scripted_device.py "{fault}" "$@"\n'
        )
        made = LocalFile(script, sha256_file(script), script.stat().st_size)
        return lambda facts, engine, cache, say: Runner(f"{engine}-test", {"edge": made})

    def verify(self, fault: str = "", *, device: BoardSession | None = None, **options: Any) -> Proven:
        opened = open_bundle(self.root / "bundle", self.store.trust_store())
        with device or self.connect() as reached:
            return verify_on_board(
                opened,
                reached,
                ADDRESS,
                **({"store": self.store, "workload": SMALL, "runner_for": self.runner(fault)} | options),
                say=self.said.append,
            )

    def attestations(self) -> list[str]:
        folder = self.root / "bundle/attestations"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def again(self) -> OpenBundle:
        return open_bundle(self.root / "bundle", self.store.trust_store())
