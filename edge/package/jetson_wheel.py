"""What GPU code a wheel of ONNX Runtime really holds, read from the file: a name promises nothing.

CUDA programs carry "fat binaries": a container header, then one entry for each kernel file and GPU level. Entries of
kind ELF are machine code for exactly one level (on Jetson not even code of the same generation runs: sm_80 and sm_86
are none for sm_87); entries of kind PTX would be compiled at each start, for minutes, and do not count.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import zipfile
import zlib
from pathlib import Path

from edge.errors import SourceError
from edge.package.deb_needs import read_elf
from edge.package.jetson import Wheel, wheel_of

_CONTAINER = re.compile(re.escape(struct.pack("<I", 0xBA55ED50)))
_CONTAINER_HEADER = struct.Struct("<IHHQ")  # magic, version, bytes of this header, bytes of all entries
_ENTRY_HEADER = struct.Struct("<HHIQ12xI")  # kind, -, bytes of this header, bytes of the code, ..., level
_MACHINE_CODE = 2
_CUDA_LIBRARY = re.compile(r"lib(?:cudart|cublas|cublasLt|cudnn|nvrtc)\.so\.(\d{1,2})")
MOST_LIBRARY_BYTES = 4 << 30


def gpu_levels(data: bytes) -> tuple[int, ...]:
    """The levels (87 for sm_87) that a library holds machine code for, sorted; what is no container is passed over."""
    found = set()
    for match in _CONTAINER.finditer(data):
        at = match.start()
        if at + _CONTAINER_HEADER.size > len(data):
            continue
        _, version, header_bytes, size_bytes = _CONTAINER_HEADER.unpack_from(data, at)
        if version != 1 or header_bytes != _CONTAINER_HEADER.size or at + header_bytes + size_bytes > len(data):
            continue
        at += header_bytes
        end = at + size_bytes
        while at + _ENTRY_HEADER.size <= end:
            kind, _, entry_bytes, code_bytes, level = _ENTRY_HEADER.unpack_from(data, at)
            if entry_bytes < _ENTRY_HEADER.size:
                break
            if kind == _MACHINE_CODE:
                found.add(level)
            at += entry_bytes + code_bytes
    return tuple(sorted(found))


def read_wheel(path: Path) -> Wheel:
    """A wheel as its file name and its libraries say.

    Errors: SourceError for a name or a file that is no GPU wheel of ONNX Runtime.
    """
    levels: set[int] = set()
    cuda: set[int] = set()
    machines: set[str] = set()
    try:
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.infolist():
                if ".so" not in member.filename or member.file_size > MOST_LIBRARY_BYTES:
                    continue
                data = wheel.read(member)
                library = read_elf(data, member.filename)
                if library is None:
                    continue
                machines.add(library.machine or "another architecture")
                cuda |= {int(name[1]) for name in map(_CUDA_LIBRARY.fullmatch, library.needed) if name}
                levels |= set(gpu_levels(data))
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise SourceError("is no whole wheel", where=str(path), mend="fetch it again") from error
    if not cuda or not levels:
        raise SourceError("holds no code for a CUDA GPU", where=str(path), mend="give a wheel of onnxruntime-gpu")
    named = wheel_of(path.name, cuda=str(_cudart(cuda)), sm=sorted(levels))
    return dataclasses.replace(named, arch="/".join(sorted(machines)))


def _cudart(majors: set[int]) -> int:
    """The CUDA among the majors of several libraries: cuDNN counts on its own and is older or newer, CUDA is 10 up."""
    return max((one for one in majors if one >= 10), default=max(majors))
