"""A shared library made by hand."""

from __future__ import annotations

import struct


def elf(needed: tuple[str, ...] = ("libc.so.6",), *, machine: int = 62, soname: str = "", glibc: str = "2.17") -> bytes:
    """A shared library with nothing but a dynamic section."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in (*needed, soname, f"GLIBC_{glibc}"))
    tags = [(1, strings.index(b"\0" + name.encode() + b"\0") + 1) for name in needed]
    tags += [(14, strings.index(b"\0" + soname.encode() + b"\0") + 1)] if soname else []
    at, count = 64 + 2 * 56, len(tags) + 2
    table = b"".join(struct.pack("<qQ", *pair) for pair in [*tags, (5, 0x1000 + at + count * 16), (0, 0)])
    size = at + len(table) + len(strings)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0, size, size, 4096)
    dynamic = struct.pack("<IIQQQQQQ", 2, 6, at, 0x1000 + at, 0, len(table), len(table), 8)
    return head + load + dynamic + table + strings
