"""A target: the device a bundle is made for, in the numbers that decide whether it runs there and how fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.errors import SpecError
from edge.specs.yaml_source import Spec, fault, listed, shown, validate_with_positions

Arch = Literal["x86_64", "aarch64", "wasm32"]
LEVELS: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86-64-v2", "x86-64-v3", "x86-64-v4"),
    "aarch64": ("armv8.0-a", "armv8.2-a", "armv8.6-a", "armv9.0-a"),
    "wasm32": ("wasm-1.0", "wasm-2.0", "wasm-3.0"),
}
# As the kernel spells them in /proc/cpuinfo, so that a device can be asked.
FEATURES: dict[str, tuple[str, ...]] = {
    "x86_64": (
        "sse4_2",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avx_vnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512_vnni",
        "avx512_bf16",
        "amx_int8",
    ),
    "aarch64": (
        "asimd",
        "aes",
        "crc32",
        "atomics",
        "asimdhp",
        "asimddp",
        "i8mm",
        "bf16",
        "sve",
        "sve2",
    ),
    "wasm32": ("simd128", "relaxed-simd", "threads"),
}
Reach = Literal["local", "ssh", "adb", "browser"]
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

Text = Annotated[str, Field(min_length=1)]


def checked_name(name: str) -> str:
    """A name that is safe as a file and folder name on every system. Errors: a validation error."""
    if not NAME.fullmatch(name):
        raise fault("", f"{shown(name)} must be up to 64 lower-case letters, digits, '.', '_' and '-'")
    return name


class Isa(Spec):
    """The instruction set that code for this target may use. features: a device without one of them is refused.

    Both are checked against LEVELS and FEATURES of the architecture.
    """

    level: str
    features: tuple[str, ...]


class Accelerator(Spec):
    """A processor beside the CPU. Listed for the engineer; the CPU provider does not use it."""

    kind: Literal["gpu", "npu", "dla", "webgpu"]
    name: Text


class SensorSpec(Spec):
    """What can be measured on the device, and where it is read."""

    kind: Literal["energy", "temperature", "frequency", "battery", "throttling"]
    source: Text


class Emulation(Spec):
    """How the target is stood in for where there is none. cpu: as the emulator names it."""

    emulator: Literal["qemu-aarch64", "chromium"]
    cpu: str | None = None
    differs: Text  # what the stand-in cannot show


class Source(Spec):
    """Where a number of this file comes from. claim: the key it is about; a guess starts with `estimate:`."""

    claim: Text
    citation: Text


class Panel(Spec):
    """The screen that the bedside app draws on. size_px: width and height as it is mounted."""

    dpi: float = Field(ge=60, le=800)
    size_px: tuple[int, int]

    @field_validator("size_px")
    @classmethod
    def _size(cls, size: tuple[int, int]) -> tuple[int, int]:
        if not all(320 <= side <= 8192 for side in size):
            raise fault("", "a panel has 320 to 8192 pixels a side")
        return size


class Target(Spec):
    """A device class.

    memory_reserved_bytes: operating system and desktop; what is left may be used by the kit and its screen.
    memory_bandwidth_bytes_per_s: read bandwidth that a program can reach, or the data sheet's where the
    sources say so. compute_flops_per_s: what the CPU kernels reach in prefill (2 operations for a weight and
    token), null when nobody has measured it. screen: the bedside app runs here; panel: on this screen.
    """

    version: Literal[1]
    name: str
    description: Text
    arch: Arch
    cpu: Text
    cores: int = Field(ge=1, le=1024)
    isa: Isa
    os: Literal["linux", "android", "browser"]
    memory_bytes: int = Field(gt=0)
    memory_reserved_bytes: int = Field(ge=0)
    memory_bandwidth_bytes_per_s: float = Field(gt=0)
    compute_flops_per_s: float | None = Field(default=None, gt=0)
    screen: bool = False
    panel: Panel | None = None
    accelerators: tuple[Accelerator, ...] = ()
    sensors: tuple[SensorSpec, ...] = ()
    reach: Reach
    emulated: Emulation | None = None
    providers: tuple[Literal["CPUExecutionProvider"], ...] = Field(min_length=1)
    sources: tuple[Source, ...] = Field(min_length=1)

    _name = field_validator("name")(checked_name)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        levels, features = LEVELS[self.arch], FEATURES[self.arch]
        if self.isa.level not in levels:
            raise fault(
                "isa.level", f"{shown(self.isa.level)} is not allowed for {self.arch} {listed(self.isa.level, levels)}"
            )
        for index, feature in enumerate(self.isa.features):
            if feature not in features:
                raise fault(
                    f"isa.features.{index}",
                    f"{shown(feature)} is not allowed for {self.arch} {listed(feature, features)}",
                )
        if len(set(self.isa.features)) != len(self.isa.features):
            raise fault("isa.features", "a feature is listed twice")
        if self.memory_reserved_bytes >= self.memory_bytes:
            raise fault("memory_reserved_bytes", f"must be less than memory_bytes ({self.memory_bytes})")
        if (self.os == "browser") != (self.arch == "wasm32") or (self.os == "browser") != (self.reach == "browser"):
            raise fault("os", "os: browser, arch: wasm32 and reach: browser go together")
        return self

    @property
    def available_bytes(self) -> int:
        """Memory that the kit may use."""
        return self.memory_bytes - self.memory_reserved_bytes

    def resolved(self) -> dict[str, Any]:
        """Plain JSON types with every default filled in; the same on every host."""
        return self.model_dump(mode="json")


def target_names(folder: Path) -> list[str]:
    """Names of the targets in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []


def load_target(name_or_path: str | Path, *, folder: Path | None = None) -> Target:
    """Read a target by its name in `folder` (default: `targets/` here) or by the path of its file.

    Errors: SpecError for a file that is wrong or a name that is not there (with the known ones).
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        return _load_file(Path(name_or_path))
    folder = folder or Path("targets")
    path = folder / f"{text}.yaml"
    if not NAME.fullmatch(text) or not path.exists():
        known = target_names(folder)
        raise SpecError(
            f"target '{text[:40]}' is not known {listed(text, known, 'known')}"
            if known
            else f"target '{text[:40]}' is not known: there are no targets in {folder}",
            mend="name a file of targets/, without .yaml",
        )
    return _load_file(path)


def _load_file(path: Path) -> Target:
    target, positions = validate_with_positions(Target, path)
    if target.name != path.stem:
        raise SpecError(
            f"key 'name': '{target.name}' differs from the file's name '{path.stem}'",
            where=positions.where(("name",)),
            mend="give both the same name, so that a profile finds it",
        )
    return target
