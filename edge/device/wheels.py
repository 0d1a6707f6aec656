"""Folders of Python packages for another machine: the runner that a board gets, or the emulator's.

pip fetches binary wheels for the wanted architecture and Python; nothing is built and nothing of this machine is
used. Versions are those of this environment, so that the board runs what was tested here. What comes back is not
trusted: every shared object must be for the wanted machine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.device.kept_folders import Say, kept_folder, silent
from edge.device.tools import Run, run_tool
from edge.errors import MissingToolError, OfflineError, ResourceError, SourceError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

RECIPE = 1  # raise it when the same request would give other files
PIP_TIMEOUT_S = 3600
# e_machine of an ELF file.
MACHINES = {"x86_64": 62, "aarch64": 183}
# Raspberry Pi OS 12 has glibc 2.36, JetPack 6 has 2.35. Wheels for 2.28 and less are preferred, they run on older
# systems too; a few packages have newer ones only.
GLIBC_MINORS = (*range(28, 16, -1), *range(29, 36))
ENGINE_PACKAGES = {
    "onnxruntime": ("onnxruntime",),
    "onnxruntime-optimum": ("onnxruntime",),
    "tvm": ("apache-tvm-ffi",),
}
# Wanted by a package that a device needs, but only for what a device never does: huggingface_hub fetches
# tokenizers by name, onnxruntime's sympy and protobuf serve its export tools.
NOT_ON_DEVICE = {"huggingface-hub", "sympy", "protobuf", "flatbuffers"}
NOT_ON_DEVICE_ROOMS = ("adapt", "build", "evaluate", "package")
LOST_LINE = ("retrying (", "newconnectionerror", "temporary failure", "connection", "proxyerror", "timed out")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirement(text: str) -> Requirement:
    try:
        from packaging.requirements import Requirement
    except ImportError as error:
        raise MissingToolError("the package 'packaging' is not installed", mend="pip install packaging") from error
    return Requirement(text)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingToolError(
            f"the package '{name}' is not installed here, so its version for the device is not known",
            mend=f"install edge with pip, and {name} beside it",
        ) from error


def closure(
    name: str,
    *,
    extras: Sequence[str] = (),
    arch: str = "aarch64",
    python: tuple[int, int] = (3, 11),
    without: Sequence[str] | set[str] = (),
) -> dict[str, str]:
    """All packages that an installed package needs on another machine: normalised name -> version here.

    extras: of `name`; without: normalised names that are left out with what only they need.
    Errors: MissingToolError where one of them is not installed here.
    """
    machine = {
        "platform_machine": arch,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "python_version": f"{python[0]}.{python[1]}",
        "python_full_version": f"{python[0]}.{python[1]}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found: dict[str, str] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, tuple(extras))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        package, wanted = waiting.pop()
        if (package, wanted) in seen:
            continue
        seen.add((package, wanted))
        _version(package)
        for text in importlib.metadata.requires(package) or ():
            need = _requirement(text)
            chosen = [{**machine, "extra": extra} for extra in ("", *wanted)]
            key = _normal(need.name)
            if key in without or (need.marker and not any(need.marker.evaluate(one) for one in chosen)):
                continue
            found.setdefault(key, _version(need.name))
            waiting.append((need.name, tuple(sorted(need.extras))))
    found.pop(_normal(name), None)
    return found


def runtime_requirements(engine: str) -> tuple[str, ...]:
    """Exact `name==version`, sorted, of what `edge verify` and `edge run` need on a device for an engine.

    engine: as a manifest names it. Errors: SourceError for an unknown engine, MissingToolError where a package is
    not installed here.
    """
    if engine not in ENGINE_PACKAGES:
        raise SourceError(f"engine '{engine}' is not known (known: {', '.join(ENGINE_PACKAGES)})", mend="update edge")
    other = {name for names in ENGINE_PACKAGES.values() for name in names} - set(ENGINE_PACKAGES[engine])
    left_out = NOT_ON_DEVICE | other
    found = closure("edge-kit", without=left_out)
    for name in ENGINE_PACKAGES[engine]:
        found[_normal(name)] = _version(name)
        found |= closure(name, without=left_out)
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))


def site_for(
    arch: str,
    python: tuple[int, int],
    requirements: Sequence[str],
    *,
    cache: Path,
    run: Run = run_tool,
    say: Say = silent,
) -> Path:
    """A folder of installed wheels for another machine, to be put on its PYTHONPATH.

    arch: "aarch64" or "x86_64" (Linux with glibc); python: its minor version, e.g. (3, 11); requirements: exact
    `name==version`, nothing is added to them. Kept below cache/sites under a digest of the request; half a folder
    is never used, and two runs at once make one.
    Errors: OfflineError (no network), SourceError (no wheel for that machine, or one with a shared object for
    another), ResourceError (no space), MissingToolError (no pip).
    """
    if arch not in MACHINES:
        raise SourceError(f"architecture '{arch}' is not known (known: {', '.join(MACHINES)})", mend="choose one")
    wanted = sorted(set(requirements))
    request = {"recipe": RECIPE, "arch": arch, "python": list(python), "requirements": wanted}
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

    def make(stage: Path) -> None:
        say(f"fetching {len(wanted)} wheels for {arch}, Python {python[0]}.{python[1]}")
        if wanted:
            done = run(pip_command(arch, python, wanted, stage), timeout_s=PIP_TIMEOUT_S)
            if done.returncode != 0:
                raise pip_error(f"{done.stdout}\n{done.stderr}", arch, python)
        check_present(stage, wanted)
        check_machine(stage, arch)
        shutil.rmtree(stage / "bin", ignore_errors=True)  # start scripts name this machine's python

    return kept_folder(cache / "sites" / f"{arch}-cp{python[0]}{python[1]}-{digest[:16]}", make, say=say)


def pip_command(arch: str, python: tuple[int, int], requirements: Sequence[str], target: Path) -> list[str]:
    """The command that installs exactly `requirements` for another machine into `target`."""
    platforms = [f"manylinux_2_{minor}_{arch}" for minor in GLIBC_MINORS] + [f"manylinux2014_{arch}"]
    abi = f"cp{python[0]}{python[1]}"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target), "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--no-warn-conflicts", "--retries=2"]
    command += [option for name in platforms for option in ("--platform", name)]
    command += ["--python-version", f"{python[0]}.{python[1]}", "--implementation", "cp"]
    command += [option for name in (abi, "abi3", "none") for option in ("--abi", name)]
    # pip compiles with the interpreter that it runs in; another minor version could not read that.
    command += [] if sys.version_info[:2] == python else ["--no-compile"]
    return [*command, *requirements]


def pip_error(output: str, arch: str, python: tuple[int, int]) -> Exception:
    """What pip said, as one of our errors."""
    lower = output.lower()
    if "no module named pip" in lower:
        return MissingToolError("pip is not installed next to this python", mend="run `python -m ensurepip`")
    if "no space left" in lower:
        return ResourceError("no space left", mend="free space and run the same command again")
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing and not any(words in lower for words in LOST_LINE):
        return SourceError(
            f"the registry has no wheel of {missing[1]} for {arch} and Python {python[0]}.{python[1]}",
            mend="install another version of it here, for which there is one",
        )
    return OfflineError(
        "pip could not fetch the wheels: no network, or the registry refused",
        mend="check the network and pip's settings, or copy a filled cache folder here",
    )


def check_present(site: Path, requirements: Sequence[str]) -> None:
    """Every requirement has its metadata in the folder. Errors: SourceError that names the first without."""
    there = {
        (_normal(name), version)
        for path in site.glob("*.dist-info")
        for name, _, version in [path.name.removesuffix(".dist-info").partition("-")]
    }
    for requirement in requirements:
        name, _, version = requirement.partition("==")
        if (_normal(name), version) not in there:
            raise SourceError(f"pip did not bring {requirement}", where=str(site), mend="try again")


def elf_machine(path: Path) -> int | None:
    """e_machine of an ELF file; None for another file, -1 for one that ends in its header."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        return None
    return int.from_bytes(head[18:20], "little" if head[5] == 1 else "big") if len(head) == 20 else -1


