"""The GPU's decoder of a tiny model as loops of this CPU, and the engine that drives it there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.build.tvm.compile import link_program
from edge.build.tvm.cuda.grid import Form
from edge.build.tvm.cuda.kernels import grid_kernels
from edge.build.tvm.isa import Isa, llvm_target
from edge.runtime.tvm_cuda_engine import TvmCudaEngine
from edge.runtime.tvm_engine import CPU
from tests.tvm_toy import HOST_ISAS, Toy

GRID_CHUNKS, GRID_ROWS = (1, 2, 8), (1, 2)
BYTES_ISAS = [isa for isa in HOST_ISAS if isa.bytes]
# LLVM needs minutes to optimise a thread's work within loops over threads; nobody times these.
QUICK = {"opt-level": 0}


class OnCpu(TvmCudaEngine):
    """The GPU's engine, with the CPU as its device."""

    device = CPU

    def _load_device(self, ffi: Any, folder: Path, level: str) -> None:
        pass


def grid_folder(toy: Toy, isa: Isa, folder: Path, form: Form) -> Path:
    """A model folder whose "GPU" library is the kernels' descriptions as loops."""
    toy.copy(folder)
    target = {**llvm_target(isa), **QUICK}
    link_program(
        toy.shape,
        isa,
        target,
        folder / "decoder.grid.so",
        chunks=GRID_CHUNKS,
        head_rows=GRID_ROWS,
        kernels=grid_kernels(form),
    )
    add_cuda(folder, {"file": "decoder.grid.so", "kernels": f"grid-{form}", "level": "sm_87"})
    return folder


def add_cuda(folder: Path, entry: dict[str, Any]) -> None:
    """What the build line adds to decoder.json."""
    path = folder / "decoder.json"
    value = json.loads(path.read_text())
    value["cuda"] = {"chunks": list(GRID_CHUNKS), "head_rows": list(GRID_ROWS)} | entry
    path.write_text(json.dumps(value))
