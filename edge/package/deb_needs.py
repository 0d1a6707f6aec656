"""What a folder of wheels needs of the device: read from its ELF files, so that `Depends` is found, not guessed.

Every shared library states the libraries that it is linked with (DT_NEEDED) and the versions of the C library that it
was made for. What the folder does not bring itself must come from a Debian package; a library that this table does not
know is an error, since a package with a hole installs and then fails at a bedside.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import SourceError

# EM_X86_64 and EM_AARCH64, as a target names the architecture.
MACHINES = {62: "x86_64", 183: "aarch64"}
DEBIAN_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
# Library -> Debian package; the same names from Debian 12 and Ubuntu 22.04 on, "a | b" where they differ.
PACKAGES: Mapping[str, str] = {
    "ld-linux-aarch64.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "libc.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libm.so.6": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "libutil.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libgomp.so.1": "libgomp1",
    "libatomic.so.1": "libatomic1",
    "libz.so.1": "zlib1g",
    "libffi.so.8": "libffi8",
    "libasound.so.2": "libasound2 | libasound2t64",
    "libdrm.so.2": "libdrm2",
    "libEGL.so.1": "libegl1",
    "libgbm.so.1": "libgbm1",
    "libGL.so.1": "libgl1",
    "libGLESv2.so.2": "libgles2",
    "libmtdev.so.1": "libmtdev1 | libmtdev1t64",
    "libudev.so.1": "libudev1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}
# SDL opens these while it runs (a panel without a desktop: KMSDRM, EGL, udev for touch, ALSA), so no ELF file tells.
SCREEN = ("libdrm.so.2", "libgbm.so.1", "libEGL.so.1", "libGLESv2.so.2", "libudev.so.1", "libmtdev.so.1",
          "libasound.so.2")  # fmt: skip
_GLIBC = re.compile(rb"\0GLIBC_2\.([0-9]{1,2})(?:\.[0-9]+)?(?=\0)")
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME = 0, 1, 5, 14
_PT_LOAD, _PT_DYNAMIC = 1, 2


@dataclass(frozen=True)
class Library:
    """One ELF file. machine: as in MACHINES, "" for another; glibc_minor: 2.MINOR is the newest it asks for."""

    machine: str
    needed: tuple[str, ...]
    soname: str
    glibc_minor: int


def read_elf(data: bytes, where: str = "") -> Library | None:
    """A little-endian 64-bit ELF file; None for what is no ELF file at all. Errors: SourceError for a broken one."""
    if data[:4] != b"\x7fELF":
        return None
    try:
        return _read(data)
    except (struct.error, ValueError, IndexError) as error:
        raise SourceError("is a broken or 32-bit ELF file", where=where, mend="fetch the wheel again") from error


def _read(data: bytes) -> Library:
    if data[4:6] != b"\x02\x01":
        raise ValueError("not 64-bit little-endian")
    machine = struct.unpack_from("<H", data, 18)[0]
    table, _, _, _, size, count = struct.unpack_from("<QQIHHH", data, 32)
    headers = [struct.unpack_from("<IIQQQQQ", data, table + size * index) for index in range(count)]
    loads = [(address, offset, length) for kind, _, offset, address, _, length, _ in headers if kind == _PT_LOAD]
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length, _ in headers:
        if kind == _PT_DYNAMIC:
            pairs = [struct.unpack_from("<qQ", data, at) for at in range(offset, offset + length - 15, 16)]
            end = next((at for at, (tag, _) in enumerate(pairs) if tag == _DT_NULL), len(pairs))
            entries += pairs[:end]
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    if strings is None:  # a static program
        return Library(MACHINES.get(machine, ""), (), "", 0)
    base = next(offset + strings - at for at, offset, length in loads if at <= strings < at + length)

    def text(at: int) -> str:
        return data[base + at : data.index(b"\0", base + at)].decode("ascii")

    return Library(
        machine=MACHINES.get(machine, ""),
        needed=tuple(text(value) for tag, value in entries if tag == _DT_NEEDED),
        soname=next((text(value) for tag, value in entries if tag == _DT_SONAME), ""),
        glibc_minor=max((int(found) for found in _GLIBC.findall(data)), default=0),
    )


@dataclass(frozen=True)
class Needs:
    """What the ELF files of a folder ask for and do not bring. libraries: sorted; glibc_minor: 0 for none."""

    libraries: tuple[str, ...]
    glibc_minor: int


def needs_of(folders: Sequence[Path], arch: str) -> Needs:
    """Read every shared library below `folders`; what one of them brings, none asks for. arch: x86_64 or aarch64.

    Errors: SourceError for a library of another architecture or a broken one.
    """
    brought: set[str] = set()
    needed: set[str] = set()
    glibc_minor = 0
    for base, path in ((one, path) for one in folders for path in sorted(one.rglob("*"))):
        if path.is_symlink() or not path.is_file() or not _is_elf(path):
            continue
        library = read_elf(path.read_bytes(), str(path))
        if library is None:
            continue
        if library.machine != arch:
            raise SourceError(
                f"is for {library.machine or 'another architecture'}, the package is for {arch}",
                where=str(path.relative_to(base)),
                mend="fetch or build it for the target",
            )
        brought |= {path.name, library.soname}
        needed |= set(library.needed)
        glibc_minor = max(glibc_minor, library.glibc_minor)
    return Needs(tuple(sorted(needed - brought)), glibc_minor)


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError as error:
        raise SourceError("cannot be read for the package", where=str(path), mend="fetch the wheels again") from error


def depends(needs: Needs, *, python: tuple[int, int], screen: bool, also: Iterable[str] = ()) -> tuple[str, ...]:
    """The packages of `Depends`, sorted. python: the minor version that the wheels are for.

    Errors: SourceError for a library that no known package brings.
    """
    wanted = set(needs.libraries) | set(SCREEN if screen else ())
    unknown = sorted(wanted - PACKAGES.keys())
    if unknown:
        raise SourceError(
            f"the wheels need {unknown[0]}, and no Debian package is known for it",
            mend="add it to PACKAGES in edge/package/deb_needs.py",
        )
    packages = {PACKAGES[library] for library in wanted}
    if needs.glibc_minor:
        packages = (packages - {"libc6"}) | {f"libc6 (>= 2.{needs.glibc_minor})"}
    return tuple(sorted(packages | {f"python{python[0]}.{python[1]}", "adduser", *also}))
