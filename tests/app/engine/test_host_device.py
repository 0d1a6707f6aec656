"""The device while it runs: no sensor, no claim; heat is said when it slows the writing, and stays said a while."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge.app.engine.host_device import HELD_READINGS, DeviceWatch, Sample, ThrottleRule, mean_max_mhz, passive_tripped
from edge.app.engine.messages import DeviceReading

HOT_AND_SLOW = Sample(81.0, 1200.0, 2400.0, False, True)
COOL = Sample(50.0, 2400.0, 2400.0, False, True)


def told(*samples: Sample) -> list[bool]:
    rule = ThrottleRule()
    return [rule.add(sample) for sample in samples]


def test_heat_and_a_slow_clock_under_load() -> None:
    """Both readings must be busy: a clock that has not gone up yet is no throttling."""
    assert told(HOT_AND_SLOW, HOT_AND_SLOW) == [False, True]


@pytest.mark.parametrize(
    "sample",
    [
        Sample(74.9, 1200.0, 2400.0, False, True),
        Sample(81.0, 1921.0, 2400.0, False, True),
        Sample(81.0, 1200.0, 2400.0, False, False),
        Sample(None, 1200.0, 2400.0, False, True),
        Sample(81.0, None, 2400.0, False, True),
        Sample(81.0, 1200.0, None, False, True),
    ],
)
def test_one_of_them_alone_is_none(sample: Sample) -> None:
    """A warm or an idle or a blind device must not be called hot."""
    assert told(sample, sample, sample) == [False, False, False]


def test_a_passive_trip_point_counts_at_once() -> None:
    """There the kernel itself has begun to slow the processors."""
    assert told(Sample(None, None, None, True, False)) == [True]


def test_what_the_board_says_counts_at_once() -> None:
    """The firmware of a Raspberry Pi knows of a capped clock that no zone shows."""
    assert told(Sample(None, None, None, False, False, slowed=True)) == [True]


def test_a_processor_that_the_kernel_cools_is_throttled(root: Path) -> None:
    """The kernel says itself that it lowers the clock; without load the other rules say nothing."""
    cooling = root / "sys/class/thermal/cooling_device0"
    cooling.mkdir()
    (cooling / "type").write_text("cpufreq-cpu0", encoding="ascii")
    (cooling / "cur_state").write_text("0", encoding="ascii")
    watch = DeviceWatch(root, lambda: False)
    assert not watch.read().throttled
    (cooling / "cur_state").write_text("2", encoding="ascii")
    assert watch.read().throttled


def test_the_word_does_not_flicker() -> None:
    """It stays for some readings after the last one."""
    found = told(HOT_AND_SLOW, HOT_AND_SLOW, *[COOL] * (HELD_READINGS + 1))
    assert found == [False] + [True] * HELD_READINGS + [False, False]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device with one zone, two cores and a little memory."""
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    for name, text in (
        ("type", "cpu-thermal"),
        ("temp", "81200"),
        ("trip_point_0_type", "critical"),
        ("trip_point_0_temp", "70000"),
        ("trip_point_1_type", "passive"),
        ("trip_point_1_temp", "85000"),
    ):
        (zone / name).write_text(text, encoding="ascii")
    for core, now in ((0, "1400000"), (1, "1600000")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text("2400000", encoding="ascii")
        (folder / "scaling_cur_freq").write_text(now, encoding="ascii")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n", encoding="ascii")
    return tmp_path


def test_a_whole_device(root: Path) -> None:
    """Temperature, clock, memory and the rule from files as a board has them."""
    watch = DeviceWatch(root, lambda: True)
    first, second = watch.read(), watch.read()
    assert first.temperature_c == 81.2
    assert first.frequency_mhz == 1500.0
    assert first.free_bytes == 1_024_000
    assert first.rss_bytes > 1_000_000
    assert (first.throttled, second.throttled) == (False, True)
    assert mean_max_mhz(root) == 2400.0
    assert not passive_tripped(root)
    (root / "sys/class/thermal/thermal_zone0/temp").write_text("85000", encoding="ascii")
    assert passive_tripped(root)
    (root / "sys/class/thermal/thermal_zone0/temp").unlink()
    assert not passive_tripped(root)


def test_a_device_without_sensors(tmp_path: Path) -> None:
    """A virtual machine: nothing is known, nothing is claimed, nothing fails."""
    found: list[DeviceReading] = []
    ended = threading.Event()

    def send(reading: DeviceReading) -> None:
        found.append(reading)
        ended.set()

    DeviceWatch(tmp_path, lambda: True).watch(send, ended)
    assert [(one.temperature_c, one.throttled, one.frequency_mhz) for one in found] == [(None, False, None)]
