"""Prepare a board: its system, its files of /proc and /sys, its Python packages; all kept, none of it as root."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from edge.device.emulation.emulated import KEPT_VARIABLES, PYTHONS, RUNNER, Emulated
from edge.device.emulation.system import BoardSystem, board_system
from edge.device.emulation.target import EMULATOR, EmulatedTarget, read_target, write_board
from edge.device.kept_folders import Say, kept_folder, silent
from edge.device.tools import Run, run_tool
from edge.device.wheels import edge_source, runtime_requirements, site_for
from edge.errors import InputError, MissingToolError
from edge.privacy import TELEMETRY_OFF

RECIPE = 2  # raise it when the same target would give other files
BOARD_ARCHITECTURE = "aarch64"
PROGRAMS = "edge-bin"  # in the prefix: what a program of the board finds by name before this machine's


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache folder of this user: `EDGE_CACHE`, else the platform's own place (that of the build, too)."""
    import platformdirs

    chosen = environment.get("EDGE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("edge"))


def prepare(
    target: EmulatedTarget | str,
    *,
    cache: Path,
    engines: Sequence[str] = ("onnxruntime",),
    requirements: Sequence[str] = (),
    source: Path | None = None,
    targets: Path = Path("targets"),
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    run: Run = run_tool,
    say: Say = silent,
) -> Emulated:
    """Make a board ready, or take it from the cache (about a second then).

    Parameters
    ----------
    target: a description, or the name of a file of `targets`.
    engines: whose packages its python shall have; requirements: more of them, exact.
    source: a folder that holds the package `edge`, in place of a copy without the rooms of the build host.
    root: where this machine's etc is read; environment: where HOME and TMPDIR of the board's programs come from.

    Errors: SpecError (unknown target), InputError (a cache path that cannot be used), MissingToolError (no Debian, no
    apt-get, no pip, an emulator without that CPU), OfflineError, SourceError (a wheel that does not exist for
    aarch64), ResourceError (no space).
    """
    if isinstance(target, str):
        target = read_target(targets / f"{target}.yaml")
    cache = cache.absolute()
    if any(mark in str(cache) for mark in ':,"'):
        raise InputError(
            "a path with ':', ',' or '\"' cannot be used", where=str(cache), mend="set EDGE_CACHE to another"
        )
    system = board_system(cache, root=root, run=run, say=say)
    prefix = board_prefix(target, system, cache=cache, run=run, say=say)
    wanted = {line for engine in engines for line in runtime_requirements(engine)} | set(requirements)
    site = site_for(BOARD_ARCHITECTURE, system.python, sorted(wanted), cache=cache, run=run, say=say)
    edge = source or edge_source(cache, say=say)
    python = str(prefix / "usr/bin/python3")
    stands = f" for {target.stands_for}" if target.stands_for else ""
    return Emulated(
        target=target,
        prefix=prefix,
        python=python,
        environment={
            **{name: environment[name] for name in KEPT_VARIABLES if name in environment},
            **TELEMETRY_OFF,
            "PATH": f"{prefix / PROGRAMS}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{edge}:{site}",
            "PYTHONNOUSERSITE": "1",
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        words=f"{EMULATOR} {system.emulator_version}, -cpu {target.cpu}{stands}",
        emulator_version=system.emulator_version,
    )


def board_prefix(
    target: EmulatedTarget, system: BoardSystem, *, cache: Path, run: Run = run_tool, say: Say = silent
) -> Path:
    """The file system of one board: hard links of the base, files of its own. Errors: as `prepare`."""
    described = {"recipe": RECIPE, "target": asdict(target), "system": system.folder.name, "cache": str(cache)}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    place = cache / "emulation" / "boards" / f"{target.name}-{digest[:16]}"

    def make(stage: Path) -> None:
        known = run([*system.emulator_command(), "-cpu", "help"], timeout_s=60).stdout.split()
        if target.cpu not in known:
            raise MissingToolError(
                f"qemu {system.emulator_version} has no CPU '{target.cpu}'",
                where=target.name,
                mend="use Debian 12 or later",
            )
        say(f"laying out {target.name}")
        shutil.copytree(system.base, stage, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
        write_board(stage, target, system.os_name)
        minor = f"python{system.python[0]}.{system.python[1]}"
        # Else its python would find the packages of this machine's.
        for name in ("usr/lib/python3/dist-packages", f"usr/local/lib/{minor}/dist-packages"):
            (stage / name).mkdir(parents=True, exist_ok=True)
        start = [*system.emulator_command(), "-cpu", target.cpu, "-L", str(place)]
        python = place / "usr/bin/python3"
        write_script(stage / RUNNER, start)
        write_script(stage / "usr/bin/python3", [*start, "-0", str(python), str(place / "usr/bin" / minor)])
        (stage / PROGRAMS).mkdir()
        for name in PYTHONS:
            (stage / PROGRAMS / name).symlink_to("../usr/bin/python3")

    return kept_folder(place, make, say=say)


def write_script(path: Path, command: Sequence[str]) -> None:
    """A program of this machine that becomes `command` with its own arguments added. Errors: OSError.

    A core file of a program that died would hold what it was reading, patients' words included: there is none.
    """
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\nulimit -c 0\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
