"""The engines that a manifest may name; imported when used, so that a device pays only for its own."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path

from edge.errors import BundleError
from edge.runtime.engine import Engine

Factory = Callable[[Path, int | None, int | None], Engine]


def _native(folder: Path, threads: int | None, context_tokens: int | None) -> Engine:
    from edge.runtime.onnx_engine import native_engine

    return native_engine()(folder, threads=threads, context_tokens=context_tokens)


def _optimum(folder: Path, threads: int | None, context_tokens: int | None) -> Engine:
    from edge.runtime.optimum_engine import OptimumEngine

    return OptimumEngine(folder, threads=threads, context_tokens=context_tokens)


def _tvm(folder: Path, threads: int | None, context_tokens: int | None) -> Engine:
    from edge.runtime.tvm_engine import TvmEngine, load_description

    description = load_description(folder)
    if "cuda" in description:
        from edge.runtime.tvm_cuda_engine import TvmCudaEngine, wants_cuda

        if wants_cuda(description, os.environ):
            return TvmCudaEngine(folder, threads=threads, context_tokens=context_tokens)
    return TvmEngine(folder, threads=threads, context_tokens=context_tokens)


# manifest.runtime["engine"] -> (model folder, threads, context) -> Engine
ENGINES: dict[str, Factory] = {"onnxruntime": _native, "onnxruntime-optimum": _optimum, "tvm": _tvm}


# The library that an engine starts with; what is not listed imports its own when it loads a model.
LIBRARIES = {"onnxruntime": "onnxruntime", "onnxruntime-optimum": "onnxruntime", "tvm": "tvm_ffi"}


def import_library(name: str) -> None:
    """Import an engine's library before a model is loaded, so that each is timed by itself."""
    library = LIBRARIES.get(name)
    if library is not None:
        with contextlib.suppress(ImportError):  # loading says what is missing, and how to mend it
            importlib.import_module(library)


def engine_factory(name: str, where: str) -> Factory:
    """The factory of a named engine. Errors: BundleError that names the known ones."""
    if name == "mlc_llm":
        raise BundleError(
            "engine 'mlc_llm' runs in MLC's own runtimes only, not in edge",
            where=where,
            mend="run it there, or build with engine: tvm",
        )
    if name not in ENGINES:
        raise BundleError(
            f"engine '{name}' is not known (known: {', '.join(ENGINES)})", where=where, mend="update edge"
        )
    return ENGINES[name]
