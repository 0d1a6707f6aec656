"""Counting instructions, with a board and a compiler that are shell scripts; the real ones: tests/e2e."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.device.emulation.count import compiler, count_instructions, counting_plugin, instructions_per_token
from edge.device.emulation.emulated import Emulated
from edge.errors import EdgeError, ExitStatus, InputError, MissingToolError, ResourceError
from tests.device.emulation.test_emulated import board

# Counts 1,000 and 50 for each token that the last argument names; a child of it counts 7.
COUNTS = 'out=${QEMU_PLUGIN#*out=}; for last; do :; done; echo 7 >> "$out"; echo $((1000 + 50 * ${last:-0})) >> "$out"'


def shell_compiler(folder: Path, script: str) -> list[str]:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return [str(path)]


def argv_of(tokens: int) -> list[str]:
    return ["python3", str(tokens)]


def test_the_cost_of_a_token_is_a_difference(tmp_path: Path) -> None:
    """If it fails, start and load of a model are counted as its work."""
    one = board(tmp_path / "p", COUNTS)
    plugin = tmp_path / "count.so"
    assert count_instructions(one, argv_of(4), plugin=plugin) == 1207  # with the child's
    cost = instructions_per_token(one, argv_of, plugin=plugin)
    assert (cost.instructions_per_token, cost.few, cost.many) == (50.0, 2, 6)
    assert (cost.few_instructions, cost.many_instructions) == (1107, 1307)


def test_no_count_is_no_zero(tmp_path: Path) -> None:
    """If it fails, an emulator that ignored the plugin gives a cost of nothing."""
    with pytest.raises(EdgeError, match="counted no instructions"):
        count_instructions(board(tmp_path, "true"), argv_of(1), plugin=tmp_path / "count.so")
    same = board(tmp_path, 'echo 5 > "${QEMU_PLUGIN#*out=}"')
    with pytest.raises(ResourceError, match="took no more instructions"):
        instructions_per_token(same, argv_of, plugin=tmp_path / "count.so")
    with pytest.raises(InputError, match="comma"):
        count_instructions(same, argv_of(1), plugin=tmp_path / "a,b.so")


def test_compilers() -> None:
    """If it fails, a machine with a compiler is told that it has none, or one without gets no advice."""
    assert compiler(which=lambda name: f"/bin/{name}" if name == "gcc" else None) == ["/bin/gcc"]
    zig = compiler(which=lambda name: None, has_module=lambda name: name == "ziglang")
    assert zig == [sys.executable, "-m", "ziglang", "cc"]
    with pytest.raises(MissingToolError, match="pip install ziglang") as caught:
        compiler(which=lambda name: None, has_module=lambda name: False)
    assert caught.value.status == ExitStatus.MISSING_TOOL


# Takes the third version of the interface only.
MAKES = 'for word; do [ "$previous" = -o ] && out=$word; previous=$word; done; echo "$@" > "$out"'
THIRD = 'file=${QEMU_PLUGIN%%,*}; grep -q API_VERSION=3 "${file#file=}" && echo 1 > "${QEMU_PLUGIN#*out=}"; exit 0'


def plugin_of(one: Emulated, cache: Path, command: list[str]) -> Path:
    return counting_plugin(one, cache=cache, compile_with=command)


def test_the_plugin_fits_the_emulator(tmp_path: Path) -> None:
    """If it fails, the next Debian's emulator refuses the plugin; and it is compiled once."""
    one = board(tmp_path / "p", THIRD)
    made = plugin_of(one, tmp_path / "cache", shell_compiler(tmp_path, MAKES))
    assert "-DAPI_VERSION=3" in made.read_text()
    assert plugin_of(one, tmp_path / "cache", ["/no/compiler"]) == made
    other = replace(one, emulator_version="9.0")
    with pytest.raises(MissingToolError, match="not installed"):
        plugin_of(other, tmp_path / "cache", ["/no/compiler"])


def test_a_compiler_or_an_emulator_that_cannot(tmp_path: Path) -> None:
    """If it fails, the user gets a traceback or half a plugin stays in the cache."""
    cache = tmp_path / "cache"
    broken = shell_compiler(tmp_path, "echo 'x.c:1: error: no headers' >&2; exit 1")
    with pytest.raises(MissingToolError, match="error: no headers"):
        plugin_of(board(tmp_path / "p", THIRD), cache, broken)
    with pytest.raises(MissingToolError, match="takes no plugins"):
        plugin_of(board(tmp_path / "p", "exit 1"), cache, shell_compiler(tmp_path, MAKES))
    assert [path.name for path in (cache / "emulation").iterdir() if not path.name.endswith(".lock")] == []
