"""The device now, as the rules want to know it: battery, heat, memory, disk, the open encounter, what is installed.

All of it is read below an injectable root, with the harness's own sensors. What cannot be read is None and stops
nothing; the lock is the exception: a lock that cannot be asked counts as an open encounter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edge.bundle.install.disk import CURRENT
from edge.bundle.install.in_force import confirmed
from edge.bundle.install.installer import Installer
from edge.bundle.install.outcome import InstallStatus, SelfTestOutcome
from edge.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest
from edge.bundle.signing import Trust
from edge.bundle.tree import read_small
from edge.bundle.update_lock import self_test_runs, visit_open
from edge.device.facts import local_facts, read_int, read_text
from edge.device.sensors import Sensor, close_sensors, open_sensors
from edge.errors import EdgeError
from edge.fleet.agent.conditions import Conditions, Installed

KINDS = ("battery", "temperature")
# A sensor that was not there may come (a battery put in); looking costs a program's start on some boards.
LOOK_AGAIN_S = 600.0
MAINS = ("Mains", "USB", "USB_C", "USB_PD", "USB_DCP", "USB_CDP", "Wireless")


class Readings:
    """One device.

    Parameters
    ----------
    profile, slots, bundle: what is measured: the slots' build in force, else the folder `bundle`.
    lock_folder: of edge.bundle.update_lock. disk: a folder on the disk whose room counts.
    root: below it /proc and /sys. clock: monotonic seconds.
    """

    def __init__(
        self, *, profile: str, slots: Path, bundle: Path | None, lock_folder: Path, disk: Path,
        clock: Callable[[], float], root: Path = Path("/"),
    ) -> None:  # fmt: skip
        self._profile, self._slots, self._bundle = profile, slots, bundle
        self._lock_folder, self._disk, self._clock, self._root = lock_folder, disk, clock, root
        self._sensors: Mapping[str, Sensor] = {}
        self._looked_s: float | None = None
        self._manifest: tuple[str, int] = ("", 0)
        self._seen: tuple[Path, int] | None = None

    def conditions(self) -> Conditions:
        """Read all of it."""
        if self._looked_s is None or self._clock() - self._looked_s > LOOK_AGAIN_S:
            close_sensors(dict(self._sensors))
            self._sensors, _ = open_sensors(self._root, kinds=KINDS)
            self._looked_s = self._clock()
        readings = [one for sensor in self._sensors.values() for one in sensor.read()]
        charges = [one.value for one in readings if one.unit == "%"]
        return Conditions(
            encounter_open=self.encounter_open(),
            battery_percent=min(charges) if charges else None,
            charging=self._charging(),
            hottest_celsius=max((one.value for one in readings if one.unit == "degC"), default=None),
            memory_available_bytes=local_facts(self._root).memory_available_bytes,
            disk_free_bytes=self._disk_free_bytes(),
            installed=self.installed(),
        )

    def encounter_open(self) -> bool:
        """Whether a visit is open in an app on this device, or an install has it for its self-test."""
        return visit_open(self._lock_folder) or self_test_runs(self._lock_folder)

    def bundle_folder(self) -> Path | None:
        """What a benchmark opens now."""
        return confirmed(self._current()) or self._bundle

    def installed(self) -> Installed:
        """What the slots hold, or the fixed bundle where they hold nothing."""
        folder, status = self.bundle_folder(), self._status()
        pending = status.phase not in ("idle", "unknown")  # a first install that waits, too: nothing is shown then
        if folder is None:
            return Installed(pending=pending)
        digest, model_bytes = self._facts(folder)
        if folder == self._bundle:
            return Installed(digest=digest or None, bundle_bytes=model_bytes, pending=pending)
        return Installed(
            digest=status.bundle_digest,
            release=status.release,
            previous_digest=status.previous_digest,
            slot=status.slot,
            bundle_bytes=model_bytes,
            pending=pending,
        )

    def _current(self) -> Path:
        return self._slots / self._profile / CURRENT

    def _status(self) -> InstallStatus:
        installer = Installer(
            self._slots,
            self._profile,
            trust=Trust(),
            lock_folder=self._lock_folder,
            self_test=lambda _folder: SelfTestOutcome(False),
        )
        return installer.status()

    def _facts(self, folder: Path) -> tuple[str, int]:
        """Digest and bytes of the model; read again when the manifest is another file."""
        path = folder / MANIFEST_NAME
        try:
            stamp = (path, path.stat().st_mtime_ns)
            if stamp != self._seen:
                manifest = Manifest.from_bytes(read_small(path, MAX_MANIFEST_BYTES))
                size = sum(one.size_bytes for one in manifest.files if one.path.startswith("model/"))
                self._manifest, self._seen = (manifest.bundle_digest, size), stamp
        except (OSError, EdgeError):
            return "", 0
        return self._manifest

    def _disk_free_bytes(self) -> int:
        try:
            status = os.statvfs(self._disk)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize

    def _charging(self) -> bool | None:
        """True on mains. Where no supply is shown the battery's own word counts."""
        mains: list[bool] = []
        batteries: list[str] = []
        for folder in sorted((self._root / "sys/class/power_supply").glob("*")):
            kind = read_text(folder / "type") or ""
            if kind in MAINS:
                mains.append(read_int(folder / "online") == 1)
            elif kind == "Battery":
                batteries.append(read_text(folder / "status") or "")
        if any(mains):
            return True
        if "Discharging" in batteries:
            return False
        if any(word in ("Charging", "Full", "Not charging") for word in batteries):
            return True
        return False if mains and batteries else None
