"""What the build line adds to a model folder when a profile asks for an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.build.cache import Cache
from edge.build.tvm.cuda.compile import compile_cuda_decoder, level_of_target
from edge.build.tvm.cuda.runtime_library import write_cuda_runtime
from edge.build.tvm.decoder import Shape
from edge.build.tvm.isa import Isa
from edge.specs.target import Target


def add_cuda(
    shape: Shape,
    isa: Isa,
    target: Target,
    folder: Path,
    cache: Cache,
    where: str,
    *,
    compiler: Callable[[str, str], bytes] | None = None,
) -> dict[str, Any]:
    """Compile for the GPU that the target names and bring TVM's part for it; returns decoder.json's entry "cuda".

    folder: with the weights for `isa`, which the GPU reads too. where: of the profile, for errors. compiler: as
    compile_cuda_decoder. Errors: SpecError, MissingToolError, OfflineError, SourceError.
    """
    compiled = compile_cuda_decoder(shape, isa, level_of_target(target, where), folder, compiler=compiler)
    write_cuda_runtime(isa.arch, folder, cache)
    return compiled.to_json()
