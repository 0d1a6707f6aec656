"""Tiny decoders compiled by TVM, made once a test run, and single kernels compiled in memory.

Compiling costs seconds: tests share what they read, and ask for few numbers of tokens.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge.build.cache import Cache
from edge.build.quantise import QuantFormat, QuantisedRows
from edge.build.readback import BuiltModel
from edge.device.facts import local_facts
from edge.runtime.tvm_engine import TvmEngine, aligned
from edge.specs.decoder import DecoderConfig
from tests.tiny import BASE, CONFIGS, CONTEXT_TOKENS, MemorySource, export, tiny_source

tvm = pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

from edge.build.tvm.compile import compile_decoder  # noqa: E402
from edge.build.tvm.decoder import Shape  # noqa: E402
from edge.build.tvm.isa import BLOCK, ISAS, Isa, llvm_target  # noqa: E402
from edge.build.tvm.pack import pack_model, shape_of  # noqa: E402
from edge.build.tvm.runtime_library import write_runtime_library  # noqa: E402

LOW, HEAD = QuantFormat(4, 32, False), QuantFormat(8, 32, True)
CHUNKS, HEAD_ROWS = (1, 2, 4, 8), (1, 2)
REPO = Path(__file__).parents[1]
Array = npt.NDArray[Any]


def host_isas() -> list[Isa]:
    """Every set of kernels that this CPU runs, the best first."""
    facts = local_facts()
    return [isa for isa in ISAS.values() if isa.arch == facts.arch and set(isa.features) <= set(facts.isa_features)]


HOST_ISAS = host_isas()
EVERY_ISA = pytest.mark.parametrize("isa", HOST_ISAS, ids=lambda isa: isa.name)


# ---- single kernels ------------------------------------------------------------------------------------------------


class Kernels:
    """Kernels of one instruction set in one compiled module."""

    def __init__(self, isa: Isa, made: dict[str, Any]) -> None:
        self.isa = isa
        target = tvm.target.Target(dict(llvm_target(isa)))
        functions = {name: function.with_attr("target", target) for name, function in made.items()}
        self._module = tvm.compile(tvm.IRModule(functions), target)

    def __call__(self, name: str, *arrays: Array) -> None:
        """Run a kernel; arrays are copied to where kernels want them, and back."""
        placed = []
        for array in arrays:
            place = aligned(array.shape, array.dtype.type)
            place[:] = array
            placed.append(place)
        self._module[name](*(tvm.runtime.from_dlpack(place) for place in placed))
        for array, place in zip(arrays, placed, strict=True):
            if array.flags.writeable:
                array[:] = place


@cache
def kernels(isa: Isa, make: Callable[[Isa], dict[str, Any]]) -> Kernels:
    """`make(isa)` compiled, once a test run."""
    return Kernels(isa, make(isa))


def random_rows(rng: np.random.Generator, form: QuantFormat, rows: int, cols: int) -> QuantisedRows:
    """A quantised matrix in which every code, scale and zero point is its own."""
    blocks = form.blocks(cols)
    codes = rng.integers(0, form.levels, (rows, blocks, form.block_size), dtype=np.uint8)
    scales = rng.uniform(0.5, 2.0, (rows, blocks)).astype(np.float32) * np.float32(0.01)
    zero_points = None if form.symmetric else rng.integers(0, form.levels, (rows, blocks), dtype=np.uint8)
    return QuantisedRows(form, cols, codes, scales, zero_points)


@dataclass(frozen=True)
class Activations:
    """What products read, by numpy. arrays: as the kernels take them; values: the numbers that they stand for."""

    arrays: tuple[Array, ...]
    values: npt.NDArray[np.float64]


def activations(isa: Isa, values: npt.NDArray[np.float32]) -> Activations:
    """[tokens, cols] rounded as `isa` rounds: to 8 bits a block of 32, or not at all."""
    tokens, cols = values.shape
    blocks = values.reshape(tokens, cols // BLOCK, BLOCK)
    if not isa.bytes:
        return Activations((values, blocks.sum(axis=2, dtype=np.float32)), values.astype(np.float64))
    widest = np.abs(blocks).max(axis=2)
    with np.errstate(divide="ignore"):
        inverse = np.where(widest > 1e-30, np.float32(127.0) / widest, np.float32(0.0)).astype(np.float32)
    codes = np.rint(blocks * inverse[:, :, None]).astype(np.int8)
    scales = widest * np.float32(1.0 / 127.0)
    sums = codes.sum(axis=2, dtype=np.int32).astype(np.float32)
    exact = codes.astype(np.float64) * scales[:, :, None].astype(np.float64)
    return Activations((codes.reshape(tokens, cols).view(np.int32), scales, sums), exact.reshape(tokens, cols))


def empty_activations(isa: Isa, tokens: int, cols: int) -> list[Array]:
    """Outputs for a kernel that writes activations."""
    if not isa.bytes:
        return [np.zeros((tokens, cols), np.float32), np.zeros((tokens, cols // BLOCK), np.float32)]
    blocks = cols // BLOCK
    return [np.zeros((tokens, cols // 4), np.int32), *(np.zeros((tokens, blocks), np.float32) for _ in range(2))]


def values_of(isa: Isa, arrays: list[Array]) -> npt.NDArray[np.float64]:
    """The numbers that written activations stand for: [tokens, cols]."""
    if not isa.bytes:
        return np.asarray(arrays[0], dtype=np.float64)
    codes = arrays[0].view(np.int8).astype(np.float64)
    return codes * np.repeat(arrays[1].astype(np.float64), BLOCK, axis=1)


# ---- whole decoders ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Toy:
    """A compiled tiny decoder. folder: as in a bundle; exported: the ONNX route's folder of the same weights."""

    folder: Path
    exported: Path
    source: MemorySource
    shape: Shape

    def engine(self, **options: Any) -> TvmEngine:
        return TvmEngine(self.folder, threads=1, **options)

    def copy(self, folder: Path) -> Path:
        """A model folder that a test may break."""
        shutil.copytree(self.folder, folder)
        return folder


