"""What a device says of itself, from fake trees of real devices and from this machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device.facts import (
    DeviceFacts,
    arm_core,
    cpu_governor,
    device_class_of,
    load_average,
    local_facts,
    parse_cpuinfo,
    slug,
    x86_model,
)
from edge.errors import BundleError

PI5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

processor\t: 1
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: c04170
Serial\t\t: 0000000000000000
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
PHONE = """processor\t: 0
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd80
processor\t: 1
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd81
processor\t: 2
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x99
CPU part\t: 0x001
"""
XEON = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu avx2 avx512f avx2
"""


def tree(root: Path, cpuinfo: str, **files: str) -> Path:
    contents = {
        "proc/cpuinfo": cpuinfo,
        "proc/meminfo": "MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable:  6000000 kB\n",
        "proc/sys/kernel/osrelease": "6.6.31-test\n",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Test Linux 12"\n',
    } | {name.replace("__", "/").replace("_DOT_", "."): text for name, text in files.items()}
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_raspberry_pi(tmp_path: Path) -> None:
    """If it fails, a Pi is not known by its board, or its missing instructions are not seen."""
    facts = local_facts(tree(tmp_path, PI5), arch="aarch64")
    assert facts.device_class == "aarch64-raspberry-pi-5-model-b"
    assert facts.cpu_model == "Cortex-A76"
    assert facts.logical_cpus == 2
    assert "asimddp" in facts.isa_features
    assert facts.memory_total_bytes == 8_000_000 * 1024
    assert facts.memory_available_bytes == 6_000_000 * 1024
    assert (facts.os, facts.kernel) == ("Test Linux 12", "6.6.31-test")


def test_jetson_by_its_device_tree(tmp_path: Path) -> None:
    """If it fails, boards are told apart by their CPU only; the kernel's NUL byte is in the name."""
    root = tree(tmp_path, PHONE)
    (root / "proc/device-tree").mkdir()
    (root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    facts = local_facts(root, arch="arm64")
    assert facts.arch == "aarch64"
    assert facts.device_class == "aarch64-nvidia-jetson-orin-nano-developer-kit"


def test_phone_with_three_kinds_of_cores(tmp_path: Path) -> None:
    """If it fails, a device class depends on which core the kernel lists last."""
    facts = local_facts(tree(tmp_path, PHONE), arch="aarch64")
    assert facts.cpu_model == "Cortex-A520 + Cortex-A720 + Arm 0x99-0x001"
    assert facts.logical_cpus == 3


def test_x86_names() -> None:
    """If it fails, two generations behind one virtual name share an attestation."""
    processors, cpu, cores = parse_cpuinfo(XEON)
    assert (processors, cores) == (1, ())
    assert x86_model(cpu) == "Intel Xeon Processor family 6 model 143"
    named = cpu | {"model name": "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz"}
    assert x86_model(named) == "Intel Core i7-8650U"
    assert device_class_of("x86_64", x86_model(named), "") == "x86_64-intel-core-i7-8650u"


def test_control_group_limits_memory(tmp_path: Path) -> None:
    """If it fails, a container believes it has the memory of its host."""
    root = tree(
        tmp_path,
        XEON,
        sys__fs__cgroup__memory_DOT_max="1000000000\n",
        sys__fs__cgroup__memory_DOT_current="400000000\n",
    )
    facts = local_facts(root)
    assert (facts.memory_total_bytes, facts.memory_available_bytes) == (1_000_000_000, 600_000_000)
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert local_facts(root).memory_total_bytes == 8_000_000 * 1024


def test_an_empty_tree_still_gives_facts(tmp_path: Path) -> None:
    """If it fails, a system without /proc ends in a traceback."""
    facts = local_facts(tmp_path, arch="riscv64")
    assert (facts.device_class, facts.logical_cpus, facts.memory_total_bytes) == ("riscv64-riscv64", 1, 0)
    assert load_average(tmp_path) is None
    assert cpu_governor(tmp_path) is None
    assert arm_core("", "0xd0b") == "Arm"


def test_this_machine() -> None:
    """If it fails, the real /proc is read wrongly."""
    facts = local_facts()
    assert facts.logical_cpus >= 1
    assert 0 < facts.memory_available_bytes <= facts.memory_total_bytes
    assert facts.isa_features
    assert facts == DeviceFacts.from_json(facts.to_json())
    assert load_average() is not None


def test_governors(tmp_path: Path) -> None:
    """If it fails, one CPU on powersave among fast ones is not seen."""
    for cpu, name in enumerate(["performance", "powersave", "performance"]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    assert cpu_governor(tmp_path) == "performance+powersave"


@pytest.mark.parametrize("change", [{"more": 1}, {"arch": None}])
def test_other_facts_are_refused(change: dict[str, object]) -> None:
    """If it fails, facts of a newer edge are half understood."""
    value = local_facts().to_json() | change
    if change == {"arch": None}:
        del value["arch"]
    with pytest.raises(BundleError, match="device facts"):
        DeviceFacts.from_json(value)


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_device_class_is_always_a_slug(cpu: str, board: str) -> None:
    """If it fails, an attestation's file name can hold anything that a board calls itself."""
    name = device_class_of("x86_64", cpu, board)
    assert name.startswith("x86_64")
    assert set(name.removeprefix("x86_64")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug(slug(cpu)) == slug(cpu)
