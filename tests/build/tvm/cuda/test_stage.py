"""What the build line adds for a GPU: the object, TVM's part of the runtime, the entry that an engine reads."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

from edge.build.cache import Cache
from edge.build.tvm.cuda import runtime_library
from edge.build.tvm.cuda.runtime_library import DIGESTS, write_cuda_runtime
from edge.build.tvm.cuda.stage import add_cuda
from edge.build.tvm.isa import ISAS
from edge.errors import SpecError
from edge.files import sha256_file
from edge.runtime.tvm_cuda_engine import CUDA_RUNTIME_FILE
from edge.specs.target import load_target
from tests.build.tvm.cuda.test_compile import SHAPE, no_compiler

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the runtime's library is at hand for the build host's own architecture only"
)


@pytest.mark.slow
def test_a_gpu_beside_an_x86_cpu(tmp_path: Path) -> None:
    """Fails when a bundle lacks what its engine loads, or names another level than the target's."""
    target = load_target("x86_64-linux")
    gpu = load_target("jetson-orin-nano").accelerators[0].model_copy(update={"name": "a card (sm_90)"})
    mine = target.model_copy(update={"accelerators": (gpu,)})
    entry = add_cuda(SHAPE, ISAS["avx2"], mine, tmp_path, Cache(tmp_path / "cache"), "p", compiler=no_compiler)
    assert (entry["level"], entry["kernels"]) == ("sm_90", "cuda-sm_90")
    assert (tmp_path / entry["file"]).read_bytes()[:4] == b"\x7fELF"
    assert sha256_file(tmp_path / CUDA_RUNTIME_FILE) == DIGESTS["x86_64"]
    with pytest.raises(SpecError, match="names no NVIDIA GPU"):
        add_cuda(SHAPE, ISAS["avx2"], target, tmp_path, Cache(tmp_path / "cache"), "p", compiler=no_compiler)


def test_the_runtime_is_the_pinned_one(tmp_path: Path) -> None:
    """Fails when another TVM's library would travel under this one's name."""
    write_cuda_runtime("x86_64", tmp_path, Cache(tmp_path / "cache"))
    assert sha256_file(tmp_path / CUDA_RUNTIME_FILE) == DIGESTS["x86_64"]
    assert runtime_library.MEMBER.endswith(CUDA_RUNTIME_FILE)
