"""The emulator and a board's basic system, from Debian's packages and without root.

apt-get works with lists, status and cache of its own (a private APT_CONFIG), for the board's architecture and this
machine's; `dpkg-deb -x` unpacks. The emulator brings the C library that it was built for, so that it runs whatever
is or is not installed here. Only the dynamic `qemu-user` is fetched: it is a third of the static one's size and the
only one that takes plugins.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.device.kept_folders import Say, kept_folder, locked, silent
from edge.device.tools import Run, run_tool
from edge.errors import EdgeError, MissingToolError, OfflineError, ResourceError, SourceError
from edge.files import sha256_file, write_atomic

RECIPE = 1  # raise it when the same packages would be laid out otherwise
EMULATOR_PACKAGE = "qemu-user"
EMULATOR_PROGRAM = "usr/bin/qemu-aarch64"
BOARD_ARCH = "arm64"
BOARD_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgomp1")
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info", "var")
UPDATE_TIMEOUT_S = 600
FETCH_TIMEOUT_S = 1800
SYSTEM_FILE = "system.json"
OLDEST_PYTHON_MINOR = 11


@dataclass(frozen=True)
class HostSystem:
    """The Debian that packages are taken from. arch: as dpkg says it; sources: lines for apt, deb822."""

    codename: str
    arch: str
    os_name: str
    sources: str


@dataclass(frozen=True)
class BoardSystem:
    """What was unpacked. folder: holds `emulator` and `base`; python: minor version inside."""

    folder: Path
    emulator_version: str
    python: tuple[int, int]
    os_name: str
    packages: tuple[str, ...]

    @property
    def base(self) -> Path:
        """The board's file system without /proc and /sys."""
        return self.folder / "base"

    def emulator_command(self) -> list[str]:
        """The emulator started with its own C library."""
        return emulator_command(self.folder / "emulator")


def emulator_command(folder: Path) -> list[str]:
    """The command of an unpacked emulator. Errors: SourceError when it lacks a part."""
    loaders = sorted(folder.glob("lib/*/ld-linux*.so.*"))
    program = folder / EMULATOR_PROGRAM
    if not loaders or not program.is_file():
        raise SourceError("the emulator is not complete", where=str(folder), mend="delete this folder and run it again")
    triplet = loaders[0].parent.name
    libraries = f"{folder / 'lib' / triplet}:{folder / 'usr/lib' / triplet}"
    return [str(loaders[0]), "--library-path", libraries, str(program)]


# ---- this machine ----------------------------------------------------------------------------------------------


