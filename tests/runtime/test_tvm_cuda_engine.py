"""The GPU's engine: what it refuses anywhere, and (only where an NVIDIA GPU is) the CPU engine's text."""

from __future__ import annotations

import base64
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm_ffi", reason="apache-tvm-ffi (extra tvm) is not installed", exc_type=ImportError)

from edge.errors import BundleError, MissingToolError, ResourceError
from edge.runtime.tvm_cuda_engine import (
    CUBIN_MARK,
    CUDA_RUNTIME_FILE,
    TvmCudaEngine,
    embedded_cubin,
    load_cuda_runtime,
    wants_cuda,
)

LIBRARY = {"file": "d.so", "kernels": "cuda-sm_87", "level": "sm_87", "chunks": [1], "head_rows": [1]}


class FakeFfi:
    """tvm_ffi as far as the engine asks it about a GPU."""

    def __init__(self, *, loaded: bool, exists: int = 1, version: str = "8.7") -> None:
        self.loaded, self.attributes = loaded, {0: exists, 4: version}
        self.registered: dict[str, Callable[[str], bytes]] = {}

    def get_global_func(self, name: str, *, allow_missing: bool = False) -> Any:
        if name == "device_api.cuda":
            return "there" if self.loaded else None
        return lambda device, index, kind: self.attributes[kind]

    def register_global_func(self, name: str, function: Callable[[str], bytes], *, override: bool) -> None:
        self.registered[name] = function


def test_machine_code_comes_back() -> None:
    """Fails when the GPU is given other bytes than the build made, or a damaged bundle ends in a traceback."""
    code = bytes(range(256))
    assert embedded_cubin(CUBIN_MARK + base64.b64encode(code).decode()) == code
    for text in ("extern C", CUBIN_MARK + "no base 64!", ""):
        with pytest.raises(BundleError, match="cannot be read"):
            embedded_cubin(text)


def test_a_gpu_is_used_where_it_is_asked_for_only() -> None:
    """Fails when a device takes an engine that nobody proved on its GPU."""
    assert wants_cuda({"cuda": LIBRARY}, {"EDGE_ACCELERATOR": "cuda"})
    assert not wants_cuda({"cuda": LIBRARY}, {})
    assert not wants_cuda({}, {"EDGE_ACCELERATOR": "cuda"})


def test_the_gpus_level_is_checked_first(tmp_path: Path) -> None:
    """Fails when machine code of another level is launched, which NVIDIA answers in the middle of a note."""
    ffi = FakeFfi(loaded=True)
    load_cuda_runtime(ffi, tmp_path, "sm_87")
    assert ffi.registered == {"tvm_callback_cuda_compile": embedded_cubin}
    with pytest.raises(BundleError, match="are for sm_87, this GPU is sm_120"):
        load_cuda_runtime(FakeFfi(loaded=True, version="12.0"), tmp_path, "sm_87")
    with pytest.raises(ResourceError, match="no NVIDIA GPU"):
        load_cuda_runtime(FakeFfi(loaded=True, exists=0), tmp_path, "sm_87")


def test_a_missing_driver_is_one_line(tmp_path: Path) -> None:
    """Fails when a device without NVIDIA's driver sees a loader's traceback."""
    (tmp_path / CUDA_RUNTIME_FILE).write_bytes(b"no library")
    with pytest.raises(ResourceError, match="runtime does not load") as caught:
        load_cuda_runtime(FakeFfi(loaded=False), tmp_path, "sm_87")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "entry", [None, {}, LIBRARY | {"file": "../d.so"}, LIBRARY | {"chunks": [2]}, LIBRARY | {"level": 87}]
)
def test_a_bundle_without_gpu_kernels(tmp_path: Path, entry: dict[str, Any] | None) -> None:
    """Fails when a bundle of a CPU is taken for one of a GPU."""
    from edge.runtime.tvm_cuda_engine import _cuda_library

    description = {"arch": platform.machine()} | ({} if entry is None else {"cuda": entry})
    with pytest.raises(BundleError, match="no kernels for a GPU"):
        _cuda_library(description, tmp_path)
    assert _cuda_library({"arch": platform.machine(), "cuda": LIBRARY}, tmp_path) == LIBRARY
    with pytest.raises(BundleError, match="was compiled for m68k"):
        _cuda_library({"arch": "m68k", "cuda": LIBRARY}, tmp_path)


def gpu_level() -> str:
    """The first GPU's level; skips the test with the reason where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        pytest.skip("no NVIDIA GPU: nvidia-smi is not installed")
    command = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode or not done.stdout.strip():
        pytest.skip(f"no NVIDIA GPU: nvidia-smi says '{(done.stdout + done.stderr).strip()[:80]}'")
    return "sm_" + done.stdout.split()[0].replace(".", "")


@pytest.mark.slow
def test_the_gpu_writes_the_cpus_text(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The only proof of the engine on the hardware that it is for: fails when a GPU writes another text."""
    level = gpu_level()
    pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)
    from edge.build.cache import Cache
    from edge.build.tvm.cuda.compile import compile_cuda_decoder
    from edge.build.tvm.cuda.runtime_library import write_cuda_runtime
    from tests.cuda_toy import BYTES_ISAS, GRID_CHUNKS, GRID_ROWS
    from tests.tvm_toy import WHOLE, toy

    if not BYTES_ISAS:
        pytest.skip("this CPU has no byte products, whose tiles the GPU's kernels read")
    isa = BYTES_ISAS[0]
    made = toy(tmp_path_factory.mktemp, isa, WHOLE["qwen3-qk-norm"], context_tokens=150)
    folder = made.copy(tmp_path / "model")
    try:
        built = compile_cuda_decoder(made.shape, isa, level, folder, chunks=GRID_CHUNKS, head_rows=GRID_ROWS)
    except MissingToolError as error:
        pytest.skip(f"no compiler for the GPU: {error}")
    write_cuda_runtime(isa.arch, folder, Cache(tmp_path / "cache"))
    path = folder / "decoder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cuda": built.to_json()}))
    try:
        engine = TvmCudaEngine(folder)
    except ResourceError as error:
        pytest.skip(f"the GPU's runtime does not load here: {error}")
    ids = np.random.default_rng(5).integers(0, made.shape.config.vocab_size, (1, 75))
    texts: list[list[int]] = []
    for one in (engine, made.engine()):
        token, text = int(one.forward(ids, [74])[0].argmax()), []
        for _ in range(24):
            text.append(token)
            token = int(one.forward(np.array([[token]]), [0])[0].argmax())
        texts.append(text)
    assert texts[0] == texts[1]
    state = engine.save_prefix(33)
    other = TvmCudaEngine(folder)
    other.load_prefix(ids[:, :33], state)
    assert np.array_equal(engine.save_prefix(33), other.save_prefix(33))
