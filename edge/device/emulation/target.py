"""What a board says of itself, as the files of /proc and /sys that its programs read.

A wrong or missing file here is not cosmetic: onnxruntime reads the CPUs from /sys and crashes when it finds those
of an x86 host. Files that would show the host's own sensors are there and empty, so that nobody takes the host's
temperature, clock or power for the board's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge.errors import SpecError

EMULATOR = "qemu-aarch64"
# What Linux lists for the cores of our targets. Of the Cortex-A78AE only what the emulator's stand-in has too:
# a program that trusts this list must not meet an illegal instruction.
ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
CORE_FEATURES = {
    "cortex-a53": "fp asimd evtstrm crc32 cpuid",
    "cortex-a72": "fp asimd evtstrm crc32 cpuid",
    "cortex-a76": ARMV8_2,
    "cortex-a78ae": ARMV8_2,
    "neoverse-n1": ARMV8_2,
}
# MIDR_EL1: implementer, variant, architecture, part, revision of the core as the board has it.
CORE_MIDR = {
    "cortex-a53": 0x410FD034,
    "cortex-a72": 0x410FD083,
    "cortex-a76": 0x414FD0B1,
    "cortex-a78ae": 0x410FD421,
    "neoverse-n1": 0x413FD0C1,
}
# /proc/device-tree/model; a target that is not here shows its description.
BOARDS = {
    "raspberry-pi-4": "Raspberry Pi 4 Model B Rev 1.4",
    "raspberry-pi-5": "Raspberry Pi 5 Model B Rev 1.0",
    "jetson-orin-nano": "NVIDIA Jetson Orin Nano Developer Kit",
    "jetson-agx-orin": "NVIDIA Jetson AGX Orin Developer Kit",
}


@dataclass(frozen=True)
class EmulatedTarget:
    """A board to be stood in for.

    name: of its target; cpu: as the emulator names it; board_model: as /proc/device-tree/model; features: as
    /proc/cpuinfo lists them; midr: MIDR_EL1 of its cores; memory_bytes: all, available_bytes: what its system
    leaves; stands_for: the board's own core where the emulator has it not.
    """

    name: str
    cpu: str
    board_model: str
    cores: int
    features: tuple[str, ...]
    midr: int
    memory_bytes: int
    available_bytes: int
    stands_for: str = ""


def describe_target(
    name: str,
    *,
    cpu: str,
    emulated_cpu: str,
    cores: int,
    features: tuple[str, ...],
    memory_bytes: int,
    memory_reserved_bytes: int = 0,
    board_model: str = "",
) -> EmulatedTarget:
    """An EmulatedTarget from the values of a target file; features, MIDR and board name come from the tables here.

    features: `isa.features`; all of them must be ones of the core. Errors: SpecError.
    """
    core = cpu if cpu in CORE_FEATURES else emulated_cpu
    if core not in CORE_FEATURES:
        raise SpecError(f"nothing is known of the core '{cpu}'", where=name, mend=f"known: {', '.join(CORE_FEATURES)}")
    known = tuple(CORE_FEATURES[core].split())
    lacking = sorted(set(features) - set(known))
    if lacking:
        raise SpecError(f"a {core} has no {', '.join(lacking)}", where=name, mend="correct isa.features of the target")
    return EmulatedTarget(
        name=name,
        cpu=emulated_cpu,
        board_model=board_model or BOARDS.get(name, name),
        cores=cores,
        features=known,
        midr=CORE_MIDR[core],
        memory_bytes=memory_bytes,
        available_bytes=memory_bytes - memory_reserved_bytes,
        stands_for="" if core == emulated_cpu else cpu,
    )


def read_target(path: Path) -> EmulatedTarget:
    """The values of a target file that emulation needs; edge.specs.target checks the rest of it.

    Errors: SpecError for a file that cannot be read, lacks a key, or is of a target without this emulator.
    """
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        emulated: Mapping[str, Any] = value.get("emulated") or {}
        if emulated.get("emulator") != EMULATOR:
            raise SpecError(f"is not emulated by {EMULATOR}", where=str(path), mend="choose another target")
        return describe_target(
            str(value["name"]),
            cpu=str(value["cpu"]),
            emulated_cpu=str(emulated["cpu"]),
            cores=int(value["cores"]),
            features=tuple(str(name) for name in value["isa"]["features"]),
            memory_bytes=int(value["memory_bytes"]),
            memory_reserved_bytes=int(value["memory_reserved_bytes"]),
        )
    except OSError as error:
        raise SpecError(
            f"target '{path.stem[:40]}' is not known", where=str(path), mend="name a file of targets/, without .yaml"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError("is not a target file", where=str(path), mend="see docs/targets.md") from error


def cpuinfo(target: EmulatedTarget) -> str:
    """/proc/cpuinfo in Arm's format."""
    midr = target.midr
    core = (
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {' '.join(target.features)}\n"
        f"CPU implementer\t: {midr >> 24 & 0xFF:#04x}\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: {midr >> 20 & 0xF:#x}\n"
        f"CPU part\t: {midr >> 4 & 0xFFF:#05x}\n"
        f"CPU revision\t: {midr & 0xF}\n\n"
    )
    processors = "".join(f"processor\t: {number}\n{core}" for number in range(target.cores))
    return f"{processors}Model\t\t: {target.board_model}\n"


