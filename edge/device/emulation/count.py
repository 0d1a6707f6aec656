"""What a token costs in instructions: a figure that repeats on any machine, and no time.

The emulator counts every instruction of the board's program with a small plugin that is compiled here. Start, import
and load cancel out in the difference of two runs that decode a different number of tokens.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.device.emulation.emulated import Emulated
from edge.device.kept_folders import Say, kept_folder, silent
from edge.device.tools import Run, run_tool
from edge.errors import EdgeError, InputError, MissingToolError, ResourceError

SOURCE = "count.c.txt"
PLUGIN = "count.so"
# Versions of the plugin interface, oldest first: an emulator takes a range of them, and what is used here is in all.
API_VERSIONS = (1, 2, 3, 4, 5)
FLAGS = ("-shared", "-fPIC", "-O2", "-nostdlib", "-fvisibility=hidden", "-w")
COMPILERS = ("cc", "gcc", "clang")
COUNT_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class TokenCost:
    """Instructions of one decoded token, from runs that decoded `few` and `many` tokens."""

    instructions_per_token: float
    few: int
    many: int
    few_instructions: int
    many_instructions: int


def compiler(
    *,
    which: Callable[[str], str | None] = shutil.which,
    has_module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None,
) -> list[str]:
    """The command of a C compiler for this machine. Errors: MissingToolError that says how to get one."""
    for name in COMPILERS:
        found = which(name)
        if found:
            return [found]
    if has_module("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise MissingToolError(
        "no C compiler is installed, so instructions cannot be counted",
        mend="pip install ziglang, or install gcc",
    )


def counting_plugin(
    emulated: Emulated,
    *,
    cache: Path,
    compile_with: Sequence[str] | None = None,
    run: Run = run_tool,
    say: Say = silent,
) -> Path:
    """The plugin for this emulator, compiled where it is not there.

    compile_with: the compiler's command, by default `compiler()`. Errors: MissingToolError (no compiler, or an
    emulator without plugins), ResourceError.
    """
    source = importlib.resources.files("edge.device.emulation").joinpath(SOURCE).read_bytes()
    emulator = f"{emulated.emulator_version} {emulated.words.partition(' ')[0]}"
    digest = hashlib.sha256(source + emulator.encode() + " ".join(FLAGS).encode()).hexdigest()

    def make(stage: Path) -> None:
        command = list(compile_with) if compile_with is not None else compiler()
        code = stage / "count.c"
        code.write_bytes(source)
        say("compiling the instruction counter")
        for version in API_VERSIONS:
            made = stage / PLUGIN
            done = run([*command, *FLAGS, f"-DAPI_VERSION={version}", "-o", str(made), str(code)], timeout_s=120)
            if done.returncode != 0 or not made.is_file():
                reason = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "no reason given")
                raise MissingToolError(
                    f"the C compiler cannot make the instruction counter ({reason[:160]})",
                    where=command[0],
                    mend="install gcc, or pip install ziglang",
                )
            if _loads(emulated, made, stage):
                return
        raise MissingToolError(
            "this emulator takes no plugins, so instructions cannot be counted",
            where=emulated.words,
            mend="use Debian 12 or later",
        )

    return kept_folder(cache / "emulation" / f"count-{digest[:16]}", make, say=say) / PLUGIN


def _loads(emulated: Emulated, plugin: Path, stage: Path) -> bool:
    out = stage / "probe"
    emulated.run(["python3", "-S", "-c", ""], environment=_plugin_variables(plugin, out), timeout_s=60)
    works = out.is_file() and _read(out) > 0
    out.unlink(missing_ok=True)
    return works


def _plugin_variables(plugin: Path, out: Path) -> dict[str, str]:
    if "," in f"{plugin}{out}":
        raise InputError("a path with a comma cannot be given to the emulator", where=str(out), mend="set TMPDIR")
    return {"QEMU_PLUGIN": f"file={plugin},out={out}"}


def _read(out: Path) -> int:
    try:
        return sum(int(line) for line in out.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return 0


def count_instructions(
    emulated: Emulated,
    argv: Sequence[str],
    *,
    plugin: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = COUNT_TIMEOUT_S,
) -> int:
    """Instructions that a program of the board executes, with those of the programs that it starts.

    plugin: as `counting_plugin` gives it. Errors: those of Emulated.run; EdgeError when nothing was counted.
    """
    with tempfile.TemporaryDirectory(prefix="edge-count-") as place:
        out = Path(place) / "count"
        variables = {**(environment or {}), **_plugin_variables(plugin, out)}
        emulated.run(argv, environment=variables, timeout_s=timeout_s, check=True)
        counted = _read(out)
    if not counted:
        raise EdgeError("the emulator counted no instructions", where=emulated.words, mend="prepare it again")
    return counted


def instructions_per_token(
    emulated: Emulated,
    argv_of: Callable[[int], Sequence[str]],
    *,
    plugin: Path,
    few: int = 2,
    many: int = 6,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = COUNT_TIMEOUT_S,
) -> TokenCost:
    """Instructions of one decoded token of any engine.

    argv_of: number of tokens -> a program of the board that loads a model, reads the same prompt and decodes so
    many, e.g. `edge.runtime.probe`. Errors: as count_instructions; ResourceError when more tokens took no more.
    """
    counts = [
        count_instructions(emulated, argv_of(tokens), plugin=plugin, environment=environment, timeout_s=timeout_s)
        for tokens in (few, many)
    ]
    cost = (counts[1] - counts[0]) / (many - few)
    if cost <= 0:
        raise ResourceError("more tokens took no more instructions", where=emulated.words, mend="count again")
    return TokenCost(cost, few, many, counts[0], counts[1])
