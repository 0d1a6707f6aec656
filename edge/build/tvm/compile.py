"""Compile the program for a target's CPU and link it into one shared object, on any build host.

LLVM lies in the package `apache-tvm`; the linker is zig's (package `ziglang`), which links for every architecture
without a cross toolchain of the host's. Versions are pinned, no path and no time goes into the file: the same profile
gives the same bytes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.build.cache import cache_root
from edge.build.tvm.decoder import CHUNKS, HEAD_ROWS, KernelSet, Program, Shape, passes
from edge.build.tvm.isa import Isa, llvm_target
from edge.build.tvm.objects import check_library, symbols_of
from edge.errors import MissingToolError, ResourceError, SourceError
from edge.files import resource_error
from edge.runtime.tvm_engine import FFI_VERSION

TVM_VERSION = "0.27.0.post1"
# The oldest C library that a board of today has (Debian 10, Ubuntu 20.04 and later).
ZIG_TARGETS = {"x86_64": "x86_64-linux-gnu.2.28", "aarch64": "aarch64-linux-gnu.2.28"}
LINK_TIMEOUT_S = 300.0


def check_tools(where: str) -> None:
    """Compiler and linker are here, in the versions that were tried. Errors: MissingToolError."""
    wanted = {"apache-tvm": TVM_VERSION, "apache-tvm-ffi": FFI_VERSION, "ziglang": None}
    for name, version in wanted.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingToolError(
                f"backend mlc needs the package {name}", where=where, mend="pip install 'edge-kit[mlc]'"
            ) from error
        if version is not None and found != version:
            raise MissingToolError(
                f"backend mlc was made for {name} {version}, {found} is installed",
                where=where,
                mend="pip install 'edge-kit[mlc]'",
            )


@dataclass(frozen=True)
class Compiled:
    """What compiling gave: a file beside the weights, for which kernels, and the calls that it offers."""

    file: str
    isa: Isa
    chunks: tuple[int, ...]
    head_rows: tuple[int, ...]
    undefined: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As decoder.json lists it."""
        return {
            "file": self.file,
            "kernels": self.isa.name,
            "cpu_features": list(self.isa.features),
            "chunks": list(self.chunks),
            "head_rows": list(self.head_rows),
        }


def compile_decoder(
    shape: Shape,
    isa: Isa,
    folder: Path,
    *,
    chunks: Sequence[int] = CHUNKS,
    head_rows: Sequence[int] = HEAD_ROWS,
) -> Compiled:
    """Write decoder.KERNELS.so into `folder`. Errors: SourceError when LLVM or the linker refuses."""
    fitting = tuple(n for n in chunks if n <= shape.context_tokens)
    path = folder / f"decoder.{isa.name}.so"
    link_program(shape, isa, llvm_target(isa), path, chunks=fitting, head_rows=head_rows)
    check_library(path, isa)
    return Compiled(path.name, isa, fitting, tuple(head_rows), symbols_of(path))


def link_program(
    shape: Shape,
    isa: Isa,
    target: Mapping[str, Any],
    path: Path,
    *,
    chunks: Sequence[int],
    head_rows: Sequence[int],
    kernels: KernelSet | None = None,
) -> None:
    """Compile the decoder's program for a target and link it for the CPU of `isa` into the file `path`.

    Errors: SourceError when the compiler or the linker refuses.
    """
    import tvm
    from tvm import relax

    try:
        described = tvm.target.Target(dict(target))
        program = Program(shape, isa, described, kernels).module(tuple(chunks), tuple(head_rows))
        built = relax.build(program, described, relax_pipeline=passes())
        with quiet(), tempfile.TemporaryDirectory(prefix="edge-tvm-", dir=path.parent) as work:
            built.export_library(str(path), fcompile=_Linker(isa), workspace_dir=work)
    except (SourceError, MissingToolError, ResourceError):
        raise
    except OSError as error:
        raise resource_error(error, str(path.parent)) from error
    except Exception as error:  # TVM raises its own kinds, of which none is public
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise SourceError(f"the decoder does not compile ({lines[-1][:160]})", where=isa.name) from error


class _Linker:
    """What TVM calls to make a shared object of its object files."""

    output_format = "so"
    object_format = "o"

    def __init__(self, isa: Isa) -> None:
        self._isa = isa

    def get_target_triple(self) -> str:
        """For TVM: what the objects beside the kernels are compiled for."""
        return str(llvm_target(self._isa)["mtriple"])

    def __call__(self, output: str, objects: Any, options: Any = None, **_: Any) -> None:
        """Link. Errors: SourceError with the linker's last line."""
        files = [str(objects)] if isinstance(objects, str | Path) else sorted(map(str, objects))
        command = [sys.executable, "-m", "ziglang", "cc", "-target", ZIG_TARGETS[self._isa.arch], "-shared", "-s"]
        # 16 KiB pages: Raspberry Pi OS on the Pi 5 and new Android tablets have them. No build id: it hashes paths.
        command += ["-Wl,-z,max-page-size=16384", "-Wl,--build-id=none", "-o", output, *files]
        cache = tempfile.mkdtemp(prefix="edge-zig-")
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=LINK_TIMEOUT_S,
                # What zig compiles once for a target (6 s) lies with all else that edge keeps.
                env={"ZIG_GLOBAL_CACHE_DIR": str(cache_root() / "zig"), **os.environ, "ZIG_LOCAL_CACHE_DIR": cache},
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(
                "linking took more than five minutes", where=self._isa.name, mend="run it again"
            ) from error
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise SourceError(f"the linker failed ({last[:160]})", where=self._isa.name, mend="run it again")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TVM's C++ side writes notes to the terminal; on the screen stand our lines only."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