def shared_objects(folder: Path) -> Iterator[Path]:
    """Files that look like shared objects, sorted."""
    return (path for path in sorted(folder.rglob("*.so*")) if path.is_file())


def check_machine(site: Path, arch: str) -> None:
    """Every shared object is for `arch`. Errors: SourceError that names the first which is not."""
    for path in shared_objects(site):
        machine = elf_machine(path)
        if machine not in (None, MACHINES[arch]):
            names = {number: name for name, number in MACHINES.items()}
            raise SourceError(
                f"a wheel brought {path.relative_to(site)} for {names.get(machine or 0, f'machine {machine}')}, "
                f"not for {arch}",
                mend="remove the wrong wheel from pip's sources",
            )


def edge_source(cache: Path, *, without: Sequence[str] = NOT_ON_DEVICE_ROOMS, say: Say = silent) -> Path:
    """A folder that holds the package `edge` as a device needs it, to be put on its PYTHONPATH.

    without: rooms that stay here. Kept below cache/source under a digest of its files, so a changed file gives
    another folder. Errors: ResourceError.
    """
    package = Path(__file__).resolve().parents[1]
    files: dict[str, Path] = {}
    for path in sorted(package.rglob("*")):
        parts = path.relative_to(package).parts
        if "__pycache__" in parts or parts[0] in without or not path.is_file():
            continue
        files["/".join(("edge", *parts))] = path
    version = _version("edge-kit")
    whole = hashlib.sha256(f"{RECIPE} {version}\n".encode())
    for name, path in files.items():
        whole.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    place = cache / "source" / whole.hexdigest()[:16]

    def make(stage: Path) -> None:
        for name, path in files.items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, stage / name)
        metadata = stage / f"edge_kit-{version}.dist-info"  # `importlib.metadata.version("edge-kit")` works there too
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: edge-kit\nVersion: {version}\n")

    return kept_folder(place, make, say=say)
