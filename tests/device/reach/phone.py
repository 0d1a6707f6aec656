"""A phone that is a folder, behind the fake adb."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edge.device.reach.adb import AdbDevice, run_program

LINE = "R58M123ABC             device usb:1-1 product:gts7 model:SM_T870 device:gts7 transport_id:1"


class Phone:
    """State of the fake adb; `set` changes it."""

    def __init__(self, root: Path) -> None:
        self.root, self._state = root, root / "state.json"
        (root / "sdcard").mkdir(parents=True)
        self.state: dict[str, Any] = {
            "devices": [LINE],
            "root": str(root),
            "properties": {"ro.product.cpu.abi": "arm64-v8a", "ro.build.version.release": "14"},
        }
        self.set()

    @property
    def folder(self) -> Path:
        return self.root / "sdcard/Android/data/org.edgekit.edge/files/edge"

    @property
    def adb(self) -> list[str]:
        fake = Path(__file__).with_name("fake_adb.py")
        return ["env", f"FAKE_ADB={self._state}", sys.executable, str(fake)]

    def set(self, **changes: Any) -> None:
        self.state |= changes
        self._state.write_text(json.dumps(self.state))

    def connect(self, serial: str = "") -> AdbDevice:
        return AdbDevice(serial, adb=self.adb, run=run_program)

    def log(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.root / "adb.log").read_text().splitlines()]
