"""The engines that a manifest may name; imported when used, so that a device pays only for its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.errors import BundleError
from edge.runtime.engine import Engine

Factory = Callable[[Path, int | None, int | None], Engine]


def _native(folder: Path, threads: int | None, context_tokens: int | None) -> Engine:
    from edge.runtime.onnx_engine import OnnxEngine

    return OnnxEngine(folder, threads=threads, context_tokens=context_tokens)


def _optimum(folder: Path, threads: int | None, context_tokens: int | None) -> Engine:
    from edge.runtime.optimum_engine import OptimumEngine

    return OptimumEngine(folder, threads=threads, context_tokens=context_tokens)


# manifest.runtime["engine"] -> (model folder, threads, context) -> Engine
ENGINES: dict[str, Factory] = {"onnxruntime": _native, "onnxruntime-optimum": _optimum}


def engine_factory(name: str, where: str) -> Factory:
    """The factory of a named engine. Errors: BundleError that names the known ones."""
    if name not in ENGINES:
        raise BundleError(
            f"engine '{name}' is not known (known: {', '.join(ENGINES)})", where=where, mend="update edge"
        )
    return ENGINES[name]
