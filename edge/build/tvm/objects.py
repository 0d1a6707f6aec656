"""Reads what a linked object says of itself: architecture, what it needs from outside, which dot products it uses."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from edge.build.tvm.isa import Isa
from edge.errors import SourceError

ELF = b"\x7fELF"
MACHINES = {"x86_64": 62, "aarch64": 183}
EXECUTABLE = 4  # section flag SHF_EXECINSTR
DYNAMIC_SYMBOLS, STRINGS = 11, 3
# Undefined symbols that every device has: TVM's runtime, the C library, the linker's own marks.
ALLOWED = ("TVMFFI", "TVMBackend", "__cxa_finalize", "__gmon_start__", "_ITM_", "memset", "memcpy", "memmove")


def _sections(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, content) of each section of a 64-bit little-endian ELF file."""
    offset, size, count = struct.unpack_from("<Q", data, 0x28)[0], *struct.unpack_from("<HH", data, 0x3A)
    for index in range(count):
        _, kind, flags, _, start, length = struct.unpack_from("<IIQQQQ", data, offset + index * size)
        yield kind, flags, b"" if kind == 8 else data[start : start + length]


def symbols_of(path: Path) -> tuple[str, ...]:
    """Names that the object needs from outside, sorted."""
    data = path.read_bytes()
    sections = list(_sections(data))
    names = []
    for kind, _, content in sections:
        if kind != DYNAMIC_SYMBOLS:
            continue
        strings = next(c for k, f, c in sections if k == STRINGS and f & 2)  # the one that is loaded
        for name, info, _, section, _, _ in struct.iter_unpack("<IBBHQQ", content):
            if section == 0 and name and info >> 4 == 1:
                names.append(strings[name : strings.index(b"\0", name)].decode())
    return tuple(sorted(names))


def code_of(path: Path) -> bytes:
    """All machine code of an object."""
    return b"".join(content for _, flags, content in _sections(path.read_bytes()) if flags & EXECUTABLE)


def sdot_count(code: bytes) -> int:
    """How often Arm's signed byte dot product stands in the code (vector and by-element forms)."""
    words = struct.iter_unpack("<I", code[: len(code) // 4 * 4])
    return sum(1 for (word,) in words if word & 0xBFE0FC00 in (0x0E809400,) or word & 0xBFC0F400 == 0x0F80E000)


def check_machine(path: Path, isa: Isa) -> None:
    """The object is for the target's architecture and needs nothing that a device lacks. Errors: SourceError."""
    data = path.read_bytes()[:64]
    if data[:4] != ELF or struct.unpack_from("<H", data, 18)[0] != MACHINES[isa.arch]:
        raise SourceError(f"the linked object is not for {isa.arch}", where=path.name, mend="build again")
    odd = [name for name in symbols_of(path) if not name.startswith(ALLOWED)]
    if odd:
        raise SourceError(f"the linked object needs {', '.join(odd[:5])}", where=path.name)


def check_library(path: Path, isa: Isa) -> None:
    """The object is for the target's architecture, needs nothing that a device lacks, and uses the dot products.

    Errors: SourceError.
    """
    check_machine(path, isa)
    if isa.arch == "aarch64" and (sdot_count(code_of(path)) > 0) != isa.bytes:
        what = "no dot product" if isa.bytes else "dot products that the target lacks"
        raise SourceError(f"the linked object has {what}", where=path.name)
