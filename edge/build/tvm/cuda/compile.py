"""Compile the decoder for an NVIDIA GPU, beside the CPU's and for the same weights file.

TVM writes CUDA C for the kernels and machine code of the target's CPU for what launches them. NVIDIA's compiler library
(package `nvidia-cuda-nvrtc`) turns the first into machine code of one sm level on any host, with no GPU and no toolkit;
it travels inside the shared object, so that a device compiles nothing.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge.build.tvm.compile import link_program, quiet
from edge.build.tvm.decoder import CHUNKS, HEAD_ROWS, Shape
from edge.build.tvm.isa import Isa, llvm_target
from edge.build.tvm.objects import check_machine
from edge.errors import EdgeError, MissingToolError, SourceError, SpecError
from edge.specs.target import Target

NVRTC_PACKAGE, NVRTC_VERSION, NVRTC_FILE = "nvidia-cuda-nvrtc", "13.0.88", "libnvrtc.so.13"
NVRTC_BUILTINS = "libnvrtc-builtins.so.13.0"
INSTALL = f"pip install {NVRTC_PACKAGE}=={NVRTC_VERSION}"
LEVEL = re.compile(r"\bsm_(\d{2,3})\b")
OLDEST_LEVEL, NEWEST_LEVEL = 75, 121  # of this compiler; __dp4a is older than all of them
FIRST_KERNEL = 'extern "C" __global__'
FALLBACK_VARIABLE = "TVM_COMPILE_FORCE_FALLBACK"
CUBIN_MARK = "edge-cubin:"  # edge/runtime/tvm_cuda_engine.py knows it


def check_level(level: str, where: str) -> str:
    """'sm_87' as it was given, when it can be compiled for. Errors: SpecError."""
    found = LEVEL.fullmatch(level)
    if found is None or not OLDEST_LEVEL <= int(found[1]) <= NEWEST_LEVEL:
        raise SpecError(
            f"'{level}' is no level between sm_{OLDEST_LEVEL} and sm_{NEWEST_LEVEL}",
            where=where,
            mend="name the GPU's level as sm_NN; `nvidia-smi --query-gpu=compute_cap --format=csv` prints N.N",
        )
    return level


def level_of_target(target: Target, where: str) -> str:
    """The sm level that a target's accelerator names. Errors: SpecError for a target without one."""
    for one in target.accelerators:
        if one.kind == "gpu" and (found := LEVEL.search(one.name)) is not None:
            return check_level(found[0], where)
    raise SpecError(
        f"target '{target.name}' names no NVIDIA GPU", where=where, mend="give its accelerator a name with sm_NN"
    )


def cuda_isa(isa: Isa, level: str, where: str) -> Isa:
    """How weights lie for the GPU: as for the CPU beside it. Errors: SpecError for a CPU without a byte product."""
    if not isa.bytes:
        raise SpecError(
            f"the GPU's kernels read the tiles of a CPU that multiplies bytes, {isa.name} does not",
            where=where,
            mend="leave the accelerator out",
        )
    return replace(isa, name=f"cuda-{level}")


def cuda_target(isa: Isa, level: str) -> Mapping[str, Any]:
    """TVM's description: the GPU, and the CPU that launches its kernels."""
    return {"kind": "cuda", "arch": level, "host": dict(llvm_target(isa))}


@dataclass(frozen=True)
class CompiledCuda:
    """What compiling gave. source: the kernels as CUDA C; cubin: their machine code."""

    file: str
    level: str
    chunks: tuple[int, ...]
    head_rows: tuple[int, ...]
    source: str
    cubin: bytes

    def to_json(self) -> dict[str, Any]:
        """As decoder.json has it under "cuda"."""
        return {
            "file": self.file,
            "kernels": f"cuda-{self.level}",
            "level": self.level,
            "chunks": list(self.chunks),
            "head_rows": list(self.head_rows),
        }