_made: dict[tuple[Any, ...], Toy] = {}


def toy(
    make_folder: Callable[[str], Path],
    isa: Isa,
    config: DecoderConfig = BASE,
    *,
    form: QuantFormat = LOW,
    head: QuantFormat = HEAD,
    chunks: tuple[int, ...] = CHUNKS,
    context_tokens: int = CONTEXT_TOKENS,
) -> Toy:
    """A random decoder for `isa`; the same request gives the same folder, which nobody may change."""
    key = (isa.name, config, form, head, chunks, context_tokens)
    if key not in _made:
        root = make_folder("toy")
        source = tiny_source(config)
        exported = export(root / "exported", source, form, head=head, context_tokens=context_tokens)
        folder = root / "model"
        folder.mkdir()
        with BuiltModel(exported, config) as built:
            shape = shape_of(built, context_tokens, "toy")
            pack_model(built, shape, isa, folder)
        compiled = compile_decoder(shape, isa, folder, chunks=chunks, head_rows=HEAD_ROWS)
        write_description(folder, isa, [compiled.to_json()])
        if isa.arch == platform.machine():
            write_runtime_library(isa.arch, folder, Cache(root / "cache"))
        _made[key] = Toy(folder, exported, source, shape)
    return _made[key]


def write_description(folder: Path, isa: Isa, libraries: list[dict[str, Any]]) -> None:
    """What the build line adds to decoder.json."""
    path = folder / "decoder.json"
    value = json.loads(path.read_text()) | {"arch": isa.arch, "tvm": "test", "libraries": libraries}
    path.write_text(json.dumps(value))


# Widths that are multiples of 32, as the tiles want them; heads from 8 to 32 numbers wide.
WHOLE: dict[str, DecoderConfig] = {
    "llama": CONFIGS["llama3-rope"],
    "llama-untied": CONFIGS["llama-untied"],
    # qkv has as many rows as gate_up, and a bias that gate_up has not.
    "qwen2-bias": replace(CONFIGS["qwen2-bias"], intermediate_size=64),
    "qwen3-qk-norm": CONFIGS["qwen3-qk-norm"],
    "one-kv-head": replace(CONFIGS["one-kv-head"], heads=8, head_dim=8),
}


def child(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
