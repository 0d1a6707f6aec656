"""What the agent sees of its device. When these fail, it measures on an empty battery, or in a visit."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle.update_lock import FileUpdateLock, under_test
from edge.fleet.agent.readings import Readings
from tests.fleet.agent.makers import Clock


def supply(root: Path, name: str, **files: str) -> None:
    folder = root / "sys/class/power_supply" / name
    folder.mkdir(parents=True)
    for key, value in files.items():
        (folder / key).write_text(value + "\n")


def readings(tmp_path: Path) -> Readings:
    return Readings(
        profile="notes", slots=tmp_path / "slots", bundle=None, lock_folder=tmp_path / "lock", disk=tmp_path,
        clock=Clock().monotonic, root=tmp_path,
    )  # fmt: skip


def test_a_tablet(tmp_path: Path) -> None:
    """If not: charge, mains or heat are another's."""
    supply(tmp_path, "BAT0", type="Battery", capacity="81", status="Discharging")
    supply(tmp_path, "BAT1", type="Battery", capacity="37", status="Unknown")
    supply(tmp_path, "mouse", type="Battery", scope="Device", capacity="3", status="Charging")
    supply(tmp_path, "AC", type="Mains", online="0")
    for number, value in enumerate(("41000", "55500")):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"zone{number}")
        (zone / "temp").write_text(value)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n")
    found = readings(tmp_path).conditions()
    assert (found.battery_percent, found.charging, found.hottest_celsius) == (37.0, False, 55.5)
    assert found.memory_available_bytes == 1000 * 1024
    assert found.disk_free_bytes > 0
    assert not found.encounter_open
    assert found.installed.digest is None


@pytest.mark.parametrize(
    ("supplies", "charging"),
    [
        ({}, None),
        ({"AC": {"type": "Mains", "online": "1"}}, True),
        ({"AC": {"type": "Mains", "online": "1"}, "B": {"type": "Battery", "status": "Discharging"}}, True),
        ({"U": {"type": "USB", "online": "0"}, "B": {"type": "Battery", "status": "Full"}}, True),
        ({"B": {"type": "Battery", "status": "Discharging"}}, False),
        ({"B": {"type": "Battery", "status": "nonsense"}}, None),
    ],
)
def test_mains(tmp_path: Path, supplies: dict[str, dict[str, str]], charging: bool | None) -> None:
    """If not: a tablet in its dock counts as one in a hand."""
    for name, files in supplies.items():
        supply(tmp_path, name, **files)
    assert readings(tmp_path).conditions().charging is charging


def test_the_lock_of_a_visit(tmp_path: Path) -> None:
    """If not: a benchmark begins while a visit is open; or a lock that cannot be asked counts as no visit."""
    found = readings(tmp_path)
    assert not found.encounter_open()
    lock = FileUpdateLock(tmp_path / "lock")
    lock.acquire()
    assert found.encounter_open()
    lock.release()
    assert not found.encounter_open()
    with under_test(tmp_path / "lock"):
        assert found.encounter_open(), "a benchmark begins beside the self-test of an install by hand"
    (tmp_path / "lock/encounter-open.lock").unlink()
    (tmp_path / "lock/encounter-open.lock").symlink_to("encounter-open.lock")  # not even root opens a loop
    assert found.encounter_open()


def test_nothing_there(tmp_path: Path) -> None:
    """If not: an agent on a bare board ends at its first look."""
    found = readings(tmp_path / "nothing").conditions()
    assert found.installed.digest is None
    assert found.battery_percent is None
    assert found.disk_free_bytes == 0
