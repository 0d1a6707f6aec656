"""Jetson power: rails from fake trees, which of them make up the module, lines of tegrastats and the program itself."""

import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_boards import AGX_ORIN_LINE, ORIN_NANO_LINE, Clock, agx_orin, monitor, orin_nano, write

from edge.device.sensors import Absent, Host, Reading
from edge.device.sensors.commands import REST_S
from edge.device.sensors.jetson import module_power, open_ina3221
from edge.device.sensors.tegrastats import STALE_S, TegrastatsSensor, open_tegrastats, parse_line


def watts(sensor: object) -> dict[str, float]:
    assert not isinstance(sensor, Absent)
    return {one.name: one.value for one in sensor.read()}  # type: ignore[attr-defined]


def test_orin_nano_input_is_not_added_to_its_parts(tmp_path: Path) -> None:
    """If it fails, the parts of the input count twice, or mV times mA is wrong by a thousand."""
    sensor = open_ina3221(orin_nano(tmp_path))
    assert not isinstance(sensor, Absent)
    module, *rails = sensor.read()
    assert module == Reading("module.VDD_IN", "W", pytest.approx(5.016 * 1.048))
    assert [rail.name for rail in rails] == ["rail.VDD_CPU_GPU_CV", "rail.VDD_IN", "rail.VDD_SOC"]


def test_agx_orin_is_three_rails(tmp_path: Path) -> None:
    """If it fails, the memory rail counts twice, or an unconnected channel is a rail."""
    told = watts(open_ina3221(agx_orin(tmp_path)))
    assert told["module.VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0"] == pytest.approx(3.04 + 1.9 + 4.968)
    assert told["rail.VDDQ_VDD2_1V8AO"] == pytest.approx(0.9936)
    assert "rail.NC" not in told