def compile_cuda_decoder(
    shape: Shape,
    isa: Isa,
    level: str,
    folder: Path,
    *,
    chunks: Sequence[int] = CHUNKS,
    head_rows: Sequence[int] = HEAD_ROWS,
    compiler: Callable[[str, str], bytes] | None = None,
) -> CompiledCuda:
    """Write decoder.cuda-LEVEL.so into `folder`; isa: of the CPU beside the GPU, whose weights file it reads.

    compiler: (CUDA C, level) -> machine code; default NVIDIA's.

    Errors: SpecError for a level or CPU that cannot be; MissingToolError without NVIDIA's compiler library;
    SourceError when a compiler or the linker refuses.
    """
    from edge.build.tvm.cuda.kernels import grid_kernels

    made = cuda_isa(isa, check_level(level, folder.name), folder.name)
    fitting = tuple(n for n in chunks if n <= shape.context_tokens)
    path = folder / f"decoder.{made.name}.so"
    translate = compiler or nvidia_compiler()
    seen: list[tuple[str, bytes]] = []
    failures: list[EdgeError] = []

    def embed(source: str, _target: Any) -> str:
        """TVM gives the CUDA C and takes what travels in its place."""
        try:
            seen.append((source, translate(source, level)))
        except EdgeError as error:
            failures.append(error)
            raise
        return CUBIN_MARK + base64.b64encode(seen[-1][1]).decode()

    try:
        with _instead_of_source(embed):
            link_program(
                shape,
                made,
                cuda_target(isa, level),
                path,
                chunks=fitting,
                head_rows=head_rows,
                kernels=grid_kernels(),
            )
    except SourceError as error:  # TVM puts its own words around what our callback said
        raise (failures or [error])[0] from error
    if len(seen) != 1:
        raise SourceError("TVM did not make one module of the GPU's kernels", where=made.name)
    check_machine(path, isa)
    return CompiledCuda(path.name, level, fitting, tuple(head_rows), *seen[0])


@contextlib.contextmanager
def _instead_of_source(embed: Any) -> Iterator[None]:
    import tvm_ffi

    name = "tvm_callback_cuda_postproc"
    tvm_ffi.register_global_func(name, embed, override=True)
    # On a host with a GPU, TVM would load the kernels at once; the same profile has to give the same bytes there.
    before = os.environ.get(FALLBACK_VARIABLE)
    os.environ[FALLBACK_VARIABLE] = "1"
    try:
        yield
    finally:
        tvm_ffi.remove_global_func(name)
        if before is None:
            del os.environ[FALLBACK_VARIABLE]
        else:
            os.environ[FALLBACK_VARIABLE] = before


def load_nvrtc(package: str = NVRTC_PACKAGE) -> ctypes.CDLL:
    """NVIDIA's compiler library. Errors: MissingToolError."""
    try:
        distribution = importlib.metadata.distribution(package)
        files = {file.name: str(distribution.locate_file(file)) for file in distribution.files or ()}
        if distribution.version != NVRTC_VERSION or not {NVRTC_FILE, NVRTC_BUILTINS} <= set(files):
            raise MissingToolError(
                f"the GPU's kernels were made for {package} {NVRTC_VERSION}", where="cuda", mend=INSTALL
            )
        ctypes.CDLL(files[NVRTC_BUILTINS])  # the compiler looks for it by its bare name
        return ctypes.CDLL(files[NVRTC_FILE])
    except (importlib.metadata.PackageNotFoundError, OSError) as error:
        raise MissingToolError(
            f"compiling for a GPU needs the package {package}", where="cuda", mend=INSTALL
        ) from error


def nvidia_compiler() -> Callable[[str, str], bytes]:
    """NVIDIA's, from its package. Errors: MissingToolError."""
    return partial(cubin_of, load_nvrtc())


def cubin_of(nvrtc: ctypes.CDLL, source: str, level: str) -> bytes:
    """Machine code of one level (an ELF file) of TVM's CUDA C. Errors: SourceError with the first complaint."""
    # What stands before the kernels are headers of NVIDIA's toolkit, for types that these kernels do not use.
    kernels = "typedef unsigned char uchar;\ntypedef unsigned int uint;\n" + source[source.index(FIRST_KERNEL) :]
    program = ctypes.c_void_p()
    _check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), kernels.encode(), b"decoder.cu", 0, None, None))
    try:
        options = [f"--gpu-architecture={level}".encode(), b"--std=c++17"]
        with quiet():
            failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if failed:
            log = _text(nvrtc, program, "ProgramLog").decode(errors="replace").rstrip("\0").strip().splitlines()
            complaint = next((line for line in log if "error" in line), (log or ["no message"])[0])
            raise SourceError(f"the GPU's kernels do not compile ({complaint[:160]})", where=level)
        return _text(nvrtc, program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(nvrtc: ctypes.CDLL, code: int) -> None:
    if code:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise SourceError(f"NVIDIA's compiler failed ({nvrtc.nvrtcGetErrorString(code).decode()})", where="cuda")