def _values(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def read_sources(etc: Path, codename: str) -> str:
    """The package sources of this machine that belong to its release, for all architectures, as deb822.

    Other sources (a vendor's repository) have no packages for the board.
    """
    found: list[str] = []
    names = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for path in [path for path in names if path.is_file()]:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+(.+)", line.partition("#")[0].strip())
            if match and _of_release(match[3], codename):
                options = dict(option.partition("=")[::2] for option in (match[1] or "").split())
                stanza = {"Types": "deb", "URIs": match[2], "Suites": match[3], "Components": match[4]}
                if "signed-by" in options:
                    stanza["Signed-By"] = options["signed-by"]
                found.append("".join(f"{key}: {value}\n" for key, value in stanza.items()))
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for text in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace")):
            lines = [line for line in text.splitlines() if not re.match(r"#|Architectures:", line, re.IGNORECASE)]
            fields = {key.lower(): value.split() for key, _, value in (line.partition(":") for line in lines)}
            suites = fields.get("suites", [])
            if (
                "deb" in fields.get("types", [])
                and suites
                and all(_of_release(suite, codename) for suite in suites)
                and fields.get("enabled", ["yes"])[0] != "no"
            ):
                found.append("\n".join(lines) + "\n")
    return "\n".join(found)


def _of_release(suite: str, codename: str) -> bool:
    return suite == codename or suite.startswith((f"{codename}-", f"{codename}/"))


def read_host(root: Path = Path("/"), *, run: Run = run_tool) -> HostSystem:
    """What this machine is. Errors: MissingToolError where it is no Debian or has no package sources."""
    release = _values(root / "etc/os-release")
    codename = release.get("VERSION_CODENAME", "")
    sources = read_sources(root / "etc/apt", codename) if codename else ""
    if release.get("ID") != "debian" or not sources:
        raise MissingToolError(
            "the emulator is set up from Debian's packages, and this system has no source of them",
            where=release.get("PRETTY_NAME", ""),
            mend="run it on Debian 12 or later, or in a container of it",
        )
    done = run(["dpkg", "--print-architecture"], timeout_s=60)
    return HostSystem(codename, done.stdout.strip(), release.get("PRETTY_NAME", codename), sources)


# ---- apt -------------------------------------------------------------------------------------------------------


class PrivateApt:
    """apt-get with lists, status and cache below `folder`. What was fetched stays there until `forget`, so a run
    that was cut off goes on where it was.
    """

    def __init__(self, folder: Path, host: HostSystem, *, run: Run = run_tool) -> None:
        self._folder, self._run = folder, run
        for name in ("lists/partial", "sources"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").write_text("")
        (folder / "sources" / "host.sources").write_text(host.sources, encoding="utf-8")
        architectures = " ".join(f'"{arch}";' for arch in dict.fromkeys((BOARD_ARCH, host.arch)))
        settings = {
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "sources",
            "APT::Architecture": BOARD_ARCH,
            "APT::Sandbox::User": "root",  # without it apt as root becomes a user who may not write here
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        lines = [f'{key} "{value}";' for key, value in settings.items()]
        text = "\n".join([*lines, f"APT::Architectures {{ {architectures} }};", ""])
        (folder / "apt.conf").write_text(text, encoding="utf-8")

    def _apt(self, *arguments: str, timeout_s: float) -> str:
        environment = {"APT_CONFIG": str(self._folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
        done = self._run(["apt-get", *arguments], timeout_s=timeout_s, environment=environment)
        if done.returncode != 0:
            raise apt_error(f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def update(self) -> None:
        """Fetch the lists of packages. Errors: OfflineError and as `packages`."""
        self._apt("-q", "update", timeout_s=UPDATE_TIMEOUT_S)

    def packages(self, names: Iterable[str], kind: str) -> list[Path]:
        """Fetch packages and all that they need; those of one `kind` lie in a folder of their own.

        Errors: OfflineError, SourceError (unknown or damaged package), ResourceError.
        """
        archives, empty = self._folder / kind, self._folder / "empty"  # apt does not list what it has already
        for folder in (archives, empty):
            (folder / "partial").mkdir(parents=True, exist_ok=True)
        install = ["install", "--yes", "--no-install-recommends", *names]
        asked = ["-qq", "-o", f"Dir::Cache::archives={empty}", *install, "--print-uris"]
        lines = self._apt(*asked, timeout_s=UPDATE_TIMEOUT_S)
        wanted = re.findall(r"^'\S+' (\S+\.deb) (\d+) (?:SHA256:([0-9a-f]{64}))?", lines, flags=re.MULTILINE)
        if not wanted:
            raise SourceError(f"apt-get has nothing to fetch for {' '.join(names)}", mend="check the package sources")
        fetched = ["-q", "-o", f"Dir::Cache::archives={archives}", *install, "--download-only"]
        self._apt(*fetched, timeout_s=FETCH_TIMEOUT_S)
        for name, size, digest in wanted:
            path = archives / name
            if not path.is_file():
                raise OfflineError("apt-get did not bring a package", where=name, mend="run the same command again")
            if path.stat().st_size != int(size) or (digest and sha256_file(path) != digest):
                path.unlink()
                raise SourceError("was damaged on its way", where=name, mend="run it again, it is fetched anew")
        return [archives / name for name, _, _ in wanted]

    def forget(self) -> None:
        """Drop packages and lists."""
        shutil.rmtree(self._folder, ignore_errors=True)


def apt_error(output: str) -> EdgeError:
    """What apt-get said, as one of our errors."""
    lower = output.lower()
    if "no space left" in lower or "not enough space" in lower or "enough free space" in lower:
        return ResourceError("no space left", mend="free space and run the same command again")
    missing = re.search(r"Unable to locate package (\S+)", output)
    if missing:
        return SourceError(
            f"this system's package sources have no package {missing[1]}",
            mend="use sources that have main for arm64 and this machine's architecture",
        )
    first = next((line[2:].strip() for line in output.splitlines() if line.startswith("E:")), "")
    return OfflineError(
        f"apt-get could not fetch the emulator's packages ({first[:160] or 'no reason given'})",
        mend="check the network and run the same command again, what was fetched is kept",
    )


def unpack(packages: Iterable[Path], folder: Path, *, run: Run = run_tool) -> None:
    """Unpack packages into `folder` without running their scripts. Errors: SourceError for a damaged one."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in packages:
        done = run(["dpkg-deb", "-x", str(path), str(folder)], timeout_s=600)
        if done.returncode != 0:
            if "no space left" in done.stderr.lower():
                raise ResourceError("no space left", where=str(folder), mend="free space and run it again")
            path.unlink(missing_ok=True)
            raise SourceError("is not a readable package", where=path.name, mend="run it again, it is fetched anew")


def inside_links(folder: Path) -> None:
    """Point absolute links of an unpacked system into it: outside of a chroot they would lead to this machine's
    files. A link whose end is not there is removed.
    """
    for base, names, entries in os.walk(folder):
        for name in [*names, *entries]:
            path = Path(base) / name
            if not path.is_symlink():
                continue
            end = path.readlink()
            if end.is_absolute():
                path.unlink()
                end = folder / str(end).lstrip("/")
                if end.exists():
                    path.symlink_to(os.path.relpath(end, path.parent))


# ---- both ------------------------------------------------------------------------------------------------------


def board_system(cache: Path, *, root: Path = Path("/"), run: Run = run_tool, say: Say = silent) -> BoardSystem:
    """The emulator and the board's base system, fetched where they are not there (about 55 MB with apt's lists).

    root: where this machine's etc is read. Errors: MissingToolError (no Debian, no apt-get, too old a release),
    OfflineError, SourceError, ResourceError.
    """
    codename = _values(root / "etc/os-release").get("VERSION_CODENAME", "unknown")
    place = cache / "emulation" / f"system-{RECIPE}-{platform.machine()}-{codename}"

    def make(stage: Path) -> None:
        host = read_host(root, run=run)
        with locked(cache / "emulation" / ".apt.lock", say):
            apt = PrivateApt(cache / "emulation" / "apt", host, run=run)
            say("reading Debian's lists of packages")
            apt.update()
            say("fetching the emulator")
            emulator = apt.packages([f"{EMULATOR_PACKAGE}:{host.arch}"], "emulator")
            say("fetching the board's system")
            board = apt.packages([f"{name}:{BOARD_ARCH}" for name in BOARD_PACKAGES], "board")
            say("unpacking")
            unpack(emulator, stage / "emulator", run=run)
            unpack(board, stage / "base", run=run)
            apt.forget()
        tidy_emulator(stage / "emulator")
        tidy_base(stage / "base", place / "base")
        found = describe_system(stage, host.os_name, [path.name for path in (*emulator, *board)], run=run)
        write_atomic(stage / SYSTEM_FILE, json.dumps(found, indent=1).encode())

    return read_system(kept_folder(place, make, say=say))


def tidy_emulator(folder: Path) -> None:
    """Keep the one program and its libraries."""
    inside_links(folder)
    for path in sorted((folder / "usr").iterdir()):
        if path.name != "lib":
            keep = folder / EMULATOR_PROGRAM
            if path.name == "bin" and keep.is_file():
                for program in path.iterdir():
                    if program != keep:
                        program.unlink()
            else:
                shutil.rmtree(path)


def tidy_base(folder: Path, place: Path) -> None:
    """Drop documentation, mend links, and compile the library if this python is of the same minor version.

    place: where the folder will lie.
    """
    for name in UNUSED:
        shutil.rmtree(folder / name, ignore_errors=True)
    inside_links(folder)
    library = folder / f"usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    if library.is_dir():
        compileall.compile_dir(library, quiet=2, stripdir=str(folder), prependdir=str(place))


def describe_system(stage: Path, os_name: str, packages: list[str], *, run: Run) -> dict[str, Any]:
    """What was unpacked, for SYSTEM_FILE. Errors: MissingToolError where the emulator does not run or the board's
    python is too old.
    """
    done = run([*emulator_command(stage / "emulator"), "--version"], timeout_s=60)
    version = re.search(r"version (\S+)", done.stdout)
    if done.returncode != 0 or not version:
        raise MissingToolError("the fetched emulator does not run on this machine", where=os_name, mend="use Debian")
    names = [path.name.removeprefix("python") for path in (stage / "base/usr/bin").glob("python3.*")]
    minors = sorted(int(name[2:]) for name in names if re.fullmatch(r"3\.\d+", name))
    if not minors or minors[-1] < OLDEST_PYTHON_MINOR:
        raise MissingToolError(
            f"this Debian's python is older than 3.{OLDEST_PYTHON_MINOR}", where=os_name, mend="use Debian 12 or later"
        )
    return {"emulator": version[1], "python": [3, minors[-1]], "os": os_name, "packages": sorted(packages)}


def read_system(folder: Path) -> BoardSystem:
    """Inverse of `describe_system`. Errors: ResourceError for a damaged file."""
    try:
        value = json.loads((folder / SYSTEM_FILE).read_bytes())
        major, minor = value["python"]
        return BoardSystem(
            folder, str(value["emulator"]), (int(major), int(minor)), str(value["os"]), tuple(value["packages"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResourceError(
            "cannot be read", where=str(folder / SYSTEM_FILE), mend="delete its folder and run it again"
        ) from error