def test_a_rail_that_vanishes_leaves_no_smaller_sum(tmp_path: Path) -> None:
    """If it fails, a failed read of one rail looks like a device that needs less."""
    sensor = open_ina3221(agx_orin(tmp_path))
    (tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input").unlink()
    assert not any(name.startswith("module.") for name in watts(sensor))
    assert "rail.VDD_GPU_SOC" in watts(sensor)


@given(st.sampled_from(["in1_input", "curr1_input"]), st.one_of(st.binary(max_size=40), st.integers().map(str)))
def test_garbage_in_a_rail(tmp_path_factory: pytest.TempPathFactory, name: str, garbage: bytes | str) -> None:
    """If it fails, a monitor that answers nonsense makes a power of it, or stops the sampler."""
    root = tmp_path_factory.mktemp("tree")
    sensor = open_ina3221(orin_nano(root))
    path = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1" / name
    path.write_bytes(garbage if isinstance(garbage, bytes) else garbage.encode())
    assert all(-1 <= value <= 1000 for value in watts(sensor).values())
    path.unlink()
    assert sorted(watts(sensor)) == ["rail.VDD_CPU_GPU_CV", "rail.VDD_SOC"]


def test_monitors_by_name(tmp_path: Path) -> None:
    """If it fails, a kernel that shows the monitor only below class/hwmon has no sensor."""
    folder = tmp_path / "sys/class/hwmon/hwmon1"
    write(tmp_path / "sys/class/hwmon/hwmon0", name="cpu_thermal", in1_label="VDD_IN", in1_input=1, curr1_input=1)
    write(folder, name="ina3221", in1_label="VDD_IN", in1_input=5000, curr1_input=1000)
    assert watts(open_ina3221(Host(tmp_path)))["module.VDD_IN"] == 5.0


def test_rails_that_make_up_nothing_are_no_energy(tmp_path: Path) -> None:
    """If it fails, some rails of an unknown board pass for its power."""
    assert open_ina3221(Host(tmp_path)) == Absent("no power rails")
    monitor(tmp_path, "1-0040", 0, ("VDD_GPU", 5000, 100))
    found = open_ina3221(Host(tmp_path))
    assert isinstance(found, Absent)
    assert found.denied
    assert module_power({"VDD_GPU_SOC": 1.0, "VDD_CPU_CV": 1.0}) is None
    assert module_power({}) is None


def test_a_line_of_an_orin_nano() -> None:
    """If it fails, a line that a real board wrote is misread."""
    line = parse_line(ORIN_NANO_LINE)
    assert line is not None
    assert (line.ram_used_bytes, line.ram_total_bytes) == (2639 << 20, 7620 << 20)
    assert line.cpus == ((1, 729), (4, 729), None, None)
    assert line.gpu_percent == 0
    assert line.zones_celsius == {"cpu": 44.156, "tj": 45.968}
    assert line.rails_w == {"VDD_IN": 5.263, "VDD_CPU_GPU_CV": 0.717, "VDD_SOC": 1.794}
    assert line.readings()[0] == Reading("module.VDD_IN", "W", 5.263)


def test_a_line_of_an_agx_orin() -> None:
    """If it fails, clocks in brackets, zones without decimals or an average instead of now are read."""
    line = parse_line(AGX_ORIN_LINE)
    assert line is not None
    assert line.gpu_percent == 14
    assert line.zones_celsius["Tboard"] == 62.0
    assert line.readings()[0].value == pytest.approx(3.150 + 14.312 + 4.968)
    old = parse_line("RAM 1000/3964MB VDD_IN 3168/3200 PLL@30C")  # before JetPack 5: no unit
    assert old is not None
    assert old.rails_w == {"VDD_IN": 3.168}


@given(st.one_of(st.text(), st.integers(0, len(ORIN_NANO_LINE)).map(lambda cut: ORIN_NANO_LINE[:cut])))
def test_any_line_is_read_or_left_out(line: str) -> None:
    """If it fails, a cut or mangled line ends the reader, or gives a number that no board has."""
    parsed = parse_line(line)
    for reading in parsed.readings() if parsed else ():
        assert -40 <= reading.value <= 1000


def script(folder: Path, body: str) -> str:
    path = folder / "tegrastats"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def until(check: object, seconds: float = 10.0) -> None:
    """Wait for another thread or process."""
    deadline_s = time.monotonic() + seconds
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_the_program_is_read_and_ended(tmp_path: Path) -> None:
    """If it fails, a board without readable /sys has no power, or the program stays after the run."""
    program = script(tmp_path, f"echo $$ > {tmp_path}/pid\nwhile :; do echo '{ORIN_NANO_LINE}'; sleep 0.02; done")
    sensor = open_tegrastats(Host(tmp_path, program=lambda name: program if name == "tegrastats" else None))
    assert isinstance(sensor, TegrastatsSensor)
    told: dict[str, float] = {}
    until(lambda: told.update({one.name: one.value for one in sensor.read()}) or told)
    assert told["module.VDD_IN"] == 5.263
    assert told["tegrastats.tj"] == 45.968
    sensor.close()
    assert sensor.read() == ()
    pid = (tmp_path / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}/exe").exists()


def test_a_line_counts_once_and_not_when_it_is_old(tmp_path: Path) -> None:
    """If it fails, a program that hangs seems to draw the same power for ever."""
    clock = Clock()
    program = script(tmp_path, f"echo '{ORIN_NANO_LINE}'; exec sleep 60")
    sensor = TegrastatsSensor([program], clock)
    assert sensor.first() is not None
    clock.now_s += STALE_S + 0.1
    assert sensor.read() == ()
    clock.now_s -= STALE_S
    assert len(sensor.read()) == 6
    assert sensor.read() == ()
    sensor.close()


def test_a_program_that_ends_rests_before_it_is_tried_again(tmp_path: Path) -> None:
    """If it fails, a broken program is started with every sample, or never again."""
    clock = Clock()
    program = script(tmp_path, f"echo run >> {tmp_path}/runs; echo '{ORIN_NANO_LINE}'")

    def runs() -> int:
        path = tmp_path / "runs"
        return path.read_text().count("run") if path.exists() else 0

    sensor = TegrastatsSensor([program], clock)
    until(lambda: sensor._process is not None and not sensor._process.alive())
    for _ in range(5):
        assert sensor.read() == ()
    assert runs() == 1
    clock.now_s += REST_S
    until(lambda: sensor.read() or runs() == 2)
    sensor.close()


@pytest.mark.parametrize("body", ["exit 1", "echo 'RAM 1/2MB'; exit 0"])
def test_a_program_without_power_is_no_sensor(tmp_path: Path, body: str) -> None:
    """If it fails, a tegrastats that needs root is taken for a sensor."""
    found = open_tegrastats(Host(tmp_path, program=lambda _name: script(tmp_path, body)))
    assert found == Absent("tegrastats shows no power", denied=True)
    assert open_tegrastats(Host(tmp_path)) == Absent("no tegrastats")
    broken = tmp_path / "data"
    broken.write_text("no program")
    assert isinstance(open_tegrastats(Host(tmp_path, program=lambda _name: str(broken))), Absent)
