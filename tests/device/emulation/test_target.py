"""Boards as their programs see them, from the repository's own targets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge.device.emulation.target import EmulatedTarget, cpuinfo, describe_target, read_target, write_board
from edge.device.facts import ARM_CORES, cpu_governor, local_facts, parse_cpuinfo
from edge.device.sensors import open_sensors
from edge.errors import EdgeError, SpecError

TARGETS = Path(__file__).resolve().parents[3] / "targets"
EMULATED = sorted(
    path.stem
    for path in TARGETS.glob("*.yaml")
    if (yaml.safe_load(path.read_text()).get("emulated") or {}).get("emulator") == "qemu-aarch64"
)


@pytest.mark.parametrize("name", EMULATED)
def test_each_target_is_the_board_it_says(name: str, tmp_path: Path) -> None:
    """If it fails, a bundle that fits the target is refused on its emulated board, or is judged on another one."""
    value = yaml.safe_load((TARGETS / f"{name}.yaml").read_text())
    target = read_target(TARGETS / f"{name}.yaml")
    write_board(tmp_path, target, "Debian")
    facts = local_facts(tmp_path, arch="aarch64")
    assert set(value["isa"]["features"]) <= set(facts.isa_features)
    assert facts.logical_cpus == value["cores"]
    assert abs(facts.memory_total_bytes - value["memory_bytes"]) < 1024
    assert facts.memory_available_bytes <= value["memory_bytes"] - value["memory_reserved_bytes"]
    assert facts.board == target.board_model
    if value["cpu"].startswith("cortex"):
        assert facts.cpu_model.lower() == value["cpu"]
    for number in range(value["cores"]):
        midr = tmp_path / f"sys/devices/system/cpu/cpu{number}/regs/identification/midr_el1"
        assert int(midr.read_text(), 16) == target.midr


def test_the_two_pis_differ_where_it_matters(tmp_path: Path) -> None:
    """If it fails, kernels with dot products are let onto a Pi 4, where they die."""
    four, five = read_target(TARGETS / "raspberry-pi-4.yaml"), read_target(TARGETS / "raspberry-pi-5.yaml")
    assert "asimddp" in five.features
    assert not {"asimddp", "asimdhp", "atomics", "aes"} & set(four.features)
    assert (four.cpu, five.cpu) == ("cortex-a72", "cortex-a76")


def test_no_sensor_of_this_machine(tmp_path: Path) -> None:
    """If it fails, the temperature or power of the host is reported as the board's."""
    write_board(tmp_path, read_target(TARGETS / "raspberry-pi-5.yaml"), "Debian")
    present, _ = open_sensors(tmp_path)
    assert present == {}
    assert cpu_governor(tmp_path) is None
    for hidden in ("sys/class/thermal", "sys/class/powercap", "sys/class/power_supply"):
        assert list((tmp_path / hidden).iterdir()) == []


def test_a_stand_in_says_so() -> None:
    """If it fails, a report claims a Cortex-A78AE that was never emulated."""
    orin = read_target(TARGETS / "jetson-orin-nano.yaml")
    assert (orin.cpu, orin.stands_for) == ("neoverse-n1", "cortex-a78ae")
    assert orin.board_model == "NVIDIA Jetson Orin Nano Developer Kit"


@given(st.integers(1, 64), st.sampled_from(sorted(ARM_CORES)), st.integers(0, 15), st.integers(0, 15))
def test_cpuinfo_is_read_back(cores: int, core: tuple[int, int], variant: int, revision: int) -> None:
    """If it fails, a core's numbers do not survive the writing of /proc/cpuinfo."""
    midr = core[0] << 24 | variant << 20 | 0xF << 16 | core[1] << 4 | revision
    target = EmulatedTarget("x", "max", "A board: with colon", cores, ("fp", "asimd"), midr, 1 << 30, 1 << 29)
    processors, fields, names = parse_cpuinfo(cpuinfo(target))
    assert processors == cores
    assert names == (ARM_CORES[core],)
    assert fields["Features"] == "fp asimd"
    assert int(fields["CPU variant"], 16) == variant
    assert int(fields["CPU revision"]) == revision
    assert fields["Model"] == "A board: with colon"


def test_what_is_no_target(tmp_path: Path) -> None:
    """If it fails, a wrong file ends in a traceback."""
    for name, text in {
        "a.yaml": "emulated: {emulator: chromium}\n",
        "b.yaml": "[1, 2]\n",
        "c.yaml": "a: [\n",
        "d.yaml": "emulated: {emulator: qemu-aarch64}\nname: d\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(SpecError):
            read_target(tmp_path / name)
    with pytest.raises(SpecError, match="is not known"):
        read_target(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(("core", "features"), [("cortex-a72", ("asimddp",)), ("cortex-x9", ("asimd",))])
def test_a_core_cannot_have_what_it_has_not(core: str, features: tuple[str, ...]) -> None:
    """If it fails, an emulated board claims an instruction that its CPU does not execute."""
    with pytest.raises(EdgeError):
        describe_target("x", cpu=core, emulated_cpu=core, cores=1, features=features, memory_bytes=1)
