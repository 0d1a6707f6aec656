"""`Depends` from ELF files. When these fail, a package installs on a board that cannot run it."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SourceError
from edge.package.deb_needs import PACKAGES, SCREEN, Needs, depends, needs_of, read_elf
from tests.package.elf import elf

HERE = platform.machine()


def test_a_made_library() -> None:
    """If not: the reader does not find what stands in the simplest library."""
    found = read_elf(elf(("libc.so.6", "libGL.so.1"), soname="libx.so.1", glibc="2.35", machine=183))
    assert found is not None
    assert (found.machine, found.needed, found.soname) == ("aarch64", ("libc.so.6", "libGL.so.1"), "libx.so.1")
    assert found.glibc_minor == 35
    assert read_elf(b"#!/bin/sh\n") is None


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
@pytest.mark.parametrize("package", ["numpy", "onnxruntime", "cryptography"])
def test_as_readelf_reads_them(package: str) -> None:
    """If not: a library that a wheel needs is overlooked."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    for path in sorted(Path(spec.origin).parent.rglob("*.so*"))[:8]:
        text = subprocess.run(["readelf", "-dV", str(path)], capture_output=True, text=True, check=True).stdout
        found = read_elf(path.read_bytes(), path.name)
        assert found is not None
        assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.+)\]", text)
        versions = [int(minor) for minor in re.findall(r"Name: GLIBC_2\.(\d+)", text)]
        assert found.glibc_minor == max(versions, default=0)
        assert found.machine == HERE


@given(st.binary(max_size=200), st.integers(4, 300))
def test_broken_libraries(garbage: bytes, keep: int) -> None:
    """If not: a damaged wheel is a traceback."""
    for data in (b"\x7fELF" + garbage, elf()[:keep]):
        try:
            read_elf(data, "x.so")
        except SourceError as error:
            assert "broken or 32-bit" in str(error)


def test_what_the_folder_brings_itself_is_not_asked_for(tmp_path: Path) -> None:
    """If not: a package depends on a library that lies in its own folder under a name of auditwheel."""
    (tmp_path / "x.libs").mkdir()
    (tmp_path / "x.so").write_bytes(elf(("libown-1234.so.1", "libgcc_s.so.1", "libplain.so.2"), glibc="2.28"))
    (tmp_path / "x.libs" / "libown-1234.so.1").write_bytes(elf(("libm.so.6",), glibc="2.17"))
    (tmp_path / "x.libs" / "other.so").write_bytes(elf(soname="libplain.so.2"))
    found = needs_of([tmp_path], "x86_64")
    assert found == Needs(("libc.so.6", "libgcc_s.so.1", "libm.so.6"), 28)
    assert depends(found, python=(3, 12), screen=False) == ("adduser", "libc6 (>= 2.28)", "libgcc-s1", "python3.12")


def test_a_wheel_of_another_architecture(tmp_path: Path) -> None:
    """If not: a board gets libraries that its loader refuses."""
    (tmp_path / "x.so").write_bytes(elf(machine=62))
    with pytest.raises(SourceError, match="is for x86_64, the package is for aarch64"):
        needs_of([tmp_path], "aarch64")
    (tmp_path / "x.so").write_bytes(elf(machine=243))
    with pytest.raises(SourceError, match="another architecture"):
        needs_of([tmp_path], "aarch64")


def test_a_library_that_nobody_brings() -> None:
    """If not: the package installs, and the engine fails at the bedside."""
    with pytest.raises(SourceError, match=r"need libcuda\.so\.1"):
        depends(Needs(("libc.so.6", "libcuda.so.1"), 17), python=(3, 11), screen=False)


def test_a_screen_asks_for_what_sdl_opens() -> None:
    """If not: the panel stays dark, since no ELF file tells what SDL opens while it runs."""
    asked = depends(Needs((), 0), python=(3, 11), screen=True)
    assert set(asked) == {PACKAGES[one] for one in SCREEN} | {"adduser", "python3.11"}


@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="apt is not installed")
def test_debian_knows_the_packages() -> None:
    """If not: apt cannot install the package, for a name that is misspelt or gone."""
    wanted = {name for names in PACKAGES.values() for name in names.split(" | ")}
    done = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True, check=False)
    known = set(done.stdout.split())
    if "libx11-6" not in known:
        pytest.skip("apt has no package lists here")
    # Of alternatives one must be there: the names with t64 are of newer releases.
    missing = [names for names in PACKAGES.values() if not known & set(names.split(" | "))]
    assert missing == [] and wanted