def board_files(target: EmulatedTarget, os_name: str) -> dict[str, str]:
    """Path inside the prefix -> text. os_name: PRETTY_NAME of the system whose python runs there."""
    cpus = f"0-{target.cores - 1}\n" if target.cores > 1 else "0\n"
    memory = {
        "MemTotal": target.memory_bytes,
        "MemFree": target.available_bytes,
        "MemAvailable": target.available_bytes,
    }
    files = {
        "proc/cpuinfo": cpuinfo(target),
        "proc/meminfo": "".join(f"{name + ':':<16}{size // 1024:>8} kB\n" for name, size in memory.items()),
        "proc/device-tree/model": f"{target.board_model}\0",
        "etc/os-release": f'PRETTY_NAME="{os_name}"\n',
        "sys/fs/cgroup/memory.max": "max\n",  # the host's limit is not the board's memory
        "sys/devices/system/cpu/possible": cpus,
        "sys/devices/system/cpu/present": cpus,
        "sys/devices/system/cpu/online": cpus,
        "sys/devices/system/cpu/kernel_max": "255\n",
        "sys/devices/system/cpu/smt/active": "0\n",
    }
    everyone, package = cpus, f"{(1 << target.cores) - 1:x}\n"
    for number in range(target.cores):
        cpu = f"sys/devices/system/cpu/cpu{number}"
        files |= {
            f"{cpu}/online": "1\n",
            f"{cpu}/topology/core_id": f"{number}\n",
            f"{cpu}/topology/physical_package_id": "0\n",
            f"{cpu}/topology/cluster_id": "0\n",
            f"{cpu}/topology/core_siblings": package,
            f"{cpu}/topology/core_siblings_list": everyone,
            f"{cpu}/topology/package_cpus_list": everyone,
            f"{cpu}/topology/thread_siblings": f"{1 << number:x}\n",
            f"{cpu}/topology/thread_siblings_list": f"{number}\n",
            f"{cpu}/topology/core_cpus_list": f"{number}\n",
            f"{cpu}/regs/identification/midr_el1": f"{target.midr:#018x}\n",
            # The board has these, but nobody measured them here: empty, so that they read as "no sensor".
            f"{cpu}/cpufreq/scaling_cur_freq": "",
            f"{cpu}/cpufreq/scaling_governor": "",
        }
    return files


# Empty folders that hide those of the host: its thermal zones, energy counters, batteries.
HIDDEN = (
    "sys/bus/i2c/drivers/ina3221",
    "sys/class/hwmon",
    "sys/class/power_supply",
    "sys/class/powercap",
    "sys/class/thermal",
    "sys/devices/virtual/powercap",
    "sys/devices/virtual/thermal",
)


def write_board(prefix: Path, target: EmulatedTarget, os_name: str) -> None:
    """Write the board's files below `prefix`. Errors: OSError."""
    for folder in HIDDEN:
        (prefix / folder).mkdir(parents=True, exist_ok=True)
    for name, text in board_files(target, os_name).items():
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a hard link of the shared base
        path.write_text(text, encoding="utf-8")
