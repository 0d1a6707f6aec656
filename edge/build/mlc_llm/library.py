"""The compiled library: whole, for the right processor, and the same bytes from the same build.

Nothing here can run it. What a half-written or foreign file cannot pretend: an ELF's section table ends inside the
file and names the machine, a WebAssembly module's sections end exactly with it, an archive unpacks to the last
member and holds objects for the machine.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path

from edge.build.mlc_llm.choices import Aim
from edge.errors import SourceError
from edge.files import atomic_file

MEND = "see the log; build again"
MACHINES = {"x86_64": 62, "aarch64": 183}
ET_REL, ET_DYN = 1, 3
GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 512
WASM_HEADER = b"\0asm\x01\0\0\0"
MAX_WASM_SECTION = 14


def check_library(path: Path, aim: Aim, prefix: str) -> str:
    """What the library is, in words. prefix: what the symbols of a system library begin with.

    Errors: SourceError when it is missing, empty, cut short, of another form or for another machine.
    """
    if path.is_symlink() or not path.is_file():
        raise SourceError(f"mlc_llm compile wrote no {path.name}", mend=MEND)
    if path.stat().st_size == 0:
        raise SourceError(f"mlc_llm compile left {path.name} empty", mend=MEND)
    if aim.suffix == ".wasm":
        _check_wasm(path)
        return "WebAssembly module"
    if aim.suffix == ".tar":
        count = _check_archive(path, aim, prefix)
        return f"{count} objects for {aim.arch}"
    data = path.read_bytes()
    _check_elf(data, path.name, ET_DYN, aim.arch)
    return f"shared library for {aim.arch}"


def _check_elf(data: bytes, name: str, kind: int, arch: str) -> None:
    if data[:4] != b"\x7fELF" or data[4:6] != b"\x02\x01" or len(data) < 64:
        raise SourceError(f"{name} is no 64-bit ELF file", mend=MEND)
    found, machine = int.from_bytes(data[16:18], "little"), int.from_bytes(data[18:20], "little")
    if machine != MACHINES[arch]:
        names = {number: known for known, number in MACHINES.items()}
        raise SourceError(f"{name} is for {names.get(machine, f'machine {machine}')}, not {arch}", mend=MEND)
    if found != kind:
        raise SourceError(f"{name} is not {'an object' if kind == ET_REL else 'a shared library'}", mend=MEND)
    table = int.from_bytes(data[40:48], "little")
    size, count = int.from_bytes(data[58:60], "little"), int.from_bytes(data[60:62], "little")
    if not table or not count or table + size * count > len(data):
        raise SourceError(f"{name} is cut short ({len(data)} bytes)", mend=MEND)


def _check_wasm(path: Path) -> None:
    data = path.read_bytes()
    if data[:8] != WASM_HEADER:
        raise SourceError(f"{path.name} is no WebAssembly module", mend=MEND)
    at, sections = 8, 0
    while at < len(data):
        section, at = data[at], at + 1
        size, shift = 0, 0
        while True:
            if at >= len(data) or shift > 28:
                raise SourceError(f"{path.name} is cut short ({len(data)} bytes)", mend=MEND)
            byte, at = data[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        at += size
        sections += 1
        if section > MAX_WASM_SECTION or at > len(data):
            raise SourceError(f"{path.name} is cut short ({len(data)} bytes)", mend=MEND)
    if not sections:
        raise SourceError(f"{path.name} holds nothing", mend=MEND)


def _check_archive(path: Path, aim: Aim, prefix: str) -> int:
    members = read_archive(path)
    objects = {name: data for name, data in members.items() if name.endswith(".o")}
    if not objects:
        raise SourceError(f"{path.name} holds no object file", mend=MEND)
    for name, data in objects.items():
        _check_elf(data, f"{path.name}: {name}", ET_REL, aim.arch)
    if not any(prefix.encode() in data for data in objects.values()):
        raise SourceError(f"{path.name} has no symbol with the prefix {prefix}", mend=MEND)
    return len(objects)


def read_archive(path: Path) -> dict[str, bytes]:
    """Name -> content of a .tar, compressed or not, read to its last byte. Errors: SourceError."""
    members: dict[str, bytes] = {}
    data = path.read_bytes()
    try:
        if data[:2] == GZIP_MAGIC:
            data = gzip.decompress(data)  # checks length and sum at the end, where tarfile stops reading before it
        if len(data) % BLOCK_BYTES or data[-2 * BLOCK_BYTES :].strip(b"\0") or not data:
            raise tarfile.ReadError("does not end with two empty blocks")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or "/" in name or name in members:
                    raise SourceError(f"{path.name} holds '{name[:60]}', which is no plain file", mend=MEND)
                members[name] = file.read()
                if len(members[name]) != member.size:
                    raise tarfile.ReadError("a member is cut short")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{path.name} is no whole tar archive", mend=MEND) from error
    return members


def normalise(path: Path, aim: Aim) -> None:
    """Pack an archive again without times, owners and order of the host; other forms stay. Errors: SourceError."""
    if aim.suffix != ".tar":
        return
    members = read_archive(path)
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(members):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(members[name]), 0o644
            archive.addfile(info, io.BytesIO(members[name]))
    with atomic_file(path) as file:
        file.write(buffer.getvalue())
    if read_archive(path) != members:
        raise SourceError(f"{path.name} reads back otherwise than it was written", mend="check the disk")


def library_name(model: str, mode: str, aim: Aim) -> str:
    """File name of the library; apps look for a system library by model and mode."""
    return f"{model}_{mode}{aim.suffix}"


def host_arch(environment_machine: str | None = None) -> str:
    """Architecture of the build host, as edge names it."""
    machine = environment_machine or os.uname().machine
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine)
