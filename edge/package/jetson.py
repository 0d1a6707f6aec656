"""CPU or GPU on a Jetson: which execution providers a bundle may use there, and why not the others. Pure functions.

Rules. (1) The CPU's int4 kernels are always there and are the answer whenever a GPU wheel does not fit. (2) A GPU wheel
must hold code for the board's GPU (Orin: sm_87), be for the board's CUDA and for the Python that runs edge, and be the
very version of ONNX Runtime that the bundle was verified with: it is part of the behaviour digest. (3) TensorRT is
offered only for a graph of standard operators; quantised bundles use ONNX Runtime's own (MatMulNBits,
GroupQueryAttention), of which TensorRT takes none. (4) A compiled TensorRT engine is good for one JetPack, one
TensorRT, one GPU and one bundle; when one of them changes it is deleted, never tried.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from edge.errors import InputError, SourceError, SpecError
from edge.files import resource_error, write_atomic

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ORIN_SM = 87
EDGE_PYTHON = (3, 11)
# Schemes whose graphs hold only operators of the ONNX standard.
STANDARD_SCHEMES = ("none",)
KEY_FILE = "key.json"
_RELEASE = re.compile(r"#\s*R(\d{1,3})\s*\(release\),\s*REVISION:\s*(\d{1,3}(?:\.\d{1,3})?)\b")
_PACKAGE = re.compile(r"(?m)^Version:\s*(\d{1,3}(?:\.\d{1,3}){1,3})(?:[-+~][\w.+~-]*)?\s*$")
_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([0-9][A-Za-z0-9.!+]*)(?:-\d\w*)?-([a-z0-9.]+)-([a-z0-9_.]+)-([a-z0-9_.]+)\.whl")
Version = tuple[int, ...]


def version(text: str) -> Version:
    """ "36.4.3" as (36, 4, 3). Errors: InputError."""
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,3}", text.strip()):
        raise InputError(f"{text[:20]!r} is no version", mend="write it as 6.2 or 36.4.3")
    return tuple(int(part) for part in text.strip().split("."))


def _padded(value: Version) -> Version:
    return (*value, 0, 0, 0, 0)[:4]


def parse_tegra_release(text: str) -> Version:
    """L4T release of /etc/nv_tegra_release, as (36, 4, 3). Errors: InputError for another text."""
    found = _RELEASE.search(text)
    if not found:
        raise InputError("is not the text of /etc/nv_tegra_release", mend="copy its first line from the board")
    return version(f"{found[1]}.{found[2]}")


def parse_jetpack_package(text: str) -> Version:
    """JetPack of `apt-cache show nvidia-jetpack` or `dpkg --status`; the newest where several are listed.

    Errors: InputError for a text without one.
    """
    found = [version(one) for one in _PACKAGE.findall(text)] if "nvidia-jetpack" in text else []
    if not found:
        raise InputError("names no version of nvidia-jetpack", mend="give `apt-cache show nvidia-jetpack` of the board")
    return max(found, key=_padded)


@dataclass(frozen=True)
class JetPack:
    """A release of NVIDIA's software for Jetson. python: of its Ubuntu, major and minor."""

    l4t: Version
    jetpack: Version
    ubuntu: str
    python: Version
    cuda: Version

    @property
    def words(self) -> str:
        """For a person."""
        return f"JetPack {_dotted(self.jetpack)} (L4T {_dotted(self.l4t)})"


@dataclass(frozen=True)
class Wheel:
    """A GPU wheel of ONNX Runtime. jetpack: the major release it is made for, None for none; sm: GPU code in it."""

    file: str
    release: str
    python: Version
    arch: str
    cuda: Version
    sm: tuple[int, ...]
    jetpack: Version | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Table:
    """What is known: jetson.yaml."""

    jetpacks: tuple[JetPack, ...]
    wheels: tuple[Wheel, ...]


@dataclass(frozen=True)
class BundleNeeds:
    """What a bundle asks of its engine: engine and version as its manifest names them, quantisation scheme."""

    engine: str
    onnxruntime: str
    scheme: str
    bundle_digest: str

    @staticmethod
    def of(manifest: Mapping[str, Any], bundle_digest: str) -> BundleNeeds:
        """From `manifest.runtime` and `manifest.quantisation`."""
        runtime, quantisation = manifest["runtime"], manifest["quantisation"]
        return BundleNeeds(
            str(runtime.get("engine", "")), str(runtime.get("onnxruntime", "")), str(quantisation.get("scheme", "")),
            bundle_digest,
        )  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What runs the bundle. wheel: the GPU wheel's file, "" on the CPU; reasons: one line against each other choice."""

    providers: tuple[str, ...]
    wheel: str = ""
    reasons: tuple[str, ...] = ()
    jetpack: str = ""
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """providers.json: plain JSON types."""
        return {"version": 1} | asdict(self) | {"providers": list(self.providers), "reasons": list(self.reasons)}


