"""What this device is: architecture, CPU, instruction sets, memory, operating system.

Everything is read below an injectable `root`, so that a fake tree (or the prefix of an emulated device) can
stand in for `/`. Two devices that should give the same speed and the same numbers share a `device_class`, and
a signed result of one counts for the other.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge.errors import BundleError

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}

# MIDR implementer and part numbers of the cores in our targets and their usual neighbours (Arm does not put a
# name into /proc/cpuinfo). A core that is not listed shows its numbers instead.
ARM_CORES = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x4E, 0x004): "NVIDIA Carmel",
}


@dataclass(frozen=True)
class DeviceFacts:
    """One device as it describes itself.

    arch: "x86_64", "aarch64", ...; isa_features as the kernel spells them, sorted; memory in bytes, the total
    lowered to the control group's limit where there is one; device_class: a slug, stable over reboots and
    kernels; board: the maker's name of a single-board computer, "" elsewhere.
    """

    arch: str
    cpu_model: str
    board: str
    isa_features: tuple[str, ...]
    logical_cpus: int
    memory_total_bytes: int
    memory_available_bytes: int
    os: str
    kernel: str
    device_class: str
    python_version: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, for results and attestations."""
        return asdict(self) | {"isa_features": list(self.isa_features)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DeviceFacts:
        """Inverse of to_json. Errors: BundleError when a key is missing or unknown."""
        names = {field.name for field in fields(DeviceFacts)}
        if set(value) != names:
            odd = ", ".join(sorted(set(value) ^ names))
            raise BundleError(f"device facts have missing or unknown keys ({odd})", mend="measure again")
        return DeviceFacts(**(dict(value) | {"isa_features": tuple(value["isa_features"])}))


def read_text(path: Path) -> str | None:
    """A small file of /proc or /sys, stripped of blanks and NULs; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except (OSError, ValueError):
        return None


def read_int(path: Path) -> int | None:
    """An integer file of /proc or /sys; None where it is absent, unreadable or not a number."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def parse_cpuinfo(text: str) -> tuple[int, dict[str, str], tuple[str, ...]]:
    """Read /proc/cpuinfo of x86 or Arm.

    Returns the number of processors, the fields of the last processor (with board-wide ones such as "Model"),
    and the part names of all Arm cores in the order met (a phone has two or three kinds).
    """
    processors = 0
    seen: dict[str, str] = {}
    cores: list[str] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            continue
        key, value = key.strip(), value.strip()
        seen[key] = value
        if key == "processor":
            processors += 1
        elif key == "CPU part":
            core = arm_core(seen.get("CPU implementer", ""), value)
            if core not in cores:
                cores.append(core)
    return processors, seen, tuple(cores)


def arm_core(implementer: str, part: str) -> str:
    """The name of an Arm core from its two numbers as /proc/cpuinfo writes them ("0x41", "0xd0b")."""
    try:
        numbers = int(implementer, 16), int(part, 16)
    except ValueError:
        return "Arm"
    return ARM_CORES.get(numbers, f"Arm {numbers[0]:#04x}-{numbers[1]:#05x}")


def x86_model(cpu: Mapping[str, str]) -> str:
    """The brand of an x86 CPU without its clock and marks.

    A virtual machine often hides the model ("Intel Xeon Processor"): family and model numbers are then added,
    because generations with other instruction sets must not share one device class.
    """
    name = re.sub(r"\((R|TM|r|tm)\)", "", cpu.get("model name", "x86"))
    name = re.sub(r"\s*(CPU\s*)?@.*$", "", name)
    name = " ".join(name.split())
    if not re.search(r"\d", name) and "model" in cpu:
        name = f"{name} family {cpu.get('cpu family', '?')} model {cpu['model']}"
    return name


def slug(text: str) -> str:
    """Lower case words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def device_class_of(arch: str, cpu_model: str, board: str) -> str:
    """The slug of a device class: the board where it has a name (without its revision), else the CPU."""
    name = re.sub(r"\s+rev(ision)?\b.*$", "", board, flags=re.IGNORECASE) or cpu_model
    return f"{arch}-{slug(name)}" if slug(name) else arch


def _memory_bytes(root: Path) -> tuple[int, int]:
    """Total and available bytes, each at most what the control group allows."""
    total = available = 0
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        number = value.split()[0] if value.split() else ""
        if key == "MemTotal" and number.isdigit():
            total = int(number) * 1024
        elif key == "MemAvailable" and number.isdigit():
            available = int(number) * 1024
    limit = read_int(root / "sys/fs/cgroup/memory.max")
    if limit is not None and 0 < limit < total:
        used = read_int(root / "sys/fs/cgroup/memory.current") or 0
        total, available = limit, min(available, max(0, limit - used))
    return total, available


def _os_name(root: Path) -> str:
    for line in (read_text(root / "etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return platform.system()


def local_facts(root: Path = Path("/"), *, arch: str | None = None) -> DeviceFacts:
    """Describe the device whose file system is at `root`.

    arch: defaults to that of the running interpreter (under qemu-user, that of the emulated CPU).
    """
    machine = (arch or platform.machine()).lower()
    machine = ARCHITECTURES.get(machine, machine)
    processors, cpu, cores = parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")
    board = read_text(root / "proc/device-tree/model") or (cpu.get("Model", "") if cores else "")
    if cores:
        model = " + ".join(cores)
    elif "model name" in cpu:
        model = x86_model(cpu)
    else:
        model = machine
    features = cpu.get("flags") or cpu.get("Features") or ""
    total, available = _memory_bytes(root)
    return DeviceFacts(
        arch=machine,
        cpu_model=model,
        board=board,
        isa_features=tuple(sorted(set(features.split()))),
        logical_cpus=max(1, processors),
        memory_total_bytes=total,
        memory_available_bytes=available,
        os=_os_name(root),
        kernel=read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        device_class=device_class_of(machine, model, board),
        python_version=platform.python_version(),
    )


def load_average(root: Path = Path("/")) -> tuple[float, float, float] | None:
    """The 1, 5 and 15 minute load of the host; None where it is not told."""
    parts = (read_text(root / "proc/loadavg") or "").split()[:3]
    try:
        one, five, fifteen = (float(part) for part in parts)
    except ValueError:
        return None
    return one, five, fifteen


def cpu_governor(root: Path = Path("/")) -> str | None:
    """The frequency governor(s) of the CPUs, e.g. "performance"; None where there is no cpufreq."""
    names = {
        text
        for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
        if (text := read_text(path))
    }
    return "+".join(sorted(names)) or None