def _dotted(value: Version) -> str:
    return ".".join(map(str, value))


def load_table(text: str | None = None) -> Table:
    """jetson.yaml, or another text of its form. Errors: SpecError."""
    where = "jetson.yaml"
    try:
        value = yaml.safe_load(files("edge.package").joinpath(where).read_text("utf-8") if text is None else text)
        if value.get("version") != 1:
            raise SpecError("is of a version that this edge does not know", where=where, mend="update edge")
        jetpacks = tuple(
            JetPack(
                ubuntu=str(row["ubuntu"]),
                **{key: version(str(row[key])) for key in ("l4t", "jetpack", "python", "cuda")},
            )
            for row in value["jetpacks"]
        )
        wheels = tuple(_row(row) for row in value["wheels"])
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError, InputError) as error:
        raise SpecError("is not a table of JetPacks and wheels", where=where, mend="restore it") from error
    return Table(tuple(sorted(jetpacks, key=lambda one: _padded(one.l4t), reverse=True)), wheels)


def _row(row: Mapping[str, Any]) -> Wheel:
    pattern = str(row["file"])
    named = None if "*" in pattern else wheel_of(pattern, cuda=str(row["cuda"]), sm=row["sm"])
    jetpack = None if row["jetpack"] is None else version(str(row["jetpack"]))
    sm, cuda = tuple(int(one) for one in row["sm"]), version(str(row["cuda"]))
    if named is None:
        return Wheel(pattern, "", (), "aarch64", cuda, sm, jetpack, row["sha256"])
    return Wheel(named.file, named.release, named.python, named.arch, cuda, sm, jetpack, row["sha256"])


def wheel_of(file: str, *, cuda: str, sm: Sequence[int]) -> Wheel:
    """A wheel by its file name (PEP 427). Errors: SourceError for one that is none of ONNX Runtime for a GPU."""
    found = _WHEEL.fullmatch(file)
    python = re.fullmatch(r"cp(\d)(\d{1,2})", found[3]) if found else None
    if not found or python is None or found[1].lower() not in ("onnxruntime_gpu", "onnxruntime.gpu"):
        raise SourceError("is no wheel of onnxruntime-gpu", where=file[:120], mend="give the file as it was fetched")
    arch = next((one for one in ("aarch64", "x86_64") if found[5].endswith(one)), found[5])
    levels = tuple(sorted(int(one) for one in sm))
    return Wheel(file, found[2], (int(python[1]), int(python[2])), arch, version(cuda), levels)


def jetpack_for(l4t: Version, table: Table) -> JetPack:
    """The JetPack of a board. A point release that is not listed counts as the newest listed one before it.

    Errors: InputError for a release that nothing is known of.
    """
    fitting = [one for one in table.jetpacks if one.l4t[0] == l4t[0] and _padded(one.l4t) <= _padded(l4t)]
    if not fitting:
        known = ", ".join(_dotted(one.l4t) for one in table.jetpacks)
        raise InputError(
            f"Jetson Linux {_dotted(l4t)} is not known (known: {known})",
            mend="use the CPU, or add it to edge/package/jetson.yaml with a source",
        )
    return fitting[0]


def jetpack_named(text: str, table: Table) -> JetPack:
    """A JetPack from what an engineer has: "6.2", the text of /etc/nv_tegra_release, or of apt-cache.

    Errors: InputError.
    """
    if "REVISION" in text:
        return jetpack_for(parse_tegra_release(text), table)
    wanted = parse_jetpack_package(text) if "nvidia-jetpack" in text else version(text)
    for one in table.jetpacks:
        if _padded(one.jetpack) <= _padded(wanted) and one.jetpack[0] == wanted[0]:
            return one
    known = ", ".join(_dotted(one.jetpack) for one in table.jetpacks)
    raise InputError(f"JetPack {_dotted(wanted)} is not known (known: {known})", mend="use the CPU, or add it")


def refusals(wheel: Wheel, jetpack: JetPack, needs: BundleNeeds, *, sm: int = ORIN_SM) -> tuple[str, ...]:
    """Why a wheel cannot run a bundle on a board, one line each; empty when it can."""
    why = []
    if sm not in wheel.sm:
        why.append(f"it holds GPU code for sm_{', sm_'.join(map(str, wheel.sm)) or 'nothing'}, the board is sm_{sm}")
    if wheel.arch != "aarch64":
        why.append(f"it is for {wheel.arch}")
    if wheel.jetpack is not None and wheel.jetpack[0] != jetpack.jetpack[0]:
        why.append(f"it is for JetPack {_dotted(wheel.jetpack)}, the board has {jetpack.words}")
    if wheel.cuda[:1] != jetpack.cuda[:1] or wheel.cuda[1:2] > jetpack.cuda[1:2]:
        why.append(f"it needs CUDA {_dotted(wheel.cuda)}, {jetpack.words} brings {_dotted(jetpack.cuda)}")
    if wheel.python and wheel.python < EDGE_PYTHON:
        why.append(f"it is for Python {_dotted(wheel.python)}, edge needs {_dotted(EDGE_PYTHON)}")
    if wheel.release and wheel.release != needs.onnxruntime:
        why.append(f"it is ONNX Runtime {wheel.release}, the bundle was made and verified with {needs.onnxruntime}")
    return tuple(why)


def choose(
    jetpack: JetPack, needs: BundleNeeds, table: Table, *, own: Sequence[Wheel] = (), sm: int = ORIN_SM
) -> Choice:
    """The providers for a bundle on a board, best first, and why what is better was not chosen.

    own: wheels that the engineer has; they are looked at before those of the table.
    """
    cpu = Choice((CPU,), jetpack=_dotted(jetpack.jetpack))
    if needs.engine != "onnxruntime":
        why = f"engine {needs.engine or 'unknown'}: has no GPU providers of ONNX Runtime"
        return Choice(cpu.providers, reasons=(why,), jetpack=cpu.jetpack)
    reasons: list[str] = []
    for wheel in (*own, *table.wheels):
        why_not = refusals(wheel, jetpack, needs, sm=sm)
        if not why_not:
            return _on_gpu(wheel, jetpack, needs, reasons)
        reasons.append(f"{wheel.file}: {'; '.join(why_not)}")
    return Choice(cpu.providers, reasons=tuple(reasons), jetpack=cpu.jetpack)


def _on_gpu(wheel: Wheel, jetpack: JetPack, needs: BundleNeeds, reasons: Sequence[str]) -> Choice:
    tensorrt = needs.scheme in STANDARD_SCHEMES
    more = () if tensorrt else (f"TensorRT: takes none of the operators of a bundle quantised as {needs.scheme}",)
    return Choice(
        ((TENSORRT,) if tensorrt else ()) + (CUDA, CPU),
        wheel=wheel.file,
        reasons=(*reasons, *more),
        jetpack=_dotted(jetpack.jetpack),
        options={TENSORRT: {"trt_engine_cache_enable": "1"}} if tensorrt else {},
    )


def matches(file: str, table: Table) -> Wheel | None:
    """The row of the table that a file name is of."""
    return next((wheel for wheel in table.wheels if fnmatch.fnmatchcase(file, wheel.file)), None)


@dataclass(frozen=True)
class EngineKey:
    """What a compiled TensorRT engine depends on. gpu: as the driver names it, with its sm level."""

    l4t: str
    tensorrt: str
    gpu: str
    bundle_digest: str

    def folder_name(self) -> str:
        """Another folder for another key."""
        return "trt-" + hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]


def engine_cache(parent: Path, key: EngineKey) -> Path:
    """The folder for engines of this key below `parent`; engines of any other key of this bundle are deleted.

    A folder without a whole key file is of a killed run: its engines may be cut short, so it is deleted too.
    Errors: ResourceError.
    """
    place = parent / key.folder_name()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for folder in sorted(parent.glob("trt-*")):
            held = _held(folder)
            if held is None or (held.bundle_digest == key.bundle_digest and held != key):
                shutil.rmtree(folder)
        place.mkdir(exist_ok=True)
        if _held(place) != key:
            write_atomic(place / KEY_FILE, json.dumps(asdict(key), indent=1).encode())
    except OSError as error:
        raise resource_error(error, str(parent)) from error
    return place


def _held(folder: Path) -> EngineKey | None:
    try:
        return EngineKey(**json.loads((folder / KEY_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
